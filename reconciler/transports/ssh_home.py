"""HOME/known_hosts: the hosts that an operator trusts. Used by `engine.remotes`, and written by `cli.host_commands`.

It counts for hosts of which a document itself says nothing; what it revokes is refused whatever a document says. Each
change leaves a whole file behind, and two at once leave both.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from reconciler.errors import BlockedError, TerminalError, UsageError
from reconciler.transports.ssh_connection import SshPlace
from reconciler.transports.ssh_trust import (
    HostKey,
    KnownHost,
    host_name,
    is_revoking,
    key_of,
    lines_about,
    names_of,
    read_known_hosts,
)

KNOWN_HOSTS = "known_hosts"


def home_known_hosts(home: Path) -> tuple[KnownHost, ...]:
    """The lines of the home; none where there is no file. Raises UsageError for one that cannot be read."""
    path = home / KNOWN_HOSTS
    return read_known_hosts(path) if path.exists() else ()


def trusting(place: SshPlace, known: Iterable[KnownHost]) -> SshPlace:
    """The place, and the host that leads to it, with what the home says of them."""
    about = lines_about(known, place.address, place.port)
    added = tuple(line for line in about if not place.known or is_revoking(line))
    jump = trusting(place.jump, known) if place.jump is not None else None
    return replace(place, known=(*place.known, *added), jump=jump)


def standing(known: Sequence[KnownHost], address: str, port: int, key: HostKey) -> KnownHost | None:
    """The line that vouches for a host's key; None for a host that no line speaks of.

    Raises TerminalError("HostKeyRevoked"), and BlockedError("HostKeyChanged") when lines vouch for other keys only.
    """
    name, about = host_name(address, port), lines_about(known, address, port)
    keys = {line: key_of(line) for line in about}
    revoking = [line.place for line, theirs in keys.items() if theirs == key.text and is_revoking(line)]
    if revoking:
        raise TerminalError("HostKeyRevoked", f"the host key of {name} is revoked by {revoking[0]}")
    vouching = [line for line in about if not is_revoking(line)]
    for line in vouching:
        if keys[line] == key.text:
            return line
    if vouching:
        where = ", ".join(line.place for line in vouching)
        raise BlockedError("HostKeyChanged", f"the host key of {name} is not the one of {where}: it offers {key}")
    return None


def trust(home: Path, address: str, port: int, key: HostKey, *, instead: bool) -> KnownHost:
    """Write that a host has this key; the line. instead: it has no other key from now on.

    Raises what `standing` raises, and BlockedError("SharedLine") for a line that speaks of other hosts as well and
    would have to go.
    """
    with _changing(home) as (lines, write):
        try:
            there = standing(lines, address, port, key)
        except BlockedError:
            if not instead:
                raise
            kept, there = _without(lines, address, port), None
        else:
            kept = list(lines)
        if there is not None:
            return there
        added = f"{host_name(address, port)} {key.text}"
        write([*(line.text for line in kept), added])
        return KnownHost(added, f"{home / KNOWN_HOSTS}:{len(kept) + 1}")


def forget(home: Path, address: str, port: int) -> int:
    """Trust a host no longer: how many lines went. What is revoked stays so. Raises BlockedError("SharedLine")."""
    with _changing(home) as (lines, write):
        kept = _without(lines, address, port)
        if len(kept) < len(lines):
            write([line.text for line in kept])
        return len(lines) - len(kept)


def _without(lines: Sequence[KnownHost], address: str, port: int) -> list[KnownHost]:
    going = {line for line in lines_about(lines, address, port) if not is_revoking(line)}
    shared = [
        line.place for line in going if len(names_of(line)) > 1 or any(sign in names_of(line)[0] for sign in "*?")
    ]
    if shared:
        name = host_name(address, port)
        raise BlockedError("SharedLine", f"{', '.join(sorted(shared))} speaks of {name} and of others: edit it by hand")
    return [line for line in lines if line not in going]


@contextmanager
def _changing(home: Path) -> Iterator[tuple[tuple[KnownHost, ...], Callable[[list[str]], None]]]:
    """The lines as they are, and how to write others, while nobody else does."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield home_known_hosts(home), lambda lines: _write((home / KNOWN_HOSTS).resolve(), lines)
    finally:
        os.close(folder)


def _write(path: Path, lines: list[str]) -> None:
    partial = path.with_name(f"{path.name}.new")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise UsageError("NotWritable", f"{path} cannot be written: {error.strerror}") from error
