"""One repository on a git server, read and written without a checkout. Given to kinds by `Context.git`.

Writing is compare-and-set: a branch, a tag or a deletion takes effect only while the remote is as it was looked at, and
a branch that moved meanwhile is fetched and built upon anew. A push that is not confirmed is a failed call.

    GitError(AuthenticationFailed | UnknownHostKey | HostKeyChanged | BadSshKey | NoSuchRepository | Redirected |
             HookDeclined | PushRejected | NoSuchBranch | BranchMoved | TagExists | GitFailed)
    UnreachableError(GitUnreachable | UntrustedServer | GitDeadline)   nothing is known about the remote
    SpecError(BadGitUrl | PasswordInUrl | TokenOverHttp | BadToken | BadSshKey | BadGitBranch | BadGitPath)
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reconciler.transports.git_access import RemoteAccess, checked_place
from reconciler.transports.git_command import LONGEST_LISTING, GitError
from reconciler.transports.git_copy import WorkingCopy
from reconciler.transports.git_draft import Draft
from reconciler.transports.git_objects import SUBMODULE, TreeEntry, parse_blobs, parse_tree
from reconciler.transports.git_talk import Talk, talking
from reconciler.transports.process import ProcessRunner
from reconciler.transports.shared_looks import SharedLooks

TRIES = 5
_FIRST_PAUSE = 0.2
_BLOB_OVERHEAD = 200


@dataclass(frozen=True, slots=True)
class Published:
    """commit: that the branch has now. changed: False when everything was as wanted already, and nothing was pushed."""

    commit: str
    changed: bool


@dataclass(frozen=True, slots=True)
class BranchView:
    """A branch as it was seen. files: the id of each file's content (`git_objects.blob_id`) by path.

    Links and submodules are among the files, with the ids of what they are. Names that are no UTF-8 hold surrogates.
    """

    commit: str
    files: Mapping[str, str]


Check = Callable[[BranchView | None], None]
_Parsed = TypeVar("_Parsed")


class GitRemote:
    """A repository by its URL. folder: of all working copies. process: runs git. sleep: as `Context.sleep`.

    looks: shared by all who look at branches side by side.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        access: RemoteAccess,
        process: ProcessRunner | None = None,
        sleep: Callable[[float], None] = time.sleep,
        looks: SharedLooks | None = None,
    ) -> None:
        self._place = checked_place(url)
        access.check(self._place)
        self._access = access
        self._process = process or ProcessRunner()
        self._sleep = sleep
        self._looks = looks or SharedLooks()
        self._copy = WorkingCopy(folder, self._place.url, sleep)

    @property
    def url(self) -> str:
        """The address, as git is given it."""
        return self._place.url

    # -- reading

    def heads(self) -> Mapping[str, str]:
        """The commit of each branch; empty for an empty repository. One question, asked every time."""
        with self._talk() as talk:
            return talk.refs("heads")

    def tags(self, prefix: str = "") -> Mapping[str, str]:
        """The commit of each tag whose name begins with `prefix`."""
        with self._talk() as talk:
            return {name: commit for name, commit in talk.refs("tags").items() if name.startswith(prefix)}

    def view(self, branch: str) -> BranchView | None:
        """All files of a branch, None when there is no such branch."""
        return self._looks.ask((self.url, self._access, branch), lambda: self._looked_at(branch), self._sleep)

    def _looked_at(self, branch: str) -> BranchView | None:
        with self._working(branch) as (talk, repository):
            commit = _fetched(talk, repository, branch)
            return None if commit is None else _view(talk, repository, commit)

    def paths(self, branch: str) -> frozenset[str]:
        """The paths of all files of a branch. Raises GitError("NoSuchBranch")."""
        seen = self.view(branch)
        if seen is None:
            raise self._no_branch(branch)
        return frozenset(seen.files)

    def read(self, branch: str, path: str) -> bytes | None:
        """The content of one file of a branch, None when the branch has no such file. Raises GitError("NoSuchBranch").

        A symbolic link's content is where it leads; nothing is followed.
        """
        return self.contents(branch, [path]).get(path)

    def contents(self, branch: str, paths: Sequence[str]) -> Mapping[str, bytes]:
        """The contents of those of the files that a branch has, by path. Raises GitError("NoSuchBranch")."""
        with self._working(branch) as (talk, repository):
            commit = _fetched(talk, repository, branch)
            if commit is None:
                raise self._no_branch(branch)
            wanted = {os.fsencode(path) for path in paths}
            entries = [entry for entry in _entries(talk, repository, commit) if entry.path in wanted]
            blobs = _blobs(talk, repository, entries)
            return {os.fsdecode(entry.path): blobs[entry.id] for entry in entries if entry.id in blobs}

    # -- writing

    def publish(
        self,
        branch: str,
        files: Mapping[str, bytes | None],
        message: str,
        *,
        onto: str | None,
        under: str = "",
        check: Check | None = None,
    ) -> Published:
        """Make the files be on a branch by one commit on top of what it has now. Nothing to change makes no commit.

        files: by path; None for one that is not to be there. under: a folder below which nothing else is to stay, `.`
        for the whole branch. onto: the commit at which the caller saw the branch, None when there was none. A branch
        that has moved on since is fetched and built upon, five times with growing pauses; one that appeared or vanished
        raises GitError("PushRejected"), as does one that never stands still. check: called before each try with the
        branch as it is then; what it raises ends the call.
        """
        with self._working(branch) as (talk, repository):
            for number in range(TRIES):
                if number:
                    self._sleep(_FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.8, 1.2))  # noqa: S311 - a pause
                now = _fetched(talk, repository, branch)
                if (now is None) != (onto is None):
                    what = "has vanished" if now is None else "has appeared"
                    raise GitError("PushRejected", f"{self.url}: branch {branch} {what} since it was looked at")
                if check is not None:
                    check(None if now is None else _view(talk, repository, now))
                draft = Draft(files, message, self._access.author, time.time(), now, under)
                commit = _made(talk, repository, draft)
                if commit == now:
                    return Published(commit, changed=False)
                if talk.push(repository, f"refs/heads/{branch}", commit, now or ""):
                    talk.remember(repository, branch, commit)
                    return Published(commit, changed=True)
        message = f"{self.url}: branch {branch} has moved during each of {TRIES} tries to push to it"
        raise GitError("PushRejected", message)

    def create_branch(self, branch: str, source: str) -> str:
        """Make a branch at the head of another, whose commit is returned. One that is there already stays as it is.

        Raises GitError("NoSuchBranch") for the source, GitError("BranchExists") when it is there with another commit.
        """
        with self._working(branch, source) as (talk, repository):
            commit = self._existing(talk, repository, source)
            if not talk.push(repository, f"refs/heads/{branch}", commit, ""):
                now = talk.refs("heads").get(branch)
                if now != commit:
                    raise GitError("BranchExists", f"{self.url}: branch {branch} is there already, at {now}")
            return commit

    def archive(self, branch: str, tag: str) -> str:
        """Tag the head of a branch, ask the remote whether it has the tag, and return the commit.

        Raises GitError("NoSuchBranch"), GitError("TagExists") for a tag on another commit, and GitError("NotArchived")
        when the tag is not seen afterwards.
        """
        with self._working(branch, tag) as (talk, repository):
            commit = self._existing(talk, repository, branch)
            pushed = talk.push(repository, f"refs/tags/{tag}", commit, "")
            there = talk.refs("tags").get(tag)
            if there != commit:
                reason = "NotArchived" if pushed else "TagExists"
                raise GitError(reason, f"{self.url}: tag {tag} should be at {commit[:12]}, and is at {there}")
            return commit

    def delete_branch(self, branch: str, expected_commit: str) -> bool:
        """Delete a branch while it is at this commit. False when it was not there.

        Raises GitError("BranchMoved") when it is at another, GitError("HookDeclined") when the server does not want it.
        """
        with self._working(branch) as (talk, repository):
            now = talk.refs("heads").get(branch)
            if now is None:
                return False
            if now == expected_commit and talk.push(repository, f"refs/heads/{branch}", "", expected_commit):
                return True
        message = f"{self.url}: branch {branch} is not at {expected_commit[:12]} any more and was not deleted"
        raise GitError("BranchMoved", message)

    # -- how

    @contextmanager
    def _talk(self) -> Iterator[Talk]:
        self._copy.prepare()
        with talking(self._place, self._access, self._copy.folder, self._process) as talk:
            yield talk

    @contextmanager
    def _working(self, *names: str) -> Iterator[tuple[Talk, Path]]:
        """A conversation beside our own repository, for the branches and tags with these names."""
        for name in names:
            checked_place(self.url, name)
        with self._talk() as talk, self._copy.repository(talk.git, self._access.timeout) as repository:
            yield talk, repository

    def _existing(self, talk: Talk, repository: Path, branch: str) -> str:
        commit = _fetched(talk, repository, branch)
        if commit is None:
            raise self._no_branch(branch)
        return commit

    def _no_branch(self, branch: str) -> GitError:
        return GitError("NoSuchBranch", f"{self.url} has no branch {branch}")


