"""The configuration of one node: its sums, its backups, and writing it. Called by `looking`, `syncing` and the steps.

Its contents hold keys: they stay on the node. What is written comes through stdin, never in an argument; what comes
back is sums. Backups are files of mode 0600 in BACKUPS/PAIR/RUN/files, at their own paths, beside a manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from reconciler.errors import BlockedError, TerminalError
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.pair_folder import check, checked_name, run_script
from reconciler.kinds.node_pair.nodes.replacing import RECOVER, REPLACE, NewEntry, packed
from reconciler.kinds.node_pair.nodes.sums import (
    NEW,
    PACK,
    WALK,
    Entry,
    answer,
    entries,
    records,
    roots,
    sums_below,
    sums_of,
)
from reconciler.kinds.node_pair.spec import ConfigurationSpec, NewFile
from reconciler.model.secret import Secret

Pending = Literal["current", "different"]
_FILES = "files"
_TRIES = 3
_WHOLE = r"""whole() {
  test -f "$1/manifest" || return
  (cd "$1" && sha256sum -c manifest.sha256) >/dev/null 2>&1 || refuse BackupDamaged "the manifest of $1 was changed"
}
"""
_COPY = rf"""home=$1/$name at=$1/$name/$2
shift 2
alone
recover
if whole "$at"; then
  cat "$at/manifest" | {PACK}
  exit
fi
test ! -e "$at" || refuse BackupDamaged "$at has no manifest"
mkdir -p "$home" && chmod 700 "$home" || exit 1
rm -rf "$home"/.new-*
new=$(mktemp -d "$home/.new-XXXXXX") || exit 1
trap 'rm -rf "$new"' EXIT
mkdir "$new/files" || exit 1
{{ for root; do printf 'root - - - %s\0' "$root"; done && walk all "$@"; }} >"$new/manifest" || exit 1
for root; do
  absent "$root" || {{ mkdir -p "$new/files${{root%/*}}" && cp -a "$root" "$new/files$root"; }} || exit 1
done
find "$new/files" \( -name '{NEW}*' -o ! -type f ! -type l ! -type d \) -exec rm -rf {{}} +
find "$new" -type d -exec chmod u=rwx,go=,ug-s {{}} + && find "$new" -type f -exec chmod 600 {{}} + || exit 1
(cd "$new" && sha256sum manifest >manifest.sha256) || exit 1
find "$new" -type f -exec sync {{}} + 2>/dev/null || sync
{{ printf 'made %s\0' "$new" && cat "$new/manifest" && walk files "$new/files"; }} | {PACK}
trap - EXIT
"""
_KEEP = r"""home=$1/$name
alone
if test -d "$3"; then mv -T "$3" "$home/$2" || exit 1; fi
test -f "$home/$2/manifest" || refuse NoBackup "the backup $home/$2 was removed while it was made"
sync "$home" 2>/dev/null || sync
"""
_SHOW = r"""whole "$at" || refuse NoBackup "there is no backup $at"
"""
_COPIES = f"{RECOVER}{WALK}{_WHOLE}{_COPY}"
_PRUNE = r"""home=$1/$name keep=$2
alone
test -d "$home" || exit 0
rm -rf "$home"/.new-* "$home"/.gone-*
ls -1t "$home" | tail -n +$((keep + 1)) | while read -r old; do
  mv -T "$home/$old" "$home/.gone-$old" && rm -rf "$home/.gone-$old" || exit 1
