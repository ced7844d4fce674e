"""What rsync says with --itemize-changes, and what it complains of, as values. Pure; for `syncing`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Action = Literal["created", "updated", "deleted", "attributes"]
_DELETING = re.compile(r"\*deleting +(.+)")
_CHANGE = re.compile(r"([<>ch.])([fdLDS])(\S{7,}) (.+)")
_ESCAPED = re.compile(r"\\#([0-3][0-7]{2})")
_FAILED = re.compile(r'^(?:rsync: .*?|file has vanished: )"(.*)"(?: \(in ([^)]*)\))?')
_RENAMED = re.compile(r'^rsync: .*?rename ".*" -> "(.*)": ')
_STAGED = re.compile(r"\.(.+)\.[A-Za-z0-9]{6}")
_MEANINGS = {
    1: "rsync does not understand what it is to do",
    2: "both rsyncs do not understand each other",
    3: "rsync cannot use the folder or the file",
    5: "the daemon refused",
    10: "there is no connection to the master's daemon",
    11: "rsync could not read or write",
    12: "the connection broke off",
    20: "rsync was ended",
    22: "rsync has no memory",
    23: "not all files could be synchronized",
    24: "files vanished on the master meanwhile",
    25: "it would have deleted more than the preview named, and stopped there",
    30: "rsync waited in vain",
    35: "the master's daemon did not answer",
    126: "the command cannot be run",
    127: "the command does not exist",
}


@dataclass(frozen=True, slots=True)
class SyncedFile:
    """A file that a synchronization was about. path: on the backup where that is known, else as rsync named it."""

    path: str
    action: Action
    status: Literal["ok", "failed"] = "ok"


@dataclass(frozen=True, slots=True)
class Itemized:
    """What a run did, or would do. deletions: as rsync counts them, folders too."""

    files: tuple[SyncedFile, ...] = ()
    deletions: int = field(default=0)


def itemized(text: str, target: str = "") -> Itemized:
    """From the lines of --itemize-changes; others are left out, as are folders that are not deleted.

    target: the folder that they are in, "" for names as they stand.
    """
    files = [one for one in map(_file, text.splitlines()) if one is not None]
    placed = tuple(SyncedFile(_joined(target, one.path), one.action) for one in files)
    return Itemized(placed, sum(one.action == "deleted" for one in placed))


def failed_files(errors: str, target: str = "", source: str = "") -> list[SyncedFile]:
    """The files that rsync's complaints name. source: path in the module that is the target's counterpart."""
    return [SyncedFile(path, "updated", "failed") for path in dict.fromkeys(_complaints(errors, target, source))]


def exit_meaning(status: int) -> str:
    """What an exit status of rsync means."""
    return f"{_MEANINGS.get(status, 'it failed')} (exit status {status})"


def _file(line: str) -> SyncedFile | None:
    if deleting := _DELETING.fullmatch(line):
        return SyncedFile(_plain(deleting[1]), "deleted")
    change = _CHANGE.fullmatch(line)
    if change is None or change[2] == "d":
        return None
    what, kind, flags, name = change.groups()
    if kind == "L":
        name = name.partition(" -> ")[0]
    if what == "h":
        name = name.partition(" => ")[0]
    if set(flags) == {"+"}:
        return SyncedFile(_plain(name), "created")
    return SyncedFile(_plain(name), "attributes" if what == "." else "updated")


def _complaints(errors: str, target: str, source: str) -> Iterable[str]:
    for line in errors.splitlines():
        if renamed := _RENAMED.match(line):
            name = _plain(renamed[1])
            yield name if name.startswith("/") else _joined(target, name)
            continue
        found = _FAILED.match(line)
        if found is None:
            continue
        path, module = _plain(found[1]), found[2]
        folder, _, name = path.rpartition("/")
        if module is not None and target:
            inner = path.strip("/").removeprefix(source.strip("./")).strip("/")
            yield _joined(target, inner)
        elif "mkstemp" in line and (staged := _STAGED.fullmatch(name)):
            yield f"{folder}/{staged[1]}"
        else:
            yield path


def _joined(target: str, name: str) -> str:
    return f"{target.rstrip('/')}/{name}" if target else name


def _plain(name: str) -> str:
    r"""A name with rsync's escapes (\#ooo) taken back; what is not UTF-8 becomes surrogates."""
    raw = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), name)
    if raw == name:
        return name
    return _bytes(name).decode("utf-8", "surrogateescape")


def _bytes(name: str) -> bytes:
    parts, last = [], 0
    for found in _ESCAPED.finditer(name):
        parts += [name[last : found.start()].encode("utf-8", "surrogateescape"), bytes([int(found[1], 8)])]
        last = found.end()
    return b"".join([*parts, name[last:].encode("utf-8", "surrogateescape")])