def _fetched(talk: Talk, repository: Path, branch: str) -> str | None:
    """The commit that a branch has now, with all of its files at hand; None when there is no such branch."""
    now = talk.refs("heads").get(branch)
    if now is None or now == talk.seen(repository, branch):
        return now
    return talk.fetch(repository, branch)


def _view(talk: Talk, repository: Path, commit: str) -> BranchView:
    entries = _entries(talk, repository, commit)
    return BranchView(commit, {os.fsdecode(entry.path): entry.id for entry in entries})


def _entries(talk: Talk, repository: Path, commit: str) -> list[TreeEntry]:
    listed = talk.git.read(repository, "ls-tree", "-r", "-l", "-z", commit, limit=LONGEST_LISTING)
    return _parsed(lambda: parse_tree(listed))


def _blobs(talk: Talk, repository: Path, entries: Sequence[TreeEntry]) -> dict[str, bytes]:
    kept = [entry for entry in entries if entry.mode != SUBMODULE]
    limit = sum(entry.size + _BLOB_OVERHEAD for entry in kept)
    asked = "".join(f"{entry.id}\n" for entry in kept)
    content = talk.git.read(repository, "cat-file", "--batch", limit=limit, stdin=asked)
    return _parsed(lambda: parse_blobs(content, kept))


def _made(talk: Talk, repository: Path, draft: Draft) -> str:
    """The commit of a draft; the one that it would follow when it would change nothing."""
    ref = "refs/drafts/last"
    done = talk.git.try_run(repository, "fast-import", "--quiet", "--force", stdin=draft.stream(ref))
    commit = done.stdout.strip()
    if done.returncode or not commit:
        raise talk.git.error("GitFailed", done)
    if draft.onto is None:
        return commit
    before, after = talk.git.run(repository, "rev-parse", f"{draft.onto}^{{tree}}", f"{commit}^{{tree}}").split()
    return draft.onto if before == after else commit


def _parsed(parse: Callable[[], _Parsed]) -> _Parsed:
    """What git printed, taken apart; anything else is a damaged repository, which is thrown away for that."""
    try:
        return parse()
    except ValueError as error:
        raise GitError("GitFailed", f"the working copy is damaged: {error}") from error
