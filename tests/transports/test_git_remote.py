"""Writing to a git remote without a checkout: what a commit does to a branch, and what is never undone."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from git_lab import LINK, Repository

from reconciler.errors import ReconcilerError, SpecError, TerminalError, TransientError
from reconciler.transports.git_access import RemoteAccess
from reconciler.transports.git_command import GitError
from reconciler.transports.git_objects import blob_id
from reconciler.transports.git_remote import TRIES, BranchView, GitRemote, Published


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served" / "origin.git")


@pytest.fixture
def remote(repository: Repository, tmp_path: Path) -> GitRemote:
    return remote_of(repository, tmp_path)


def remote_of(repository: Repository, tmp_path: Path, home: str = "home", **access: object) -> GitRemote:
    return GitRemote(tmp_path / home / "remotes", repository.url, RemoteAccess(**access), sleep=lambda _: None)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path) -> None:
    for name in ("home", "other"):
        (tmp_path / name).mkdir(mode=0o700)


def contents(repository: Repository, branch: str = "main") -> dict[str, str]:
    """What a branch really has."""
    paths = repository.git("ls-tree", "-r", "-z", "--name-only", branch).split("\0")
    return {path: repository.git("cat-file", "blob", f"{branch}:{path}") for path in paths if path}


def raised(reason: str, call: Callable[[], object], kind: type[ReconcilerError] = GitError) -> ReconcilerError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.reason == reason
    return caught.value


def hook(repository: Repository, name: str, script: str) -> None:
    path = repository.path / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


# -- reading


def test_an_empty_repository_has_no_branch_and_no_file(remote: GitRemote) -> None:
    assert remote.heads() == {}
    assert remote.tags() == {}
    assert remote.view("main") is None
    raised("NoSuchBranch", lambda: remote.paths("main"))


def test_branches_tags_and_files_are_read_without_a_checkout(
    repository: Repository, remote: GitRemote, tmp_path: Path
) -> None:
    first = repository.commit({"a": "1", "b/c": "2", "link": (LINK, "a")})
    repository.git("tag", "v1", first)
    repository.git("-c", "user.name=x", "-c", "user.email=x@x", "tag", "-a", "v2", "-m", "annotated", first)
    assert remote.heads() == {"main": first}
    assert remote.tags() == {"v1": first, "v2": first}
    assert remote.tags("v2") == {"v2": first}
    assert remote.paths("main") == {"a", "b/c", "link"}
    assert (remote.read("main", "b/c"), remote.read("main", "b"), remote.read("main", "no")) == (b"2", None, None)
    second = repository.commit({"a": "changed", "b/c": None})
    assert remote.view("main") == BranchView(second, {"a": blob_id(b"changed"), "link": blob_id(b"a")})
    assert not [path for path in (tmp_path / "home").rglob("*") if path.name in ("a", "link", "index", "hooks")]


def test_a_branch_whose_name_continues_that_of_another_gone_one_is_read(
    repository: Repository, remote: GitRemote
) -> None:
    repository.commit({"a": "1"}, branch="dev")
    assert remote.paths("dev") == {"a"}
    repository.git("update-ref", "-d", "refs/heads/dev")
    repository.commit({"b": "1"}, branch="dev/two", orphan=True)
    assert remote.paths("dev/two") == {"b"}


# -- one commit


def test_files_are_published_by_one_commit_of_ours(
    repository: Repository, remote: GitRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_DATE"):
        monkeypatch.setenv(name, "1112470000 +0000")
    odd = 'odd "name"\\ with ünïcode and  blanks'
    big = os.urandom(300_000)
    made = remote.publish("main", {odd: b"\x00\xff\nfrom x\n", "big": big, "empty": b""}, "One\n\ntwo", onto=None)
    assert made == Published(repository.head(), changed=True)
    assert repository.git("log", "--format=%an %ae|%cn %ce|%s|%b", "main") == (
        "reconciler reconciler@localhost|reconciler reconciler@localhost|One|two"
    )
    assert abs(int(repository.git("log", "-1", "--format=%at", "main")) - time.time()) < 600
    assert remote.read("main", odd) == b"\x00\xff\nfrom x\n"
    assert remote.contents("main", ["big", "empty"]) == {"big": big, "empty": b""}


def test_what_is_there_already_makes_no_commit(repository: Repository, remote: GitRemote) -> None:
    head = repository.commit({"a": "1", "b": "2"})
    assert remote.publish("main", {"a": b"1"}, "again", onto=head) == Published(head, changed=False)
    assert remote.publish("main", {"a": b"1", "no": None}, "again", onto=head) == Published(head, changed=False)
    assert repository.head() == head


def test_the_rest_of_a_branch_stays_unless_a_folder_is_ours(repository: Repository, remote: GitRemote) -> None:
    head = repository.commit({"keep": "k", "ours/old": "o", "ours/deep/er": "o", "gone": "g", "ours-too": "x"})
    one = remote.publish("main", {"ours/new": b"n", "gone": None}, "c", onto=head, under="ours")
    assert contents(repository) == {"keep": "k", "ours-too": "x", "ours/new": "n"}
    two = remote.publish("main", {"only": b"1"}, "c", onto=one.commit, under=".")
    assert contents(repository) == {"only": "1"}
    assert repository.git("rev-list", "main").split() == [two.commit, one.commit, head]


def test_a_file_takes_the_place_of_a_folder_and_the_other_way_round(repository: Repository, remote: GitRemote) -> None:
    head = repository.commit({"a/b": "1", "c": "2", "d": (LINK, "c")})
    remote.publish("main", {"a": b"file", "c/d": b"deep", "d": b"plain"}, "c", onto=head)
    assert contents(repository) == {"a": "file", "c/d": "deep", "d": "plain"}


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", ".git/config", "a/.GIT/x", "a\nb", "", "a/./b", "x" * 1001])
def test_a_path_that_leaves_the_repository_is_refused(remote: GitRemote, path: str) -> None:
    raised("BadGitPath", lambda: remote.publish("main", {path: b""}, "c", onto=None), SpecError)
    assert remote.heads() == {}
    assert remote.publish("main", {"a": b""}, "c", onto=None).changed, "a refusal of ours spoils nothing"


def test_a_file_inside_of_a_file_is_refused(remote: GitRemote) -> None:
    raised("BadGitPath", lambda: remote.publish("main", {"a": b"", "a/b": b""}, "c", onto=None), SpecError)


@pytest.mark.parametrize("branch", ["--upload-pack=id", "a..b", "refs@{1}", "a b", "", "x.lock"])
def test_a_name_that_is_no_branch_is_refused(remote: GitRemote, branch: str) -> None:
    raised("BadGitBranch", lambda: remote.publish(branch, {"a": b""}, "c", onto=None), SpecError)
    raised("BadGitBranch", lambda: remote.archive("main", branch), SpecError)


def test_an_author_of_ones_own_cannot_forge_a_header(repository: Repository, tmp_path: Path) -> None:
    remote = remote_of(repository, tmp_path, author="Robot\ncommitter x <x> <robot@example.com>\nfrom main")
    remote.publish("main", {"a": b""}, "c", onto=None)
    assert repository.git("log", "--format=%cn <%ce>", "main").count("\n") == 0


# -- others


def test_a_branch_that_moves_is_built_upon(repository: Repository, tmp_path: Path) -> None:
    head = repository.commit({"a": "1"})
    pauses: list[float] = []
    remote = GitRemote(tmp_path / "home", repository.url, RemoteAccess(), sleep=pauses.append)
    seen: list[str] = []

    def somebody_else_pushes(view: BranchView | None) -> None:
        assert view is not None
        seen.append(view.commit)
        if len(seen) < 3:
            repository.commit({f"theirs-{len(seen)}": "t"})

    made = remote.publish("main", {"ours": b"o"}, "c", onto=head, check=somebody_else_pushes)
    assert contents(repository) == {"a": "1", "theirs-1": "t", "theirs-2": "t", "ours": "o"}
    assert repository.git("rev-parse", f"{made.commit}^") == seen[-1]
    assert len(pauses) == 2
    assert pauses[1] > pauses[0]


def test_a_branch_that_never_stands_still_is_given_up(repository: Repository, remote: GitRemote) -> None:
    head = repository.commit({"a": "1"})
    tries: list[object] = []

    def somebody_else_pushes(view: BranchView | None) -> None:
        tries.append(view)
        repository.commit({"theirs": str(len(tries))})

    error = raised(
        "PushRejected", lambda: remote.publish("main", {"x": b""}, "c", onto=head, check=somebody_else_pushes)
    )
    assert isinstance(error, TransientError), "a failed push is a failed call, to be tried again"
    assert len(tries) == TRIES
    assert contents(repository) == {"a": "1", "theirs": str(TRIES)}


def test_a_branch_that_appeared_or_vanished_is_not_written(repository: Repository, remote: GitRemote) -> None:
    head = repository.commit({"theirs": "1"})
    raised("PushRejected", lambda: remote.publish("main", {"a": b""}, "c", onto=None))
    repository.git("update-ref", "-d", "refs/heads/main")
    raised("PushRejected", lambda: remote.publish("main", {"a": b""}, "c", onto=head))
    assert remote.heads() == {}


def test_a_branch_that_appears_during_the_push_is_not_written(repository: Repository, remote: GitRemote) -> None:
    raised(
        "PushRejected",
        lambda: remote.publish("main", {"a": b""}, "c", onto=None, check=lambda _: late(repository)),
    )
    assert contents(repository) == {"theirs": "1"}


def late(repository: Repository) -> None:
    if not repository.head():
        repository.commit({"theirs": "1"})


def test_a_check_that_refuses_ends_the_call(repository: Repository, remote: GitRemote) -> None:
    head = repository.commit({"a": "1"})

    def refuse(view: BranchView | None) -> None:
        raise TerminalError("NotOurs", "somebody else's")

    raised("NotOurs", lambda: remote.publish("main", {"b": b""}, "c", onto=head, check=refuse), TerminalError)
    assert repository.head() == head


def test_pushers_of_two_homes_lose_nothing(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a": "1"})
    failures: list[BaseException] = []

    def push(home: str, number: int) -> None:
        remote = GitRemote(tmp_path / home / "remotes", repository.url, RemoteAccess())
        for count in range(4):
            path = f"{home}-{number}-{count}"
            while True:  # as the engine does with what may be tried again
                try:
                    remote.publish("main", {path: b"x"}, path, onto=remote.heads()["main"])
                    break
                except GitError as error:
                    if error.reason != "PushRejected":
                        failures.append(error)
                        return

    threads = [threading.Thread(target=push, args=(home, number)) for home in ("home", "other") for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(contents(repository)) == 1 + 4 * 4
    assert len(repository.git("rev-list", "main").split()) == 1 + 4 * 4, "one commit each, none twice"
    assert repository.git("rev-list", "--merges", "main") == ""


# -- branches and tags


def test_a_branch_is_made_from_another_once(repository: Repository, remote: GitRemote) -> None:
    head = repository.commit({"a": "1"})
    assert remote.create_branch("dev", "main") == head
    assert remote.create_branch("dev", "main") == head
    repository.commit({"a": "2"})
    raised("BranchExists", lambda: remote.create_branch("dev", "main"))
    assert repository.head("dev") == head
    raised("NoSuchBranch", lambda: remote.create_branch("new", "nowhere"))


def test_a_branch_is_deleted_only_as_it_was_seen(repository: Repository, remote: GitRemote) -> None:
    repository.commit({"a": "1"})
    seen = repository.commit({"a": "1"}, branch="dev")
    moved = repository.commit({"a": "2"}, branch="dev")
    raised("BranchMoved", lambda: remote.delete_branch("dev", seen))
    assert remote.heads()["dev"] == moved
    assert remote.delete_branch("dev", moved) is True
    assert remote.delete_branch("dev", moved) is False, "what is gone is fine"
    assert set(remote.heads()) == {"main"}


def test_an_archive_is_seen_on_the_remote_before_it_counts(repository: Repository, remote: GitRemote) -> None:
    head = repository.commit({"a": "1"}, branch="prod")
    assert remote.archive("prod", "archive/prod/20251122-060000") == head
    assert remote.archive("prod", "archive/prod/20251122-060000") == head, "again, after a crash"
    assert repository.git("rev-parse", "refs/tags/archive/prod/20251122-060000") == head
    repository.commit({"a": "2"}, branch="prod")
    raised("TagExists", lambda: remote.archive("prod", "archive/prod/20251122-060000"))
    raised("NoSuchBranch", lambda: remote.archive("nowhere", "archive/x"))


def test_case_k6_an_archive_that_the_server_loses_is_an_error(repository: Repository, remote: GitRemote) -> None:
    repository.commit({"a": "1"}, branch="prod")
    hook(repository, "post-receive", "while read -r before after ref; do git update-ref -d $ref; done")
    raised("NotArchived", lambda: remote.archive("prod", "archive/prod/1"))


# -- servers that do not want it


def test_case_k3_a_hook_that_declines_is_a_failed_call_with_its_words(
    repository: Repository, remote: GitRemote
) -> None:
    head = repository.commit({"a": "1"})
    hook(repository, "pre-receive", "echo 'no pushes on \033[31mSundays' >&2; exit 1")
    for write in (
        lambda: remote.publish("main", {"a": b"2"}, "c", onto=head),
        lambda: remote.create_branch("dev", "main"),
        lambda: remote.archive("main", "archive/1"),
    ):
        error = raised("HookDeclined", write)
        assert "Sundays" in error.message
        assert error.message.isprintable()
    assert (repository.head(), remote.tags()) == (head, {})


def test_a_server_that_keeps_its_branch_says_so(repository: Repository, remote: GitRemote) -> None:
    head = repository.commit({"a": "1"})
    error = raised("HookDeclined", lambda: remote.delete_branch("main", head))
    assert "current branch" in error.message
    assert repository.head() == head


# -- the working copy


def test_one_at_a_time_works_in_a_home(repository: Repository, remote: GitRemote, tmp_path: Path) -> None:
    repository.commit({"a": "1"})
    impatient = remote_of(repository, tmp_path, timeout=0.3)
    assert remote.paths("main") == {"a"}
    (lock,) = (tmp_path / "home").glob("remotes/*/lock")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert remote.heads(), "who only asks waits for nobody"
        raised("RemoteBusy", lambda: impatient.paths("main"), TransientError)
    assert remote.paths("main") == {"a"}


def test_a_working_copy_that_has_grown_is_made_anew(repository: Repository, remote: GitRemote, tmp_path: Path) -> None:
    repository.commit({"a": "1"})
    assert remote.paths("main") == {"a"}
    (objects,) = (tmp_path / "home").glob("remotes/*/repository/objects")
    (objects / "17").mkdir(exist_ok=True)
    for number in range(50):
        (objects / "17" / f"{number:038x}").touch()
    assert remote.paths("main") == {"a"}
    assert not list((objects / "17").glob("0*"))


def test_a_damaged_working_copy_is_made_anew(repository: Repository, remote: GitRemote, tmp_path: Path) -> None:
    head = repository.commit({"a": "1"})
    assert remote.paths("main") == {"a"}
    for path in [path for path in (tmp_path / "home").rglob("objects/*/*") if path.is_file()]:
        path.chmod(0o644)
        path.write_bytes(b"")
    with pytest.raises(GitError):
        remote.paths("main")
    assert remote.read("main", "a") == b"1"
    assert remote.publish("main", {"b": b""}, "c", onto=head).changed
