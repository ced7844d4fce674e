"""A file gets other content, whole or not at all, whenever its writer dies. Called by `installing` under the lock.

Usually the new content is written beside the file, as FILE.candidate, and takes its name. Where somebody looks at the
file itself and not at its name (a container in which just this one file is mounted), it is written over instead: then
the new and the old content stand beside it first, as FILE.writing and FILE.overwritten, and a writing that was
interrupted is known by what is in the file: the beginning of the new and the rest of the old. It is finished by whoever
comes next. FILE.previous is what was there before, for people.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import TransientError

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Replaced:
    """A file whose content is replaced. file: no link. in_place: it is written over."""

    file: Path
    in_place: bool = False

    @property
    def candidate(self) -> Path:
        """Where new content stands while it is checked."""
        return self._beside("candidate")

    @property
    def previous(self) -> Path:
        """What was there before."""
        return self._beside("previous")

    def read(self) -> bytes:
        """Its content; as it will be, when a writing was interrupted. Raises TransientError for what cannot be read."""
        content = _read(self.file)
        return self._interrupted(content) or content

    def recover(self) -> None:
        """Finish a writing that was interrupted, and remove what is left of it."""
        finished = self._interrupted(_read(self.file))
        if finished is not None:
            self._write_over(finished)
        self._forget_writing()

    def propose(self, content: bytes) -> Path:
        """Write content beside the file, as it would be; where it stands."""
        self._write_beside(self.candidate, content)
        return self.candidate

    def withdraw(self) -> None:
        """What was proposed is not wanted."""
        with _naming(self.candidate):
            self.candidate.unlink(missing_ok=True)

    def keep(self) -> None:
        """What is there now is the previous one from now on."""
        partial = self._beside("previous.new")
        self._write_beside(partial, _read(self.file))
        with _naming(self.previous):
            partial.replace(self.previous)

    def install(self) -> None:
        """What was proposed is the file's content from now on."""
        with _naming(self.file):
            if not self.in_place:
                self.candidate.replace(self.file)
                _sync_folder(self.file.parent)
                return
            self._write_beside(self._beside("overwritten"), _read(self.file))
            self.candidate.replace(self._beside("writing"))
            _sync_folder(self.file.parent)
        self._write_over(_read(self._beside("writing")))
        self._forget_writing()

    def _interrupted(self, content: bytes) -> bytes | None:
        """What the file should hold, where a writing of it was interrupted; None where it was not.

        Content that is neither the old nor the beginning of the new was written by somebody else meanwhile: it counts.
        """
        try:
            new, old = self._beside("writing").read_bytes(), self._beside("overwritten").read_bytes()
        except FileNotFoundError:
            return None
        if content in (new, old):
            return None
        same = _same(content, new)
        rest_is_old = len(content) == len(old) and content[same:] == old[same:]
        is_beginning = same == len(content) >= len(old)
        return new if rest_is_old or is_beginning else None

    def _write_over(self, content: bytes) -> None:
        """In pieces from its beginning, and its end is cut off last: a part of it can be told at any moment."""
        with _naming(self.file):
            descriptor = os.open(self.file, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                for start in range(0, len(content), _CHUNK):
                    piece = content[start : start + _CHUNK]
                    while piece:
                        written = os.pwrite(descriptor, piece, start)
                        start, piece = start + written, piece[written:]
                os.ftruncate(descriptor, len(content))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _forget_writing(self) -> None:
        for name in ("writing", "overwritten"):  # in this order: the second one alone says nothing
            with _naming(self._beside(name)):
                self._beside(name).unlink(missing_ok=True)

    def _write_beside(self, path: Path, content: bytes) -> None:
        """A file of ours with the owner and the mode of the file, on the disk."""
        with _naming(path):
            path.unlink(missing_ok=True)
            like = self.file.stat()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
                stream.write(content)
                stream.flush()
                if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(stream.fileno(), like.st_uid, like.st_gid)
                os.fchmod(stream.fileno(), like.st_mode & 0o777)
                os.fsync(stream.fileno())

    def _beside(self, name: str) -> Path:
        return self.file.with_name(f"{self.file.name}.{name}")


def _read(path: Path) -> bytes:
    with _naming(path):
        return path.read_bytes()


def _same(one: bytes, other: bytes) -> int:
    """How many bytes at the beginning are the same."""
    shorter = min(len(one), len(other))
    return next((index for index in range(shorter) if one[index] != other[index]), shorter)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What the system refuses is said with the path."""
    try:
        yield
    except OSError as error:
        raise TransientError("FileError", f"{error.filename or path}: {error.strerror or error}") from error
