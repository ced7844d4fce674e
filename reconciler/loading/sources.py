"""Where documents come from: a folder or a single file here; other sources follow the same small protocol.

A source lists its document files with a signature each (equal signatures: the content was not touched) and reads bytes.
It never follows a link out of its root, never opens what is no regular file, and never blocks: what cannot be read is a
`Fault` with its path, and `complete` says whether absence from the listing means anything.
"""

from __future__ import annotations

import builtins
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reconciler.errors import SpecError
from reconciler.loading.reader import MAX_BYTES
from reconciler.loading.text import shorten
from reconciler.model.commit import Commit

Signature = tuple[int, ...] | str
SUFFIXES = (".yaml", ".yml")
VARIABLES_FILE = "vars.yaml"
_YOUNG = 20_000_000  # ns: two edits within one tick of a file system's clock (10 ms at most) leave the same times
_YOUNG_COARSE = 2_000_000_000  # likewise where times are whole seconds


class SourceError(SpecError):
    """A file that cannot be taken: gone, no regular file, too large, outside the root."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__("Unreadable", message)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Fault:
    """A path of the source that could not be listed or must not be read."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source holds now.

    files: signature of each document file by its path; None where only reading tells whether it changed. faults: paths
    that are there but cannot be taken. complete: False when a part could not be seen, so that nothing may be concluded
    from what is missing.
    """

    files: Mapping[str, Signature | None]
    faults: tuple[Fault, ...] = ()
    complete: bool = True


class DocumentSource(Protocol):
    """A tree of files. Paths are relative to its root, with `/`."""

    @property
    def commit(self) -> Commit | None:
        """What was listed last; None where there are no commits, or none yet."""
        ...

    @property
    def revision(self) -> str:
        """The id of that commit, or ""."""
        ...

    @property
    def trouble(self) -> str:
        """Why what is listed may be old; "" when it is not."""
        ...

    def list(self) -> Listing:
        """All document files, `vars.yaml` of the root included. Never raises for what it finds."""
        ...

    def read(self, path: str, limit: int = MAX_BYTES) -> bytes:
        """The content of a file inside the root. Raises SourceError; the size is checked before anything is read."""
        ...

    def signature(self, path: str) -> Signature | None:
        """As in the listing, for any file inside the root; None for one that is not there."""
        ...

    def owner(self, path: str) -> str:
        """What `Source.owner` says of documents in this file."""
        ...

    def shown(self, path: str) -> str:
        """The path as people should see it."""
        ...


def read_regular(path: str, limit: int, inside: str = "") -> bytes:
    """The content of a regular file, read without ever blocking. Raises SourceError.

    inside: a folder (free of links) that the opened file must lie in, checked on the open descriptor, so that swapping
    a link in between gains nothing.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # before opening: opening a device may already do something
            raise SourceError("is not a regular file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _source_error(error) from error
    try:
        return _read_descriptor(descriptor, limit, inside)
    except OSError as error:
        raise _source_error(error) from error
    finally:
        os.close(descriptor)


def _read_descriptor(descriptor: int, limit: int, inside: str) -> bytes:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise SourceError("is not a regular file")
    if inside and not is_inside(str(Path(f"/proc/self/fd/{descriptor}").readlink()), inside):
        raise SourceError(f"leads out of {shorten(inside)}")
    if before.st_size > limit:
        raise SourceError(f"has {before.st_size:,} bytes, more than {limit:,}")
    content = b""
    while len(content) <= limit and (part := os.read(descriptor, limit + 1 - len(content))):
        content = content + part if content else part
    if len(content) > limit:
        raise SourceError(f"has more than {limit:,} bytes")
    after = os.fstat(descriptor)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns) or after.st_size != len(content):
        raise SourceError("was changed while it was read")
    if after.st_nlink == 0:
        raise SourceError("vanished while it was read")
    return content


def file_signature(path: str) -> Signature | None:
    """Signature of a file by its stat, links followed; None when there is none or it is too young to be trusted."""
    try:
        return trusted_signature(Path(path).stat(), time.time_ns())
    except (OSError, ValueError):
        return None


def trusted_signature(status: os.stat_result, now: int) -> Signature | None:
    """Signature by stat; None while the file is so young that another edit could leave the same times."""
    newest = max(status.st_mtime_ns, status.st_ctime_ns)
    young = _YOUNG if status.st_mtime_ns % 1_000_000_000 else _YOUNG_COARSE
    if now - newest < young:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns, status.st_dev)


