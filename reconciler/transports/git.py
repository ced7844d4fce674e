"""A bare mirror of a git repository, read by commit and never checked out. Used by `loading.git_source`.

    HOME/git/DIGEST OF THE URL/
        repository       a link to the bare repository that is in use, so that another one is swapped in at once
        repository-…     one that is in use, was in use, or is being built
        head-…           the commit of a branch that was accepted last, as JSON: what counts, whatever the refs say
        broken           there once reading has shown that the repository is damaged
        lock             held by whoever fetches, in any process; who only reads takes no lock

A fetch may be killed anywhere: until `head-…` is replaced nothing has changed for those who read. What cannot be
repaired by fetching again is built anew beside the old one. A branch that was rewritten is not followed unless that
was asked for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from reconciler.errors import ReconcilerError, TerminalError, TransientError, UnreachableError, UsageError
from reconciler.model.commit import Commit
from reconciler.transports.git_command import (
    LONGEST_LISTING,
    GitAccess,
    GitCommand,
    GitError,
    clean,
    is_damage,
)
from reconciler.transports.git_objects import TreeEntry, parse_blobs, parse_tree
from reconciler.transports.git_place import GitPlace

_POLL = 0.05
_BLOB_OVERHEAD = 200
_LOG_FORMAT = "--format=%an <%ae>%x00%ct%x00%s"


class BranchRewrittenError(TerminalError):
    """The branch no longer contains the commit that was accepted last."""


class Mirror:
    """The mirror of one repository, for one branch of it. folder: of all mirrors; made at the first fetch.

    cancelled: asked while git runs; an exception that it returns ends the call.
    """

    def __init__(
        self,
        folder: Path,
        place: GitPlace,
        access: GitAccess,
        cancelled: Callable[[], Exception | None] | None = None,
    ) -> None:
        self.place = place
        self._access = access
        self._folder = folder / hashlib.sha256(place.url.encode()).hexdigest()[:32]
        self._git = GitCommand(place, access, self._folder, cancelled)
        self._current = self._folder / "repository"
        self._broken = self._folder / "broken"
        self._head = self._folder / f"head-{hashlib.sha256(place.branch.encode()).hexdigest()[:32]}"

    def head(self) -> Commit | None:
        """The commit that was accepted last, or None before the first. Asks nobody."""
        try:
            kept = json.loads(self._head.read_bytes())
            return Commit(kept["id"], kept["author"], kept["subject"], kept["at"])
        except (OSError, ValueError, TypeError, KeyError):  # none yet, or somebody edited it
            return None

    def fetch(self, *, force: bool = False) -> Commit:
        """Ask the remote, take what is new, and return the commit that counts from now on.

        force: follow a branch that was rewritten. Raises UnreachableError, GitError("EmptyRemote", "NoSuchBranch", …),
        BranchRewrittenError or UsageError; then nothing has changed.
        """
        self._access.check(self.place)
        try:
            for folder in (self._folder.parent, self._folder):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UsageError("NoMirror", f"{self._folder} cannot be made: {error.strerror}") from error
        with self._alone():
            offered = self._offered()
            before = self.head()
            if before is not None and before.id == offered and self._is_whole(offered):
                return before
            repository, commit = self._received()
            if before is not None and not force:
                self._check_forward(repository, before, commit)
            self._put_in_use(repository)
            return self._accept(repository, commit)

    def tree(self, commit: str) -> list[TreeEntry]:
        """Everything below the place's folder in a commit, by path. Raises GitError, SpecError for a bad folder."""
        place = f"{commit}:{self.place.path}"
        try:
            listed = self._git.read(self._current, "ls-tree", "-r", "-l", "-z", place, limit=LONGEST_LISTING)
            return parse_tree(listed)
        except ValueError as error:
            self._found_damage(error)
        except GitError as error:
            if is_damage(error) and self._git.try_run(self._current, "cat-file", "-e", f"{commit}^{{tree}}").returncode:
                self._found_damage(error)
            if is_damage(error) and self.place.path:
                message = f"there is no folder {self.place.path} in commit {commit[:12]} of {self.place.branch}"
                raise GitError("NoSuchFolder", message) from error
            raise

    def blobs(self, entries: Sequence[TreeEntry]) -> dict[str, bytes]:
        """The contents of some files by their ids, all by one process. Raises GitError."""
        limit = sum(entry.size + _BLOB_OVERHEAD for entry in entries)
        asked = "".join(f"{entry.id}\n" for entry in entries)
        try:
            content = self._git.read(self._current, "cat-file", "--batch", limit=limit, stdin=asked)
            return parse_blobs(content, entries)
        except ValueError as error:
            self._found_damage(error)
        except GitError as error:
            if is_damage(error):
                self._found_damage(error)
            raise

    # -- asking and receiving

    def _offered(self) -> str:
        """The commit that the remote has on the branch. Raises UnreachableError, GitError."""
        wanted = f"refs/heads/{self.place.branch}"
        for line in self._asked("ls-remote", "--", self.place.url, wanted):
            commit, _, name = line.partition("\t")
            if name == wanted:
                return commit
        if not self._asked("ls-remote", "--heads", "--", self.place.url):
            raise GitError("EmptyRemote", f"{self.place.url} is empty: it has no branch at all")
        raise GitError("NoSuchBranch", f"{self.place.url} has no branch {self.place.branch}")

    def _asked(self, *arguments: str) -> list[str]:
        nowhere = self._folder / "none"
        done = self._git.try_run(nowhere, *arguments)
        if done.returncode:
            error = self._git.error("GitUnreachable", done)
            raise UnreachableError(error.reason, error.message) from error
        return done.stdout.splitlines()

    def _received(self) -> tuple[Path, str]:
        """What the branch is now, with the repository that holds it: the one in use, or one built anew."""
        if self._current.is_dir() and not self._broken.exists():
            repository = self._current.resolve()
            try:
                return repository, self._receive(repository, self.place.branch)
            except GitError as error:
                if not is_damage(error):
                    raise
        return self._rebuilt()

    def _receive(self, repository: Path, branch: str) -> str:
        incoming = f"refs/incoming/{branch}"
        self._git.run(
            repository,
            *("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
            *("--end-of-options", self.place.url, f"+refs/heads/{branch}:{incoming}"),
        )
        return self._git.run(repository, "rev-parse", "--verify", "--quiet", f"{incoming}^{{commit}}").strip()

    def _rebuilt(self) -> tuple[Path, str]:
        """A repository built anew beside the one in use, with every branch that was ever accepted here."""
        before = self._current.resolve()
        for old in self._folder.glob("repository-*"):
            if old != before:
                shutil.rmtree(old, ignore_errors=True)
        repository = self._folder / f"repository-{os.urandom(6).hex()}"
        self._git.run(repository, "init", "--bare", "--quiet", "--template=", str(repository))
        commit = self._receive(repository, self.place.branch)
        for branch in self._other_branches():
            with suppress(GitError):  # its own fetch says what is wrong with it
                self._receive(repository, branch)
        return repository, commit

    def _other_branches(self) -> Iterator[str]:
        for path in self._folder.glob("head-*"):
            with suppress(OSError, ValueError, KeyError, TypeError, UsageError):
                branch = json.loads(path.read_bytes())["branch"]
                if branch != self.place.branch:
                    yield GitPlace.checked(self.place.url, branch).branch

    def _put_in_use(self, repository: Path) -> None:
        """Swap a repository in at once. The one before it stays for those who read it now, until the next rebuild."""
        if self._current.resolve() == repository:
            return
        link = self._folder / f".link-{os.urandom(6).hex()}"
        link.symlink_to(repository.name)
        link.replace(self._current)
        self._broken.unlink(missing_ok=True)

    def _check_forward(self, repository: Path, before: Commit, commit: str) -> None:
        done = self._git.try_run(repository, "merge-base", "--is-ancestor", before.id, commit)
        if done.returncode:
            message = (
                f"{self.place.url}: branch {self.place.branch} was rewritten: {commit[:12]} does not contain "
                f"{before.id[:12]}, which stays in force; allow it with --force-updates"
            )
            raise BranchRewrittenError("BranchRewritten", message)

    def _accept(self, repository: Path, commit: str) -> Commit:
        """Make a commit the one that counts. The ref only keeps its objects from being swept up."""
        self._git.run(repository, "update-ref", f"refs/accepted/{self.place.branch}", commit)
        said = self._git.run(repository, "log", "-1", "--no-show-signature", "--encoding=UTF-8", _LOG_FORMAT, commit)
        author, _, rest = said.partition("\0")
        at, _, subject = rest.partition("\0")
        seconds = float(at) if at.isdigit() and len(at) < 12 else 0.0
        accepted = Commit(commit, clean(author), clean(subject), seconds)
        self._write_head(accepted)
        with suppress(ReconcilerError):  # house-keeping: whatever is wrong is found, and told, by who needs it
            self._git.try_run(repository, "gc", "--auto", "--quiet")
        return accepted

    def _write_head(self, commit: Commit) -> None:
        draft = self._folder / f".head-{os.urandom(6).hex()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump({"branch": self.place.branch, **asdict(commit)}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self._head)

    # -- damage

    def _is_whole(self, commit: str) -> bool:
        """Whether the repository in use seems to have a commit; what else is missing is found by reading it."""
        if self._broken.exists() or not self._current.is_dir():
            return False
        return self._git.try_run(self._current, "cat-file", "-e", f"{commit}^{{tree}}").returncode == 0

    def _found_damage(self, error: Exception) -> NoReturn:
        """Have the next fetch build the repository anew."""
        with suppress(OSError):
            self._broken.touch(mode=0o600)
        message = f"the mirror of {self.place.url} is damaged; the next fetch builds it anew ({error})"
        raise GitError("MirrorDamaged", message) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process, and no other thread, fetches into this mirror."""
        give_up = time.monotonic() + self._access.timeout
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() >= give_up:
                        message = f"{self.place.url}: another process has been fetching for too long"
                        raise TransientError("MirrorLocked", message) from error
                    time.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)
