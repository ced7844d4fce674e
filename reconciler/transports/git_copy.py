"""A bare repository in which commits for a remote are read and made. Used by `git_remote`.

    HOME/remotes/DIGEST OF THE URL/
        repository   what was fetched of it last, without history; a cache that may be thrown away at any time
        in-use       there while somebody works in it, and after whoever did was killed: then it is thrown away
        lock         held by who works in it, in any process: one at a time for each remote

Nothing here is believed about the remote: what it has is asked of it every time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import SpecError, TerminalError, TransientError, UnreachableError
from reconciler.transports.git_command import GitCommand, GitError

_POLL = 0.1
_MOST_PACKS = 100
_MOST_OBJECTS = 10_000


class WorkingCopy:
    """The folder of one remote. sleep: as `Context.sleep`, so that waiting ends when nothing more may be done."""

    def __init__(self, remotes: Path, url: str, sleep: Callable[[float], None]) -> None:
        self.folder = remotes / hashlib.sha256(url.encode()).hexdigest()[:32]
        self._sleep = sleep
        self._repository = self.folder / "repository"
        self._in_use = self.folder / "in-use"

    def prepare(self) -> None:
        """Make the folder, and sweep up what killed processes have left. Raises TerminalError where that fails."""
        try:
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise TerminalError("NoWorkingCopy", f"{self.folder} cannot be made: {error.strerror}") from error
        for left in self.folder.glob("out-*"):  # what git printed, see GitCommand.read
            if not Path(f"/proc/{left.name.split('-')[1]}").exists():
                left.unlink(missing_ok=True)

    @contextmanager
    def repository(self, git: GitCommand, timeout: float) -> Iterator[Path]:
        """The repository, for us alone; a new one when whoever used it last did not end well.

        timeout: seconds to wait for others, then TransientError("RemoteBusy").
        """
        with self._alone(timeout):
            if self._in_use.exists() or not (self._repository / "HEAD").exists() or self._has_grown():
                self._throw_away()
                self._in_use.touch(mode=0o600)
                git.run(self._repository, "init", "--bare", "--quiet", "--template=", str(self._repository))
            self._in_use.touch(mode=0o600)
            try:
                yield self._repository
            except Exception as error:
                if _is_answer(error):  # of the remote: nothing is wrong with what we have
                    self._in_use.unlink(missing_ok=True)
                raise
            self._in_use.unlink(missing_ok=True)

    def _has_grown(self) -> bool:
        """Whether so much is left of earlier commits that a new one is cheaper. Counted as `gc --auto` does."""
        objects = self._repository / "objects"
        packs = sum(1 for _ in (objects / "pack").glob("*.pack"))
        return packs > _MOST_PACKS or sum(1 for _ in (objects / "17").glob("*")) * 256 > _MOST_OBJECTS

    def _throw_away(self) -> None:
        """Move it aside first: a child of who was killed may still write into it."""
        if self._repository.exists():
            self._repository.rename(self.folder / f"old-{os.urandom(6).hex()}")
        for old in self.folder.glob("old-*"):
            shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _alone(self, timeout: float) -> Iterator[None]:
        give_up = time.monotonic() + timeout
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _locked(descriptor):
                if time.monotonic() >= give_up:
                    raise TransientError("RemoteBusy", f"others have been working on this remote for {timeout:g} s")
                self._sleep(_POLL)
            yield
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_answer(error: Exception) -> bool:
    """Whether an error came from the remote or from our own rules, not from a git that failed or was ended."""
    if isinstance(error, (GitError, UnreachableError)):
        return error.reason not in ("GitFailed", "GitDeadline")
    return isinstance(error, (SpecError, TransientError, TerminalError))
