"""Logging in on a host with a key: the one that is given, or those of the ssh agent. Used by `ssh_connection`.

Nobody is ever asked for a password or a passphrase.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

from reconciler.errors import TerminalError

if TYPE_CHECKING:
    from paramiko import PKey, Transport

    from reconciler.transports.ssh_connection import SshPlace

_AGENT_TIMEOUT = 5.0


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
def agent_keys() -> Iterator[Sequence[PKey]]:
    """The keys of the ssh agent, none where none runs. They sign over a connection to it that lives as long."""
    import paramiko  # noqa: PLC0415 - likewise

    if not agent_answers():
        yield ()
        return
    agent = paramiko.Agent()
    try:
        yield agent.get_keys()
    finally:
        agent.close()


def agent_answers() -> bool:
    """Whether there is an ssh agent behind SSH_AUTH_SOCK."""
    path = os.environ.get("SSH_AUTH_SOCK", "")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_AGENT_TIMEOUT)
            connection.connect(path)
    except OSError:
        return False
    return bool(path)


@contextmanager
def _keys(place: SshPlace) -> Iterator[Sequence[PKey]]:
    """The keys to try."""
    if place.identity is not None:
        yield [_identity(place, place.identity.reveal(), place.identity.origin)]
        return
    with agent_keys() as keys:
        yield keys


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
