"""Logging in on a host with a key: the one that is given, or those of the ssh agent. Used by `ssh_connection`.

Nobody is ever asked for a password or a passphrase.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

from reconciler.errors import TerminalError

if TYPE_CHECKING:
    from paramiko import PKey, Transport

    from reconciler.transports.ssh_connection import SshPlace


def log_in(transport: Transport, place: SshPlace) -> None:
    """Be let in with one of the keys.

    Raises TerminalError("Unauthorized"), and what paramiko raises when the connection is lost.
    """
    from paramiko import AuthenticationException, BadAuthenticationType, SSHException  # noqa: PLC0415 - slow to import

    with _keys(place) as keys:
        for key in keys:
            try:
                if not transport.auth_publickey(place.user, key):
                    return
            except BadAuthenticationType as error:
                raise _unauthorized(place, "it takes no keys") from error
            except AuthenticationException:
                continue
            except SSHException as error:
                if not transport.is_active():
                    raise _unauthorized(place, why(error)) from error
                raise
    none = "it takes none of the keys" if keys else "there is no key: neither an identity nor an agent"
    raise _unauthorized(place, none)


def why(error: BaseException) -> str:
    """What an error of a connection says, as the end of a sentence."""
    return str(error).strip().rstrip(".") or type(error).__name__


@contextmanager
def _keys(place: SshPlace) -> Iterator[Sequence[PKey]]:
    """The keys to try. Those of an agent sign through a connection to it, which lives as long."""
    import paramiko  # noqa: PLC0415 - likewise

    if place.identity is None:
        agent = paramiko.Agent()
        try:
            yield agent.get_keys()
        finally:
            agent.close()
    else:
        yield [_identity(place, place.identity.reveal(), place.identity.origin)]


def _identity(place: SshPlace, text: str, origin: str) -> PKey:
    import paramiko  # noqa: PLC0415 - likewise

    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(StringIO(text))
        except paramiko.PasswordRequiredException as error:
            raise _unauthorized(place, f"the key from {origin} needs a passphrase") from error
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise _unauthorized(place, f"what {origin} holds is no private key")


def _unauthorized(place: SshPlace, reason: str) -> TerminalError:
    return TerminalError("Unauthorized", f"{place}: no login: {reason}")
