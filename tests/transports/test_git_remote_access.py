"""Reaching a git remote over ssh, smart HTTP and files: with what, why it says no, and what never leaks."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from git_lab import Repository
from git_servers import SSHD, Served, Ssh, smart_http, ssh_server
from place import said_by_processes
from tls_api import make_certificate

from reconciler.errors import ReconcilerError, SpecError, TransientError, UnreachableError
from reconciler.model.secret import Secret
from reconciler.transports.git_access import RemoteAccess
from reconciler.transports.git_command import GitError
from reconciler.transports.git_refusals import refusal_of
from reconciler.transports.git_remote import GitRemote
from reconciler.transports.process import Completed

TOKEN = "t0ken-$(id)'\"\\-%s-of-the-test"
needs_sshd = pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "served" / "origin.git")
    made.git("config", "http.receivepack", "true")
    made.commit({"a": "1"})
    return made


@pytest.fixture
def server(repository: Repository) -> Iterator[Served]:
    with smart_http(repository.path.parent, f"git:{TOKEN}") as served:
        yield served


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    with ssh_server(tmp_path_factory.mktemp("ssh") / "sshd") as running:
        yield running


def remote_of(tmp_path: Path, url: str, **access: object) -> GitRemote:
    return GitRemote(tmp_path / "remotes", url, RemoteAccess(**{"timeout": 20.0, **access}))


def secret(value: str) -> Secret:
    return Secret(value, "env:RECONCILER_SECRET_TEST")


def by_ssh(ssh: Ssh, **access: object) -> dict[str, object]:
    return {"ssh_key": secret(ssh.key.read_text()), "known_hosts": ssh.known_hosts.read_text(), **access}


def raised(reason: str, call: Callable[[], object], kind: type[ReconcilerError] = GitError) -> ReconcilerError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.reason == reason, caught.value.message
    assert caught.value.message.isprintable()
    return caught.value


# -- smart HTTP


def test_a_token_from_a_value_pushes_over_smart_http(repository: Repository, server: Served, tmp_path: Path) -> None:
    remote = remote_of(tmp_path, f"{server.url}/origin.git", token=secret(f"{TOKEN}\n"))
    made = remote.publish("main", {"b": b"2"}, "c", onto=repository.head())
    assert repository.head() == made.commit
    assert remote.read("main", "b") == b"2"
    named = remote_of(tmp_path, f"{server.url}/origin.git", token=secret(TOKEN), username="robot")
    raised("AuthenticationFailed", named.heads)


def test_a_wrong_token_is_named_and_not_shown(server: Served, tmp_path: Path) -> None:
    wrong = remote_of(tmp_path, f"{server.url}/origin.git", token=secret("wr0ng"))
    error = raised("AuthenticationFailed", wrong.heads)
    assert "repository.auth" in error.message or "auth" in error.message
    assert "wr0ng" not in error.message
    raised("AuthenticationFailed", remote_of(tmp_path, f"{server.url}/origin.git").heads)


def test_what_is_not_there_is_told_from_what_does_not_answer(
    repository: Repository, server: Served, tmp_path: Path
) -> None:
    raised("NoSuchRepository", remote_of(tmp_path, f"{server.url}/other.git", token=secret(TOKEN)).heads)
    raised("NoSuchRepository", remote_of(tmp_path, f"file://{tmp_path}/nowhere").heads)
    raised("GitUnreachable", remote_of(tmp_path, "http://localhost:1/a.git").heads, UnreachableError)
    raised("GitUnreachable", remote_of(tmp_path, "https://nowhere.invalid/a.git").heads, UnreachableError)
    server.broken = 503
    remote = remote_of(tmp_path, f"{server.url}/origin.git", token=secret(TOKEN))
    raised("GitUnreachable", remote.heads, UnreachableError)
    server.broken = 0
    server.delay = 1.2
    slow = remote_of(tmp_path, f"{server.url}/origin.git", token=secret(TOKEN), timeout=0.5)
    raised("GitDeadline", slow.heads, UnreachableError)


def test_a_token_does_not_follow_a_redirect(repository: Repository, server: Served, tmp_path: Path) -> None:
    with smart_http(repository.path.parent) as other:
        server.redirect = other.url
        raised("Redirected", remote_of(tmp_path, f"{server.url}/origin.git", token=secret(TOKEN)).heads)
        assert other.seen == []


def test_a_server_that_nobody_vouches_for_gets_no_token(repository: Repository, tmp_path: Path) -> None:
    certificate, key = make_certificate("localhost")
    (tmp_path / "server.pem").write_text(f"{certificate}\n{key}")
    (tmp_path / "ca.pem").write_text(certificate)
    with smart_http(repository.path.parent, f"git:{TOKEN}", tmp_path / "server.pem") as server:
        url = f"{server.url}/origin.git"
        error = raised("UntrustedServer", remote_of(tmp_path, url, token=secret(TOKEN)).heads, UnreachableError)
        assert "git.caFile" in error.message
        assert server.seen == []
        trusting = remote_of(tmp_path, url, token=secret(TOKEN), ca_file=tmp_path / "ca.pem")
        assert trusting.heads() == {"main": repository.head()}


@pytest.mark.parametrize(
    ("url", "access", "reason"),
    [
        ("http://git.example.com/a.git", {"token": "t"}, "TokenOverHttp"),
        ("https://git.example.com/a.git", {"token": "two\nlines"}, "BadToken"),
        ("https://git.example.com/a.git", {"token": " \n"}, "BadToken"),
        ("https://git.example.com/a.git", {"token": "t", "username": "a\nhost=evil"}, "BadUsername"),
        ("https://user:pass@git.example.com/a.git", {}, "PasswordInUrl"),
        ("ssh://git@git.example.com/a.git", {"ssh_key": "no key"}, "BadSshKey"),
        ("ext::sh -c id", {}, "BadGitUrl"),
        ("--upload-pack=id", {}, "BadGitUrl"),
    ],
)
def test_what_must_not_be_sent_is_refused_at_once(
    tmp_path: Path, url: str, access: dict[str, str], reason: str
) -> None:
    values = {name: value if name == "username" else secret(value) for name, value in access.items()}
    error = raised(reason, lambda: remote_of(tmp_path, url, **values), SpecError)
    assert "pass@" not in error.message
    assert not (tmp_path / "remotes").exists()


# -- ssh


@needs_sshd
def test_a_key_from_a_value_pushes_over_ssh(repository: Repository, ssh: Ssh, tmp_path: Path) -> None:
    remote = remote_of(tmp_path, ssh.url(repository.path), **by_ssh(ssh))
    made = remote.publish("main", {"b": b"2"}, "c", onto=repository.head())
    assert repository.head() == made.commit
    assert remote.paths("main") == {"a", "b"}


@needs_sshd
def test_hosts_that_are_unknown_or_have_changed_are_refused(repository: Repository, ssh: Ssh, tmp_path: Path) -> None:
    with ssh_server(tmp_path / "other") as other:
        theirs = other.known_hosts.read_text().partition(" ")[2]
        changed = f"[127.0.0.1]:{ssh.port} {theirs}"
        unknown = f"git.example.com {theirs}"
    url = ssh.url(repository.path)
    error = raised("HostKeyChanged", remote_of(tmp_path, url, **by_ssh(ssh, known_hosts=changed)).heads)
    assert "auth.knownHosts" in error.message
    assert "/proc/" not in error.message
    error = raised("UnknownHostKey", remote_of(tmp_path, url, **by_ssh(ssh, known_hosts=unknown)).heads)
    assert "ssh-keyscan" in error.message
    empty = tmp_path / "known_hosts"
    empty.touch()
    by_default = by_ssh(ssh, known_hosts="", known_hosts_file=empty)
    raised("UnknownHostKey", remote_of(tmp_path, url, **by_default).heads)
    by_default["known_hosts_file"] = ssh.known_hosts
    assert remote_of(tmp_path, url, **by_default).heads()


@needs_sshd
def test_keys_that_the_server_does_not_take_are_named(repository: Repository, ssh: Ssh, tmp_path: Path) -> None:
    for name, phrase in (("stranger", ""), ("locked", "a phrase")):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", tmp_path / name], check=True)
    url = ssh.url(repository.path)
    stranger = by_ssh(ssh, ssh_key=secret((tmp_path / "stranger").read_text()))
    raised("AuthenticationFailed", remote_of(tmp_path, url, **stranger).heads)
    raised("AuthenticationFailed", remote_of(tmp_path, url, **by_ssh(ssh, ssh_key=None)).heads)
    locked = by_ssh(ssh, ssh_key=secret((tmp_path / "locked").read_text()))
    raised("BadSshKey", lambda: remote_of(tmp_path, url, **locked), SpecError)
    broken = by_ssh(ssh, ssh_key=secret("\n".join([*ssh.key.read_text().splitlines()[:2], "-----END"])))
    raised("BadSshKey", remote_of(tmp_path, url, **broken).heads)
    raised("NoSuchRepository", remote_of(tmp_path, ssh.url(tmp_path / "no"), **by_ssh(ssh)).heads)


# -- words


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("ERROR: The key you are authenticating with has been marked as read only.", "AuthenticationFailed"),
        ("ERROR: Permission to acme/shop.git denied to robot.", "AuthenticationFailed"),
        ("remote: HTTP Basic: Access denied. The provided password or token is incorrect", "AuthenticationFailed"),
        ("fatal: unable to access 'https://x/': The requested URL returned error: 403", "AuthenticationFailed"),
        ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", "NoSuchRepository"),
        ("ERROR: The project you were looking for could not be found or you don't have permission", "NoSuchRepository"),
        ("ssh: connect to host x port 22: Connection timed out", "GitUnreachable"),
        ("kex_exchange_identification: Connection closed by remote host", "GitUnreachable"),
        ("fatal: something that nobody has heard of", "GitFailed"),
        ("", "GitFailed"),
    ],
)
def test_what_servers_say_is_told_apart(said: str, reason: str) -> None:
    error = refusal_of("ssh://git@example.com/a.git", Completed(("git",), 128, "", said, 0.1))
    assert error.reason == reason
    assert isinstance(error, TransientError)
    assert error.message.startswith("ssh://git@example.com/a.git: ")
    first = said.splitlines()[0] if said else "git ended with 128"
    assert first in error.message


# -- what nobody may see

_HELD = """while [ ! -e {go} ]; do sleep 0.02; done"""


def hold(repository: Repository, tmp_path: Path) -> tuple[Path, Path]:
    """Pushes wait in a hook until the second file is there; the first says that one does."""
    (repository.path / "hooks").mkdir(exist_ok=True)
    hook, waiting, go = repository.path / "hooks" / "pre-receive", tmp_path / "waiting", tmp_path / "go"
    hook.write_text(f"#!/bin/sh\ntouch {waiting}\n{_HELD.format(go=go)}\n")
    hook.chmod(0o755)
    return waiting, go


def await_file(path: Path) -> None:
    give_up = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < give_up, f"{path.name} did not come"
        time.sleep(0.01)


@pytest.mark.parametrize("way", ["http", pytest.param("ssh", marks=needs_sshd)])
def test_secrets_are_seen_nowhere_while_a_push_is_held(
    repository: Repository, server: Served, ssh: Ssh, tmp_path: Path, way: str
) -> None:
    if way == "http":
        words, url, access = [TOKEN], f"{server.url}/origin.git", {"token": secret(TOKEN)}
    else:
        lines = ssh.key.read_text().splitlines()
        words, url, access = lines[1:-1], ssh.url(repository.path), by_ssh(ssh)
    waiting, go = hold(repository, tmp_path)
    home = tmp_path / "remotes"
    remote = GitRemote(home, url, RemoteAccess(**access))
    thread = threading.Thread(
        target=remote.publish, args=("main", {"b": b"2"}, "c"), kwargs={"onto": repository.head()}
    )
    thread.start()
    try:
        await_file(waiting)
        said = said_by_processes()
        files = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    finally:
        go.touch()
        thread.join()
    assert b"receive-pack" in said, "it was looked at while the push was held"
    for word in words:
        assert word.encode() not in said
        assert word.encode() not in files
    assert repository.git("show", "main:b") == "2"


# -- killed

_PUBLISH = """
import sys
from pathlib import Path
from reconciler.model.secret import Secret
from reconciler.transports.git_access import RemoteAccess
from reconciler.transports.git_remote import GitRemote
remote = GitRemote(Path(sys.argv[1]), sys.argv[2], RemoteAccess(token=Secret(sys.stdin.readline().strip(), "a test")))
print("ready", flush=True)
number = sys.stdin.readline().strip()
files = {f"{number}-{count}": number.encode() * 2000 for count in range(5)}
remote.publish("main", files, number, onto=remote.heads()["main"])
"""


def publishing(tmp_path: Path, url: str) -> subprocess.Popen[str]:
    """A process that publishes files once it is told their number."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PUBLISH, str(tmp_path / "remotes"), url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{TOKEN}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.soak)])
def test_killed_anywhere_a_push_is_whole_or_not_there(
    repository: Repository, server: Served, tmp_path: Path, kills: int
) -> None:
    url = f"{server.url}/origin.git"
    remote = remote_of(tmp_path, url, token=secret(TOKEN))
    for number in range(kills):
        process = publishing(tmp_path, url)
        assert process.stdin is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        time.sleep(0.3 * number / kills)
        process.kill()
        process.communicate()
        seen = remote.paths("main")
        ours = {path for path in seen if re.match(f"{number}-", path)}
        assert len(ours) in (0, 5)
        wanted = {f"{number}-{count}": str(number).encode() * 2000 for count in range(5)}
        remote.publish("main", wanted, "again", onto=remote.heads()["main"])
        assert set(wanted) <= remote.paths("main")
    assert len(remote.paths("main")) == 1 + kills * 5
    assert len(repository.git("rev-list", "main").split()) <= 1 + kills * 2
    kept = [path.name for path in (tmp_path / "remotes").glob("*/*")]
    assert sorted(kept) == ["lock", "repository"], "nothing of the killed is left"
    files = b"".join(path.read_bytes() for path in (tmp_path / "remotes").rglob("*") if path.is_file())
    assert TOKEN.encode() not in files
