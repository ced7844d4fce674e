"""What is said to a remote and what it answered: refs, a branch, a push that compares first. Used by `git_remote`.

Every call goes through `GitCommand`, and every refusal comes back as an error that says what it was about. A push names
what it expects to be there, so that it never undoes what somebody else has pushed meanwhile.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import TransientError, UnreachableError
from reconciler.transports.git_access import RemoteAccess, handed_over
from reconciler.transports.git_command import GitCommand, GitError
from reconciler.transports.git_place import GitPlace
from reconciler.transports.git_refusals import refusal_of, spoken
from reconciler.transports.process import Completed, ProcessRunner

_LONGEST_REFS = 16_000_000
_REF = re.compile(r"([0-9a-f]{40,64})\t(refs/\S+)")
_MOVED = re.compile(
    r"stale info|fetch first|non-fast-forward|already exists|cannot lock ref|failed to (update|lock)|incorrect old"
    r"|reference already exists|unable to lock",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation with one remote. git: with its credentials at hand."""

    place: GitPlace
    git: GitCommand
    folder: Path

    def refs(self, kind: str) -> dict[str, str]:
        """The commits of all branches (`heads`) or tags (`tags`, those of annotated ones looked through), by name."""
        nowhere = self.folder / "none"
        arguments = ("ls-remote", f"--{kind}", "--", self.place.url)
        try:
            said = self.git.read(nowhere, *arguments, limit=_LONGEST_REFS).decode("utf-8", "replace")
        except GitError as error:
            raise self._why(error) from error
        found = dict(_refs(said, f"refs/{kind}/"))
        return {name.removesuffix("^{}"): found.get(f"{name}^{{}}", commit) for name, commit in found.items()}

    def fetch(self, repository: Path, branch: str) -> str:
        """Get the newest commit of a branch, without what was before it. Returns its id."""
        ref = _seen(branch)
        self._say(
            repository,
            *("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
            *("--end-of-options", self.place.url, f"+refs/heads/{branch}:{ref}"),
        )
        return self.git.run(repository, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()

    def seen(self, repository: Path, branch: str) -> str:
        """The commit that was fetched last, "" for none. Asks nobody."""
        return self.git.try_run(repository, "rev-parse", "--verify", "--quiet", _seen(branch)).stdout.strip()

    def remember(self, repository: Path, branch: str, commit: str) -> None:
        """What a branch has since we pushed: it need not be fetched."""
        self.git.run(repository, "update-ref", _seen(branch), commit)

    def push(self, repository: Path, ref: str, commit: str, expected: str) -> bool:
        """Make `ref` a commit ("" removes it), if it is `expected` ("" for absent). False when it is something else.

        Raises GitError("HookDeclined") with the server's words when the server does not want it.
        """
        arguments = ("push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no")
        lease = f"--force-with-lease={ref}:{expected}"
        done = self._try(repository, *arguments, lease, "--end-of-options", self.place.url, f"{commit}:{ref}")
        if done.returncode == 0:
            return True
        verdict = next((line for line in done.stdout.splitlines() if line.startswith("!\t")), "")
        if not verdict:
            raise refusal_of(self.place.url, done)
        if _MOVED.search(verdict):
            return False
        why = "; ".join(part for part in (verdict.rpartition("\t")[2].strip(), spoken(done)) if part)
        raise GitError("HookDeclined", f"{self.place.url}: the server does not take {ref}: {why}", done)

    def _say(self, repository: Path, *arguments: str) -> None:
        done = self._try(repository, *arguments)
        if done.returncode:
            raise refusal_of(self.place.url, done)

    def _try(self, repository: Path, *arguments: str) -> Completed:
        try:
            return self.git.try_run(repository, *arguments)
        except GitError as error:
            raise self._why(error) from error

    def _why(self, error: GitError) -> TransientError:
        if error.completed is not None:
            return refusal_of(self.place.url, error.completed)
        if error.reason == "GitDeadline":
            return UnreachableError("GitDeadline", error.message)
        return error


@contextmanager
def talking(place: GitPlace, access: RemoteAccess, folder: Path, process: ProcessRunner) -> Iterator[Talk]:
    """A conversation, with the credentials in memory as long as it lasts. Raises SpecError for bad ones."""
    with handed_over(access, place) as given:
        yield Talk(place, GitCommand(place, given, folder, runner=process), folder)


def _seen(branch: str) -> str:
    """Where a branch is kept: never in the way of another whose name continues it."""
    return f"refs/seen/{hashlib.sha256(branch.encode()).hexdigest()[:32]}"


def _refs(said: str, prefix: str) -> Iterator[tuple[str, str]]:
    for line in said.splitlines():
        found = _REF.fullmatch(line)
        if found is not None and found[2].startswith(prefix):
            yield found[2].removeprefix(prefix), found[1]
