"""Which host keys are trusted: lines in the form of known_hosts, wherever they were read. Used by `ssh`.

A host is never trusted at first sight. What a line says is what OpenSSH would take it for: hashed names, `[host]:port`,
patterns, several names; `@revoked` keys are refused, and a line that says nothing of a host vouches for nothing.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import TerminalError, UsageError

if TYPE_CHECKING:
    from paramiko import PKey

_REVOKED = "@revoked"


@dataclass(frozen=True, slots=True)
class KnownHost:
    """One line of known hosts. place: where it is written, `file:line` or a field's name, for people."""

    text: str
    place: str


def read_known_hosts(path: Path) -> tuple[KnownHost, ...]:
    """The lines of a file. Raises UsageError when it cannot be read."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError("Unreadable", f"{path} cannot be read as known hosts: {error}") from error
    return tuple(KnownHost(line, f"{path}:{number}") for number, line in enumerate(lines, 1))


def host_name(address: str, port: int) -> str:
    """What a host is called in known_hosts."""
    return address if port == 22 else f"[{address}]:{port}"


def lines_about(known: Iterable[KnownHost], address: str, port: int) -> tuple[KnownHost, ...]:
    """Those that speak of a host, whether they vouch for a key or revoke one."""
    name = host_name(address, port)
    return tuple(line for line in known if any(_lines_for([line], name)))


def is_revoking(line: KnownHost) -> bool:
    """Whether it is there to refuse a key."""
    return line.text.split()[:1] == [_REVOKED]


def check_host_key(known: Iterable[KnownHost], address: str, port: int, offered: PKey) -> None:
    """Raise TerminalError unless a line vouches for the key that the host offers."""
    name, kind, key = host_name(address, port), offered.get_name(), offered.get_base64()
    others: list[str] = []
    is_known = False
    for revoked, line_kind, line_key, place in _lines_for(known, name):
        if line_key == key and revoked:
            raise TerminalError("HostKeyRevoked", f"the host key of {name} is revoked by {place}")
        is_known = is_known or (line_key == key and not revoked)
        if line_kind == kind and line_key != key and not revoked:
            others.append(place)
    if is_known:
        return
    fingerprint = f"{kind} {offered.fingerprint}"
    if others:
        raise TerminalError(
            "HostKeyChanged",
            f"the host key of {name} is not the one of {', '.join(others)}: it offers {fingerprint}. Somebody may be "
            "in between. If the host was made anew, replace that line",
        )
    raise TerminalError("UnknownHostKey", f"nobody vouches for the host key of {name}: it offers {fingerprint}")


def known_key_kinds(known: Iterable[KnownHost], address: str, port: int) -> list[str]:
    """The kinds of keys that are known of a host, so that it is asked for one of those first."""
    found = (kind for revoked, kind, _, _ in _lines_for(known, host_name(address, port)) if not revoked)
    return list(dict.fromkeys(found))


def _lines_for(known: Iterable[KnownHost], name: str) -> Iterator[tuple[bool, str, str, str]]:
    """Whether it revokes, kind, key and place of every line that speaks of a host."""
    for line in known:
        fields = line.text.split()
        is_revoked = bool(fields) and fields[0] == _REVOKED
        if is_revoked:
            fields = fields[1:]
        if len(fields) < 3 or fields[0].startswith(("#", "@")):  # certificate authorities vouch for nothing here
            continue
        if _speaks_of(fields[0].split(","), name):
            yield is_revoked, fields[1], fields[2], line.place


def _speaks_of(patterns: list[str], name: str) -> bool:
    if any(pattern.startswith("!") and _is(pattern[1:], name) for pattern in patterns):
        return False
    return any(_is(pattern, name) for pattern in patterns)


def _is(pattern: str, name: str) -> bool:
    if not pattern.startswith("|1|"):
        return pattern == name or (not name.startswith("[") and fnmatchcase(name, pattern.replace("[", "[[]")))
    try:
        _, _, salt, digest = pattern.split("|")
        return hmac.digest(base64.b64decode(salt), name.encode(), "sha1") == base64.b64decode(digest)
    except ValueError:
        return False
