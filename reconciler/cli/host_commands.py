"""host: which hosts are trusted, by the key that they prove themselves with. Kept in HOME/known_hosts."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.completing import complete_host
from reconciler.cli.render import plain
from reconciler.cli.session import NotConfirmed, Session
from reconciler.errors import BlockedError, TerminalError, UsageError

if TYPE_CHECKING:
    from reconciler.transports.ssh_connection import SshPlace
    from reconciler.transports.ssh_trust import HostKey

_PLACE = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<address>\[[^\]]+\]|[^:]+|[0-9A-Fa-f:%.]+)(?::(?P<port>\d{1,5}))?")
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?")
_CONNECT_TIMEOUT = 15.0
_ON_ITSELF = {
    "ssh-ed25519": "ssh_host_ed25519_key.pub",
    "ssh-rsa": "ssh_host_rsa_key.pub",
}


@click.group(short_help="The hosts that are trusted, and what they are known by.")
def host() -> None:
    """The hosts that are trusted where no document says what they are known by: HOME/known_hosts.

    \b
    Example:
      reconciler host trust 10.20.0.11
      reconciler host list
    """


@host.command()
@click.argument("address", metavar="ADDRESS[:PORT]")
@click.option("--jump", metavar="[USER@]ADDRESS[:PORT]", help="The host through which it is reached; trusted already.")
@click.option(
    "--identity", type=click.Path(path_type=Path), help="Private key for --jump; else those of the ssh agent."
)
@click.option("--fingerprint", metavar="SHA256:…", help="Trust this key and no other, without asking.")
@click.option("--replace", is_flag=True, help="Trust the new key in place of the one that is written.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def trust(session: Session, /, address: str, fingerprint: str | None, replace: bool, yes: bool, **by: Any) -> int:
    """Ask a host for its key, show it, and write it down once you have compared it.

    A key that differs from the one that is written is refused, unless the host was made anew and you say --replace.

    \b
    Example:
      reconciler host trust 10.20.0.11
      reconciler host trust db1.example.org:2222 --fingerprint SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE
    """
    from reconciler.loading.settings import ensure_home  # noqa: PLC0415 - only when called
    from reconciler.transports import ssh_home  # noqa: PLC0415

    home = ensure_home(session.settings)
    place = _reached(home, address, **by)
    key = _offered(place)
    known = ssh_home.home_known_hosts(home)
    try:
        there = ssh_home.standing(known, place.address, place.port, key)
    except BlockedError as error:
        if not replace:
            remedy = "If the host was made anew, trust its new key with --replace; else somebody may be in between"
            raise BlockedError(error.reason, f"{error.message}. {remedy}") from error
        click.echo(plain(error.message))
        there = None
    if there is not None:
        click.echo(plain(f"{address} is trusted already, by {there.place}: {key}"))
        return 0
    _agree(place, key, fingerprint, yes)
    line = ssh_home.trust(home, place.address, place.port, key, instead=replace)
    click.echo(plain(f"trusted from now on: {line.place}"))
    return 0


@host.command("list")
@click.pass_obj
def list_(session: Session) -> None:
    """Show every line of HOME/known_hosts: the host, its key, and where it is written.

    \b
    Example:
      reconciler host list
    """
    from reconciler.transports import ssh_home  # noqa: PLC0415 - only when called
    from reconciler.transports.ssh_trust import HostKey, is_revoking, key_of, names_of  # noqa: PLC0415

    for line in ssh_home.home_known_hosts(Path(session.settings.home)):
        names = names_of(line)
        if not names:
            continue
        try:
            key = str(HostKey.written(key_of(line)))
        except ValueError:
            key = "no key that can be read"
        shown = ",".join("(hashed)" if name.startswith("|") else name for name in names)
        click.echo(plain(f"{shown}  {'revoked: ' if is_revoking(line) else ''}{key}  {line.place}"))


@host.command()
@click.argument("address", metavar="ADDRESS[:PORT]", shell_complete=complete_host)
@click.pass_obj
def forget(session: Session, address: str) -> int:
    """Trust a host no longer. A revoked key stays revoked.

    \b
    Example:
      reconciler host forget 10.20.0.11
    """
    from reconciler.loading.settings import ensure_home  # noqa: PLC0415 - only when called
    from reconciler.transports import ssh_home  # noqa: PLC0415

    place = _place(address)
    if not ssh_home.forget(ensure_home(session.settings), place.address, place.port):
        raise UsageError("NoSuchHost", f"{address} is not in {ssh_home.KNOWN_HOSTS} of the home")
    click.echo(plain(f"{address} is trusted no longer"))
    return 0


def _place(given: str) -> SshPlace:
    """A place as people write it. Raises UsageError."""
    from reconciler.transports.ssh_connection import SshPlace  # noqa: PLC0415 - only when called

    found = _PLACE.fullmatch(given)
    address = found["address"].strip("[]") if found else ""
    port = int(found["port"] or 22) if found else 0
    if found is None or not _ADDRESS.fullmatch(address) or not 0 < port < 65536:
        raise UsageError("BadAddress", f"{given!r} is no address: write NAME, NAME:PORT, or [IPV6]:PORT")
    return SshPlace(address, port, found["user"] or "root", connect_timeout=_CONNECT_TIMEOUT)


def _reached(home: Path, address: str, jump: str | None, identity: Path | None) -> SshPlace:
    """The place, with all that is known of it and of the host that leads to it."""
    from dataclasses import replace  # noqa: PLC0415 - only when called

    from reconciler.model.secret import Secret  # noqa: PLC0415
    from reconciler.transports import ssh_home  # noqa: PLC0415

    place = _place(address)
    if identity is not None and jump is None:
        raise UsageError("NoJump", "--identity is for --jump: to ask a host for its key takes no login")
    if jump is not None:
        key = None
        if identity is not None:
            try:
                key = Secret(identity.read_text(), f"file:{identity}")
            except (OSError, ValueError) as error:
                raise UsageError("Unreadable", f"{identity} cannot be read: {error}") from error
        place = replace(place, jump=replace(_place(jump), identity=key))
    return ssh_home.trusting(place, ssh_home.home_known_hosts(home))


def _offered(place: SshPlace) -> HostKey:
    from reconciler.transports.ssh_connection import SshConnection  # noqa: PLC0415 - only when called

    connection = SshConnection(place)
    try:
        return connection.offered_key()
    finally:
        connection.close()


def _agree(place: SshPlace, key: HostKey, fingerprint: str | None, yes: bool) -> None:
    """Return when this key is to be trusted."""
    from reconciler.transports.ssh_trust import host_name  # noqa: PLC0415 - only when called

    name = host_name(place.address, place.port)
    if fingerprint is not None:
        if fingerprint.rstrip("=") != key.fingerprint:
            raise TerminalError(
                "WrongHostKey", f"{name} offers {key}, and not {fingerprint}: somebody may be in between"
            )
        return
    click.echo(plain(f"{name} offers {key}"))
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("NotConfirmed", "nobody can be asked here: use --fingerprint, or --yes")
    file = _ON_ITSELF.get(key.kind, "ssh_host_ecdsa_key.pub")
    click.echo(f"compare it with what the host itself says: ssh-keygen -lf /etc/ssh/{file}")
    if not click.confirm("Is it this one?", default=False):
        raise NotConfirmed