def is_inside(path: str, folder: str) -> bool:
    """True when `path` is `folder` or lies below it; both absolute and free of links."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _source_error(error: OSError | ValueError) -> SourceError:
    if isinstance(error, OSError):
        return SourceError(_os_message(error), missing=isinstance(error, FileNotFoundError))
    return SourceError("cannot be read: its name is not valid")


def _os_message(error: OSError) -> str:
    return "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror or error}"


@dataclass(slots=True)
class _Scan:
    """What one walk has found so far. links: linked files to add if their targets are not found by themselves."""

    files: dict[str, Signature | None] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    file_links: list[tuple[str, str]] = field(default_factory=list)
    folder_links: list[tuple[str, str]] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    complete: bool = True

    def fault(self, path: str, message: str, *, hides: bool = False) -> None:
        """Note a fault; hides: more may lie behind it, so that absence means nothing any more."""
        self.faults.append(Fault(path, message))
        self.complete = self.complete and not hides


class DirectorySource:
    """The `*.yaml` and `*.yml` files below a folder, or one file.

    Hidden files and folders and editors' temporary files are left out. A link to a file or folder inside the root is
    taken unless its target is found by itself; a link that leads outside is a fault.
    """

    revision = ""
    commit: Commit | None = None
    trouble = ""

    def __init__(self, root: Path) -> None:
        root = root.expanduser()
        self._single = root.name if root.is_file() else ""
        self.root = os.path.realpath(root.parent if self._single else root)

    def list(self) -> Listing:
        """See DocumentSource."""
        scan = _Scan()
        if self._single:
            self._list_single(scan)
        else:
            self._walk(scan, "")
            self._follow_links(scan)
        return Listing(scan.files, tuple(scan.faults), scan.complete)

    def read(self, path: str, limit: int = MAX_BYTES) -> bytes:
        """See DocumentSource."""
        return read_regular(self._absolute(path), limit, inside=self.root)

    def signature(self, path: str) -> Signature | None:
        """See DocumentSource."""
        return file_signature(self._absolute(path))

    def owner(self, path: str) -> str:
        """See DocumentSource."""
        return f"file:{_storable(self._absolute(path))}"

    def shown(self, path: str) -> str:
        """See DocumentSource. Relative to the current folder when below it, else absolute."""
        absolute = self._absolute(path)
        try:
            current = str(Path.cwd())
        except OSError:  # it was deleted
            current = ""
        if current and is_inside(absolute, current):
            absolute = absolute[len(current) :].strip("/") or "."
        return shorten(_storable(absolute), 400)

    def _absolute(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def _list_single(self, scan: _Scan) -> None:
        for name in (VARIABLES_FILE, self._single):
            try:
                status = Path(self.root, name).stat()
            except OSError as error:
                if name == self._single:
                    scan.fault(name, _os_message(error), hides=True)
                continue
            if stat.S_ISREG(status.st_mode):
                scan.files[name] = trusted_signature(status, time.time_ns())
            else:
                scan.fault(name, "is not a regular file")

    def _walk(self, scan: _Scan, start: str) -> None:
        waiting = [start]
        now = time.time_ns()
        while waiting:
            folder = waiting.pop()
            try:
                real = os.path.realpath(self._absolute(folder))
                if real in scan.folders:
                    continue
                scan.folders.add(real)
                with os.scandir(self._absolute(folder)) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                scan.fault(folder, _os_message(error), hides=True)
                continue
            for entry in found:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if not entry.name.startswith((".", "#")):
                    self._take(scan, entry, path, now, waiting)

    def _take(self, scan: _Scan, entry: os.DirEntry[str], path: str, now: int, waiting: builtins.list[str]) -> None:
        is_document = entry.name.endswith(SUFFIXES)
        try:
            if entry.is_symlink():
                self._take_link(scan, path, is_document)
            elif entry.is_dir():
                if _is_utf8(entry.name):
                    waiting.append(path)
                else:
                    scan.fault(path, "has a name that is not UTF-8", hides=True)
            elif not is_document:
                return
            elif not _is_utf8(entry.name):
                scan.fault(path, "has a name that is not UTF-8")
            elif entry.is_file():
                scan.files[path] = trusted_signature(entry.stat(), now)
            else:
                scan.fault(path, "is not a regular file")
        except FileNotFoundError:  # between listing and looking
            if is_document:
                scan.fault(path, "vanished while it was read")
        except OSError as error:
            scan.fault(path, _os_message(error), hides=not is_document)

    def _take_link(self, scan: _Scan, path: str, is_document: bool) -> None:
        target = Path(os.path.realpath(self._absolute(path)))
        is_folder = target.is_dir()
        if not (is_document or is_folder):
            return
        if not is_inside(str(target), self.root):
            scan.fault(path, f"is a link to {shorten(str(target))}, outside of the specs", hides=is_folder)
        elif is_folder:
            scan.folder_links.append((path, str(target)))
        elif not target.exists():
            scan.fault(path, f"is a link to {shorten(str(target))}, which does not exist")
        elif not target.is_file():
            scan.fault(path, f"is a link to {shorten(str(target))}, which is not a regular file")
        else:
            scan.file_links.append((path, str(target)))

    def _follow_links(self, scan: _Scan) -> None:
        """Add what links lead to, each thing once, however it is reached."""
        while scan.folder_links:
            path, target = scan.folder_links.pop(0)
            if target not in scan.folders:
                self._walk(scan, path)
        found = {self._absolute(path) for path in scan.files}
        for path, target in scan.file_links:
            if target not in found:
                found.add(target)
                scan.files[path] = file_signature(target)


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _storable(path: str) -> str:
    """A path as text that can be stored and printed: bytes that are not UTF-8 are escaped."""
    return path if _is_utf8(path) else os.fsencode(path).decode("utf-8", "backslashreplace")
