"""Which host keys are trusted: lines in the form of known_hosts, wherever they were read. Used by `ssh`.

A host is never trusted at first sight. What a line says is what OpenSSH would take it for: hashed names, `[host]:port`,
patterns, several names; `@revoked` keys are refused, and a line that says nothing of a host vouches for nothing.
"""

from __future__ import annotations

import base64
import hashlib
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


@dataclass(frozen=True, slots=True)
class HostKey:
    """The public key of a host. text: kind and key, as in known_hosts. fingerprint: `SHA256:…`, as ssh shows it."""

    kind: str
    text: str
    fingerprint: str

    @classmethod
    def of(cls, key: PKey) -> HostKey:
        """The key that a host offered."""
        return cls(key.get_name(), f"{key.get_name()} {key.get_base64()}", key.fingerprint)

    @classmethod
    def written(cls, text: str) -> HostKey:
        """The key of a line. Raises ValueError for what is none."""
        kind, key = text.split()[:2]
        digest = base64.b64encode(hashlib.sha256(base64.b64decode(key, validate=True)).digest()).decode().rstrip("=")
        return cls(kind, f"{kind} {key}", f"SHA256:{digest}")

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


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


def names_of(line: KnownHost) -> list[str]:
    """The names and patterns that it speaks of, hashed ones as they are; none for a comment."""
    fields = _fields(line)
    return fields[0].split(",") if fields else []


def key_of(line: KnownHost) -> str:
    """The key that it speaks of, as kind and key; "" for a comment."""
    return " ".join(_fields(line)[1:3])


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
        fields = _fields(line)
        if fields and _speaks_of(fields[0].split(","), name):
            yield is_revoking(line), fields[1], fields[2], line.place


def _fields(line: KnownHost) -> list[str]:
    """Names, kind and key, without the mark of a revoked one; [] for a line that says nothing of a host."""
    fields = line.text.split()
    if fields[:1] == [_REVOKED]:
        fields = fields[1:]
    # certificate authorities vouch for nothing here
    return [] if len(fields) < 3 or fields[0].startswith(("#", "@")) else fields


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
