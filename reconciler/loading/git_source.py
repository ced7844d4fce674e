"""Documents out of a git repository: a folder of one commit, read through its mirror. Made by `engine.wiring`.

Blob ids are signatures that cannot lie, so of ten thousand documents with one edited exactly one is read; what is new
is read by one process a load. Nothing is checked out and nothing is followed: a symbolic link or a submodule below the
folder is a fault that names it. What cannot be looked at leaves everything as it was read last.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import ReconcilerError
from reconciler.loading.documents import LoadOptions
from reconciler.loading.home import make_home
from reconciler.loading.reader import MAX_BYTES
from reconciler.loading.sources import SUFFIXES, Fault, Listing, Signature, SourceError
from reconciler.loading.text import shorten
from reconciler.model.commit import Commit
from reconciler.transports.git import Mirror
from reconciler.transports.git_command import GitAccess
from reconciler.transports.git_objects import SUBMODULE, SYMLINK, TreeEntry
from reconciler.transports.git_place import GitPlace

if TYPE_CHECKING:
    from reconciler.loading.settings import Git, Settings

LONGEST_OWNER = 512
_AHEAD = 16_000_000
_AHEAD_COUNT = 5000


class GitSource:
    """A DocumentSource over a mirror. trouble: what was wrong with the last fetch, "" for nothing; shown as a fault."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.place = mirror.place
        self.commit: Commit | None = None
        self.trouble = ""
        self._entries: dict[str, TreeEntry] = {}
        self._faults: tuple[Fault, ...] = ()
        self._unread: dict[str, TreeEntry] = {}  # new documents by id, in the order in which they will be asked for
        self._ahead: dict[str, bytes] = {}
        self._failed = ""  # why nothing can be read until the next listing

    @property
    def revision(self) -> str:
        """The commit that was listed last, "" before the first."""
        return self.commit.id if self.commit is not None else ""

    def list(self) -> Listing:
        """See DocumentSource. Of the commit that was accepted last; the remote is not asked."""
        self._ahead.clear()
        self._failed = ""
        faults = [Fault("", f"could not be fetched: {self.trouble}")] if self.trouble else []
        head = self.mirror.head()
        if head is None:
            faults = faults or [Fault("", "was never fetched")]
            return Listing({}, tuple(faults), complete=False)
        complete = True
        if self.commit is None or head.id != self.commit.id:
            try:
                entries = self.mirror.tree(head.id)
            except ReconcilerError as error:
                complete = False
                faults.append(Fault("", error.message))
            else:
                self._take(entries)
                self.commit = head
        files = {path: entry.id for path, entry in self._entries.items() if entry.is_file and _is_document(path)}
        return Listing(files, (*faults, *self._faults), complete)

    def read(self, path: str, limit: int = MAX_BYTES) -> bytes:
        """See DocumentSource."""
        entry = self._entries.get(path)
        if entry is None:
            raise SourceError("does not exist", missing=True)
        if not entry.is_file:
            raise SourceError(_refusal(entry))
        if entry.size > limit:
            raise SourceError(f"has {entry.size:,} bytes, more than {limit:,}")
        if entry.id not in self._ahead:
            if self._failed:
                raise SourceError(f"cannot be read: {self._failed}")
            self._read_ahead(entry)
        return self._ahead[entry.id]

    def signature(self, path: str) -> Signature | None:
        """See DocumentSource."""
        entry = self._entries.get(path)
        return entry.id if entry is not None else None

    def owner(self, path: str) -> str:
        """See DocumentSource."""
        return self.place.prefix + path

    def shown(self, path: str) -> str:
        """See DocumentSource: the path inside the repository."""
        folder = f"{self.place.path}/" if self.place.path else ""
        return shorten(f"{folder}{path}" if path else str(self.place), 400)

    def fetch(self, *, force: bool = False) -> Commit:
        """Bring the mirror up to date. Raises what `Mirror.fetch` raises; then nothing has changed."""
        return self.mirror.fetch(force=force)

    def _take(self, found: builtins.list[TreeEntry]) -> None:
        """Take over the tree of another commit."""
        before, self._entries = self._entries, {}
        faults: builtins.list[Fault] = []
        for entry in found:
            path = entry.path.decode("utf-8", "backslashreplace")
            if any(part.startswith((".", "#")) for part in path.split("/")):
                continue
            if message := self._wrong(entry, path):
                faults.append(Fault(shorten(path, LONGEST_OWNER), message))
            else:
                self._entries[path] = entry
        self._faults = tuple(faults)
        self._unread = {entry.id: entry for path, entry in _documents(self._entries) if before.get(path) != entry}

    def _wrong(self, entry: TreeEntry, path: str) -> str:
        """Why an entry cannot be taken, "" for one that can."""
        if not entry.is_file:
            return _refusal(entry)
        if not _is_document(path):
            return ""
        if path.encode() != entry.path:
            return "has a name that is not UTF-8"
        return "has too long a path" if len(self.owner(path)) > LONGEST_OWNER else ""

    def _read_ahead(self, wanted: TreeEntry) -> None:
        """Read a file, and with it the new documents that come after it, within bounds."""
        batch = {wanted.id: wanted}
        if self._unread.pop(wanted.id, None) is not None:
            self._ahead.clear()  # what was read before this one was used
            size = wanted.size
            for entry in [*self._unread.values()]:
                size += entry.size
                if size > _AHEAD or len(batch) == _AHEAD_COUNT:
                    break
                batch[entry.id] = self._unread.pop(entry.id)
        try:
            self._ahead |= self.mirror.blobs([*batch.values()])
        except ReconcilerError as error:
            self._failed = error.message
            raise SourceError(f"cannot be read: {error.message}") from error


def open_git_source(
    settings: Settings, place: GitPlace, cancelled: Callable[[], Exception | None] | None = None
) -> GitSource:
    """The documents of a git repository, through its mirror in the home. cancelled: asked while git runs."""
    chosen = settings.git
    access = GitAccess(
        timeout=chosen.timeout,
        ssh_key=chosen.ssh_key,
        known_hosts=chosen.known_hosts,
        token_file=chosen.token_file,
        username=chosen.username,
        ca_file=chosen.ca_file,
    )
    return GitSource(Mirror(make_home(settings.home) / "git", place, access, cancelled))


def restricted(options: LoadOptions, settings: Git) -> LoadOptions:
    """Options for documents that come out of git: of this machine they may name what the settings allow, else nothing.

    Who may push is not who may read the files and the environment of the reconciler.
    """
    return replace(
        options, secret_env=settings.env, secret_files=settings.files, allowed_by="git", files_anywhere=False
    )


def _documents(entries: Mapping[str, TreeEntry]) -> Iterator[tuple[str, TreeEntry]]:
    return ((path, entry) for path, entry in entries.items() if entry.size <= MAX_BYTES and _is_document(path))


def _is_document(path: str) -> bool:
    return path.endswith(SUFFIXES)


def _refusal(entry: TreeEntry) -> str:
    if entry.mode == SYMLINK:
        return "is a symbolic link, and none is followed in a git source"
    return "is a submodule, and none is followed" if entry.mode == SUBMODULE else "is not a regular file"
