"""The mirror of a git repository, over every transport that it takes, and through every way of breaking it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_lab import LINK, SUBMODULE, Repository
from git_servers import SSHD, Served, smart_http, ssh_server

from reconciler.errors import ReconcilerError, TransientError, UnreachableError, UsageError
from reconciler.transports.git import BranchRewrittenError, Mirror
from reconciler.transports.git_command import GitAccess, GitError
from reconciler.transports.git_place import GitPlace


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "served" / "origin.git")
    made.commit({"specs/a.yaml": "a: 1\n", "README": "hello"}, "The first\n\nwith a body")
    return made


def mirror_of(repository: Repository, tmp_path: Path, url: str = "", branch: str = "main", **access: object) -> Mirror:
    place = GitPlace.checked(url or repository.url, branch, "specs")
    return Mirror(tmp_path / "mirrors", place, GitAccess(**{"timeout": 20.0, **access}))


def contents(mirror: Mirror) -> dict[str, bytes]:
    """What the commit that counts has below the folder."""
    head = mirror.head()
    assert head is not None
    entries = mirror.tree(head.id)
    blobs = mirror.blobs(entries)
    return {entry.path.decode(): blobs[entry.id] for entry in entries}


def test_a_branch_is_mirrored_and_read_by_commit(repository: Repository, tmp_path: Path) -> None:
    mirror = mirror_of(repository, tmp_path)
    assert mirror.head() is None
    commit = mirror.fetch()
    assert (commit.id, commit.author, commit.subject) == (repository.head(), "Ada <ada@example.com>", "The first")
    assert mirror.head() == commit
    assert contents(mirror) == {"a.yaml": b"a: 1\n"}
    repository.commit({"specs/a.yaml": "a: 2\n", "specs/deep/b": b"\0\xff\n"})
    assert contents(mirror) == {"a.yaml": b"a: 1\n"}, "nothing changes until it is fetched"
    mirror.fetch()
    assert contents(mirror) == {"a.yaml": b"a: 2\n", "deep/b": b"\0\xff\n"}


def test_nothing_is_ever_checked_out(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"specs/.gitattributes": "* filter=evil\n", "specs/big": "x" * 100_000})
    mirror_of(repository, tmp_path).fetch()
    names = {path.name for path in (tmp_path / "mirrors").rglob("*")}
    assert not names & {"a.yaml", "README", "big", ".gitattributes", "hooks", "index"}


def test_each_branch_has_its_own_commit_in_one_mirror(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"specs/a.yaml": "a: prod\n"}, branch="prod")
    main, prod = mirror_of(repository, tmp_path), mirror_of(repository, tmp_path, branch="prod")
    main.fetch()
    prod.fetch()
    assert (contents(main), contents(prod)) == ({"a.yaml": b"a: 1\n"}, {"a.yaml": b"a: prod\n"})
    assert len(list((tmp_path / "mirrors").iterdir())) == 1


def test_a_rewritten_branch_is_not_followed_unless_that_is_wanted(repository: Repository, tmp_path: Path) -> None:
    mirror = mirror_of(repository, tmp_path)
    first = mirror.fetch()
    second = repository.commit({"specs/a.yaml": "a: evil\n"}, orphan=True)
    for _ in range(2):
        with pytest.raises(BranchRewrittenError, match=f"{second[:12]} does not contain {first.id[:12]}"):
            mirror.fetch()
        assert mirror.head() == first
        assert contents(mirror) == {"a.yaml": b"a: 1\n"}
    assert mirror.fetch(force=True).id == second
    assert contents(mirror) == {"a.yaml": b"a: evil\n"}


def test_a_branch_that_went_back_is_rewritten_as_well(repository: Repository, tmp_path: Path) -> None:
    first = repository.head()
    repository.commit({"specs/a.yaml": "a: 2\n"})
    mirror = mirror_of(repository, tmp_path)
    mirror.fetch()
    repository.git("update-ref", "refs/heads/main", first)
    with pytest.raises(BranchRewrittenError):
        mirror.fetch()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda one: one.path.rename(one.path.with_name("elsewhere")), "GitUnreachable"),
        (lambda one: one.git("update-ref", "-d", "refs/heads/main"), "EmptyRemote"),
        (lambda one: one.git("branch", "-m", "main", "trunk"), "NoSuchBranch"),
    ],
    ids=["gone", "empty", "no branch"],
)
def test_a_remote_that_cannot_be_followed_changes_nothing(
    repository: Repository, tmp_path: Path, spoil: object, reason: str
) -> None:
    mirror = mirror_of(repository, tmp_path)
    first = mirror.fetch()
    spoil(repository)  # type: ignore[operator]
    with pytest.raises(TransientError) as caught:
        mirror.fetch()
    assert caught.value.reason == reason
    assert mirror.head() == first
    assert contents(mirror) == {"a.yaml": b"a: 1\n"}


def test_another_branch_whose_name_ends_alike_is_not_taken_for_it(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"specs/a.yaml": "a: other\n"}, branch="refs/heads/prod")
    with pytest.raises(GitError) as caught:
        mirror_of(repository, tmp_path, branch="prod").fetch()
    assert caught.value.reason == "NoSuchBranch"


def test_a_folder_that_is_not_there_is_told_from_damage(repository: Repository, tmp_path: Path) -> None:
    mirror = mirror_of(repository, tmp_path)
    commit = mirror.fetch()
    mirror.place = GitPlace.checked(repository.url, "main", "nowhere")
    with pytest.raises(GitError, match="there is no folder nowhere") as caught:
        mirror.tree(commit.id)
    assert caught.value.reason == "NoSuchFolder"
    assert not list((tmp_path / "mirrors").rglob("broken"))


def objects_of(mirror_folder: Path) -> list[Path]:
    return [path for path in mirror_folder.rglob("objects/*/*") if path.is_file()]


def empty(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"")


@pytest.mark.parametrize("how", [empty, Path.unlink], ids=["truncated", "lost"])
def test_a_damaged_mirror_is_built_anew_by_the_next_fetch(repository: Repository, tmp_path: Path, how: object) -> None:
    mirror = mirror_of(repository, tmp_path)
    commit = mirror.fetch()
    for path in objects_of(tmp_path / "mirrors"):
        how(path)  # type: ignore[operator]
    with pytest.raises(GitError, match="damaged"):
        contents(mirror)
    assert mirror.head() == commit, "what counts is not forgotten"
    assert mirror.fetch() == commit
    assert contents(mirror) == {"a.yaml": b"a: 1\n"}


def test_a_damaged_mirror_and_a_rewritten_branch_are_still_two_things(repository: Repository, tmp_path: Path) -> None:
    mirror = mirror_of(repository, tmp_path)
    commit = mirror.fetch()
    for path in objects_of(tmp_path / "mirrors"):
        path.unlink()
    repository.commit({"specs/a.yaml": "a: evil\n"}, orphan=True)
    with pytest.raises(BranchRewrittenError):
        mirror.fetch()
    assert mirror.head() == commit


def test_locks_of_the_dead_do_not_stop_a_fetch(repository: Repository, tmp_path: Path) -> None:
    mirror = mirror_of(repository, tmp_path)
    mirror.fetch()
    second = repository.commit({"specs/a.yaml": "a: 2\n"})
    inside = (next((tmp_path / "mirrors").iterdir()) / "repository").resolve()
    for name in ("refs/incoming/main.lock", "refs/accepted/main.lock", "packed-refs.lock", "config.lock"):
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).touch()
    assert mirror.fetch().id == second
    assert contents(mirror) == {"a.yaml": b"a: 2\n"}


def test_a_rebuilt_mirror_keeps_the_other_branches(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"specs/a.yaml": "a: prod\n"}, branch="prod")
    main, prod = mirror_of(repository, tmp_path), mirror_of(repository, tmp_path, branch="prod")
    main.fetch()
    prod.fetch()
    for path in objects_of(tmp_path / "mirrors"):
        empty(path)
    main.fetch()
    assert contents(prod) == {"a.yaml": b"a: prod\n"}


_FETCH = """
import sys
from pathlib import Path
from reconciler.transports.git import Mirror
from reconciler.transports.git_command import GitAccess
from reconciler.transports.git_place import GitPlace
mirror = Mirror(Path(sys.argv[1]), GitPlace.checked(sys.argv[2], "main", "specs"), GitAccess())
print("ready", flush=True)
sys.stdin.readline()
print(mirror.fetch().id)
"""


def fetching(tmp_path: Path, repository: Repository) -> subprocess.Popen[str]:
    """A process that fetches once it is told."""
    process = subprocess.Popen(
        [sys.executable, "-c", _FETCH, str(tmp_path / "mirrors"), repository.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_several_processes_fetch_one_mirror_at_once(repository: Repository, tmp_path: Path) -> None:
    processes = [fetching(tmp_path, repository) for _ in range(4)]
    found = [process.communicate("go\n")[0].strip() for process in processes]
    assert found == [repository.head()] * 4


def test_a_fetch_killed_anywhere_leaves_a_mirror_that_reads_and_fetches(repository: Repository, tmp_path: Path) -> None:
    mirror = mirror_of(repository, tmp_path)
    before = mirror.fetch()
    for number in range(12):
        commit = repository.commit({"specs/a.yaml": f"a: {number}\n", f"specs/{number}": os.urandom(20_000).hex()})
        process = fetching(tmp_path, repository)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(0.006 * number)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        seen = mirror.head()
        assert seen is not None
        assert seen.id in (before.id, commit)
        assert b"a: " in contents(mirror)["a.yaml"]
        before = mirror.fetch()
        assert before.id == commit
        assert contents(mirror)["a.yaml"] == f"a: {number}\n".encode()


def test_reading_waits_for_no_fetch(repository: Repository, tmp_path: Path) -> None:
    with smart_http(repository.path.parent) as server:
        mirror = mirror_of(repository, tmp_path, f"{server.url}/origin.git")
        mirror.fetch()
        repository.commit({"specs/a.yaml": "a: 2\n"})
        server.delay = 1.0
        thread = threading.Thread(target=mirror.fetch)
        thread.start()
        try:
            while len(server.seen) < 4:
                time.sleep(0.01)
            assert contents(mirror) == {"a.yaml": b"a: 1\n"}
            assert thread.is_alive()
        finally:
            thread.join()
    assert contents(mirror) == {"a.yaml": b"a: 2\n"}


# -- transports


@pytest.fixture
def server(repository: Repository) -> Iterator[Served]:
    with smart_http(repository.path.parent) as served:
        yield served


def test_smart_http_is_followed(repository: Repository, tmp_path: Path, server: Served) -> None:
    mirror = mirror_of(repository, tmp_path, f"{server.url}/origin.git")
    assert mirror.fetch().id == repository.head()
    asked = len(server.seen)
    mirror.fetch()
    assert len(server.seen) - asked <= 2, "a branch that did not move is one question"
    second = repository.commit({"specs/a.yaml": "a: 2\n"})
    assert mirror.fetch().id == second


def test_a_token_reaches_only_the_server(repository: Repository, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret$(id)'\"\\ %s\n")
    token.chmod(0o600)
    with smart_http(repository.path.parent, "git:s3cret$(id)'\"\\ %s") as server:
        mirror = mirror_of(repository, tmp_path, f"{server.url}/origin.git", token_file=token)
        assert mirror.fetch().id == repository.head()
        token.write_text("wrong")
        repository.commit({"specs/a.yaml": "a: 2\n"})
        with pytest.raises(UnreachableError) as caught:
            mirror.fetch()
    assert "wrong" not in caught.value.message
    kept = [path.read_bytes() for path in (tmp_path / "mirrors").rglob("*") if path.is_file()]
    assert not any(b"s3cret" in content for content in kept)


def test_a_token_is_read_by_nobody_but_git_and_stands_in_no_argument(repository: Repository, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("very-s3cret\n")
    token.chmod(0o600)
    found: list[bytes] = []
    with smart_http(repository.path.parent, "git:very-s3cret") as server:
        server.delay = 0.15
        mirror = mirror_of(repository, tmp_path, f"{server.url}/origin.git", token_file=token)
        thread = threading.Thread(target=mirror.fetch)
        thread.start()
        while thread.is_alive():
            found += children_say(os.getpid())
        thread.join()
    assert any(b"ls-remote" in one for one in found), "it was looked at while git ran"
    assert not any(b"very-s3cret" in one for one in found)


def children_say(pid: int) -> list[bytes]:
    """Arguments and environment of every process below one."""
    found, waiting = [], [pid]
    while waiting:
        try:
            folder = Path(f"/proc/{waiting.pop()}")
            for task in (folder / "task").iterdir():
                for child in (task / "children").read_text().split():
                    waiting.append(int(child))
                    found.append(Path(f"/proc/{child}/cmdline").read_bytes())
                    found.append(Path(f"/proc/{child}/environ").read_bytes())
        except OSError:  # it ended meanwhile
            continue
    return found


def test_a_name_in_the_address_goes_with_the_token(repository: Repository, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t\n")
    token.chmod(0o600)
    with smart_http(repository.path.parent, "robot:t") as server:
        url = server.url.replace("http://", "http://robot@")
        assert mirror_of(repository, tmp_path, f"{url}/origin.git", token_file=token).fetch()
        other = mirror_of(repository, tmp_path, f"{server.url}/origin.git", token_file=token, username="robot")
        assert other.fetch()


def test_a_token_that_others_can_read_is_not_used(repository: Repository, tmp_path: Path, server: Served) -> None:
    token = tmp_path / "token"
    token.write_text("t\n")
    token.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        mirror_of(repository, tmp_path, f"{server.url}/origin.git", token_file=token).fetch()
    assert server.seen == []


def test_a_token_is_not_sent_without_tls(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    place = GitPlace.checked("http://git.example.com/a.git")
    with pytest.raises(UsageError, match="never sent without TLS"):
        Mirror(tmp_path / "mirrors", place, GitAccess(token_file=token)).fetch()


def test_redirects_are_not_followed(repository: Repository, tmp_path: Path, server: Served) -> None:
    with smart_http(repository.path.parent) as other:
        server.redirect = other.url
        with pytest.raises(UnreachableError):
            mirror_of(repository, tmp_path, f"{server.url}/origin.git").fetch()
        assert other.seen == []


def test_what_a_server_says_is_printable(repository: Repository, tmp_path: Path, server: Served) -> None:
    server.broken = 500
    with pytest.raises(UnreachableError) as caught:
        mirror_of(repository, tmp_path, f"{server.url}/origin.git").fetch()
    assert caught.value.message.isprintable()
    assert "500" in caught.value.message


def test_a_server_that_hangs_is_given_up(repository: Repository, tmp_path: Path, server: Served) -> None:
    server.delay = 3.0
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"did not answer within 0\.5 s"):
        mirror_of(repository, tmp_path, f"{server.url}/origin.git", timeout=0.5).fetch()
    assert time.monotonic() - started < 20


def test_a_fetch_can_be_cancelled(repository: Repository, tmp_path: Path, server: Served) -> None:
    server.delay = 3.0
    place = GitPlace.checked(f"{server.url}/origin.git")
    mirror = Mirror(tmp_path / "mirrors", place, GitAccess(), lambda: TransientError("ShuttingDown", "stopped"))
    with pytest.raises(ReconcilerError, match="stopped"):
        mirror.fetch()


@pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")
def test_ssh_is_followed_with_our_own_key_and_hosts(repository: Repository, tmp_path: Path) -> None:
    with ssh_server(tmp_path / "sshd") as ssh:
        known = {"ssh_key": ssh.key, "known_hosts": ssh.known_hosts}
        mirror = mirror_of(repository, tmp_path, ssh.url(repository.path), **known)
        assert mirror.fetch().id == repository.head()
        second = repository.commit({"specs/a.yaml": "a: 2\n"})
        assert mirror.fetch().id == second
        assert contents(mirror) == {"a.yaml": b"a: 2\n"}


@pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")
def test_a_host_that_is_unknown_or_another_is_refused(repository: Repository, tmp_path: Path) -> None:
    with ssh_server(tmp_path / "sshd") as ssh, ssh_server(tmp_path / "other") as other:
        unknown = tmp_path / "none"
        unknown.touch()
        swapped = tmp_path / "swapped"
        swapped.write_text(f"[127.0.0.1]:{ssh.port} {other.known_hosts.read_text().partition(' ')[2]}")
        for hosts in (unknown, swapped):
            mirror = mirror_of(repository, tmp_path, ssh.url(repository.path), ssh_key=ssh.key, known_hosts=hosts)
            with pytest.raises(UnreachableError, match="Host key verification failed"):
                mirror.fetch()
            assert mirror.head() is None


# -- what is asked for, and what is in it


def test_odd_trees_are_listed_as_they_are(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"specs/link": (LINK, "/etc/passwd"), "specs/sub": (SUBMODULE, repository.head())})
    repository.commit({os.fsdecode(b"specs/\xff\n.yaml"): "x"})
    mirror = mirror_of(repository, tmp_path)
    entries = {entry.path: entry for entry in mirror.tree(mirror.fetch().id)}
    assert {path: entry.mode for path, entry in entries.items() if not entry.is_file} == {
        b"link": LINK,
        b"sub": SUBMODULE,
    }
    assert b"\xff\n.yaml" in entries


def test_a_head_that_somebody_edited_is_none(repository: Repository, tmp_path: Path) -> None:
    mirror = mirror_of(repository, tmp_path)
    mirror.fetch()
    (head,) = (tmp_path / "mirrors").glob("*/head-*")
    kept = json.loads(head.read_text())
    assert kept["branch"] == "main"
    for text in ("", "[]", "{}", '{"id": 1}'):
        head.write_text(text)
        assert mirror.head() is None
    assert mirror.fetch().id == repository.head()