done
"""


class Configuration:
    """The files below the paths of a pair's configuration, on one node."""

    def __init__(self, node: Node, spec: ConfigurationSpec, pair: str) -> None:
        self._node = node
        self._spec = spec
        self._pair = pair

    def sums(self) -> dict[str, str]:
        """Every file below the paths, with its SHA-256; see `sums_below`."""
        return sums_below(self._node, self._pair, self._spec.paths)

    def pending(self, contents: Mapping[str, NewFile]) -> dict[str, Pending]:
        """How each path stands to what is to be written there. Reads only.

        What nobody can write counts as current: a content that is known by its digest only, and a `file` that the node
        does not have (yet).
        """
        if not contents:
            return {}
        files = {new.file for new in contents.values() if new.file}
        now = sums_below(self._node, self._pair, [*contents, *files])
        return {path: _standing(_plain(path), new, now) for path, new in contents.items()}

    def back_up(self, run: str) -> dict[str, str]:
        """Copy all of it into this run's backup, once, and return what it holds. Each copy is read back.

        A backup of this run that is there stays as it is. Raises TerminalError: `Changing`, `DiskFull`,
        `BackupDamaged`.
        """
        for _ in range(_TRIES):
            done = run_script(self._node, _COPIES, [*self._backup(run), *roots(self._spec.paths)])
            told = records(done, self._node)
            if not told or not told[0].startswith(b"made "):
                return sums_of(_kept(told)[1])
            made, middle = told[0][5:].decode(), told.index(b"end")
            sums = sums_of(_kept(told[1:middle])[1])
            if sums == _moved(entries(told[middle + 1 :]), f"{made}/{_FILES}"):
                check(run_script(self._node, _KEEP, [*self._backup(run), made]), self._node)
                return sums
        raise TerminalError("Changing", f"{self._node.role}: the configuration changed while it was backed up")

    def restore(self, run: str) -> dict[str, str]:
        """Make it again what it was when this run backed it up, and return what is there then.

        Every file comes back with its mode, owner and time; what was not there then is removed. All of it, or nothing.
        Raises TerminalError: `NoBackup`, `BackupDamaged`, `Locked`, `DiskFull`.
        """
        show = f'{RECOVER}{_WHOLE}at=$1/$name/$2\nalone\nrecover\n{_SHOW}cat "$at/manifest" | {PACK}'
        then_roots, then = _kept(records(run_script(self._node, show, self._backup(run)), self._node))
        walked = run_script(self._node, f'{WALK}walk all "$@" | {PACK}', [self._pair, *then_roots])
        now = answer(walked, self._node)
        files = f"{self._spec.backup_directory}/{self._pair}/{run}/{_FILES}"
        after = self._replace(_way_back(then, now, files), then_roots)
        wanted = sums_of(then)
        if wrong := [path for path in sorted({*after, *wanted}) if after.get(path) != wanted.get(path)]:
            message = f"{self._node.role}: {', '.join(wrong[:5])} did not become what it was: something else writes it"
            raise TerminalError("NotRestored", message)
        return after

    def write(self, contents: Mapping[str, NewFile]) -> dict[str, str]:
        """Put the new contents in place, all or none of them, and return the sums of all that is there then.

        A file keeps its mode and owner; a new one is root's, 0600. Raises TerminalError: `NoSuchFile`, `IsFolder`,
        `SymbolicLink`, `Locked`, `DiskFull`, …; BlockedError("NoContent") for a content known by its digest only.
        """
        entries_of = {_plain(path): new for path, new in contents.items()}
        for path, new in entries_of.items():
            if new.file and _plain(new.file) in entries_of:
                raise TerminalError("BadSource", f"{path} is to be a copy of {new.file}, which is written as well")
        return self._replace([_entry(path, new) for path, new in entries_of.items()], roots(self._spec.paths))

    def prune_backups(self, keep: int = 5) -> None:
        """Remove all backups of this pair but the newest."""
        done = run_script(self._node, _PRUNE, [self._pair, self._spec.backup_directory, str(keep)])
        check(done, self._node)

    def _replace(self, new: Sequence[NewEntry], below: Sequence[str]) -> dict[str, str]:
        length, stdin = packed(new)
        script = f'{REPLACE}{WALK}alone\nrecover\nhead=$1\nshift\nreplace "$head" "$@"\nwalk files "$@" | {PACK}'
        done = run_script(self._node, script, [self._pair, str(length), *below], stdin=stdin)
        return sums_of(answer(done, self._node))

    def _backup(self, run: str) -> list[str]:
        place = PurePosixPath(self._spec.backup_directory)
        if any(place.is_relative_to(root) for root in roots(self._spec.paths)):
            raise TerminalError("BadPlace", f"the backups in {place} would lie in the configuration that they are of")
        return [self._pair, str(place), checked_name(run)]


def _entry(path: str, new: NewFile) -> NewEntry:
    if new.file:
        return NewEntry("copy", path, source=new.file)
    if not isinstance(new.content, Secret):
        raise BlockedError("NoContent", f"the content of {path} is not here: apply the document that has it")
    content = new.content.reveal().encode("utf-8", "surrogateescape")
    return NewEntry("content", path, hashlib.sha256(content).hexdigest(), content=content)


def _standing(path: str, new: NewFile, now: Mapping[str, str]) -> Pending:
    if new.file:
        wanted = now.get(_plain(new.file))
    else:
        wanted = _entry(path, new).sum if isinstance(new.content, Secret) else None
    return "current" if wanted is None or now.get(path) == wanted else "different"


def _way_back(then: Sequence[Entry], now: Sequence[Entry], files: str) -> list[NewEntry]:
    """What leads back from now to then: folders from above, files, then what was not there, folders from below."""
    there = {entry.path: entry for entry in now}
    was = {entry.path for entry in then}
    made = [entry for entry in then if entry.kind == "folder" and there.get(entry.path) != entry]
    changed = [entry for entry in then if entry.kind != "folder" and there.get(entry.path) != entry]
    added = [entry for entry in now if entry.path not in was]
    return [
        *(NewEntry("folder", entry.path, "-", entry.mode, entry.owner) for entry in sorted(made, key=_path)),
        *(
            NewEntry("restore", entry.path, entry.sum, entry.mode, entry.owner, f"{files}{entry.path}")
            for entry in changed
        ),
        *(NewEntry("remove", entry.path) for entry in added if entry.kind != "folder"),
        *(NewEntry("unfolder", one.path) for one in sorted(added, key=_path, reverse=True) if one.kind == "folder"),
    ]


def _kept(told: Sequence[bytes]) -> tuple[list[str], list[Entry]]:
    """A manifest: below which paths everything was kept, and what there was."""
    below = [record.split(b" ", 4)[4].decode("utf-8", "surrogateescape") for record in told if record[:5] == b"root "]
    return below, entries(record for record in told if record[:5] != b"root ")


def _moved(copies: Sequence[Entry], files: str) -> dict[str, str]:
    """The sums of copies, by the paths of what they are copies of."""
    return {path.removeprefix(files): total for path, total in sums_of(copies).items()}


def _path(entry: Entry) -> str:
    return entry.path


def _plain(path: str) -> str:
    return roots([path])[0]
