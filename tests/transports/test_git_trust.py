"""Whom git trusts and with what: https with certificates of our own, ssh with keys that an agent keeps."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_lab import Repository, document
from git_servers import SSHD, Served, Ssh, smart_http, ssh_server
from place import Place
from tls_api import make_certificate

from reconciler.errors import UnreachableError
from reconciler.transports.git import Mirror
from reconciler.transports.git_command import GitAccess
from reconciler.transports.git_place import GitPlace

LOGIN = "robot:s3cret"
NEEDS_AGENT = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh-agent") is None, reason="sshd or ssh-agent is not installed"
)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "served" / "origin.git")
    made.commit({"specs/a.yaml": document("one")})
    return made


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """What vouches for the server, and for nobody else."""
    return write_certificate(tmp_path / "authority.pem")


def write_certificate(path: Path) -> Path:
    certificate, key = make_certificate("localhost")
    path.write_text(certificate)
    path.with_suffix(".with-key").write_text(certificate + key)
    return path


@pytest.fixture
def https(repository: Repository, authority: Path) -> Iterator[Served]:
    with smart_http(repository.path.parent, LOGIN, authority.with_suffix(".with-key")) as served:
        yield served


def mirror_at(url: str, tmp_path: Path, **access: object) -> Mirror:
    return Mirror(
        tmp_path / "mirrors", GitPlace.checked(url, "main", "specs"), GitAccess(**{"timeout": 20.0, **access})
    )


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_https_is_trusted_by_the_given_certificates_only(
    https: Served, repository: Repository, authority: Path, tmp_path: Path
) -> None:
    token = private(tmp_path / "token", "s3cret\n")
    known: dict[str, object] = {"token_file": token, "username": "robot"}
    url = f"{https.url}/origin.git"
    for wrong in ({}, {"ca_file": write_certificate(tmp_path / "other.pem")}):
        with pytest.raises(UnreachableError, match="certificate"):
            mirror_at(url, tmp_path, **known, **wrong).fetch()
    assert https.seen == [], "nobody who is not trusted was asked for anything, or sent the token"
    assert mirror_at(url, tmp_path, **known, ca_file=authority).fetch().id == repository.head()
    assert {login for _, login in https.seen} <= {"", LOGIN}


def test_the_settings_name_certificates_and_token(https: Served, authority: Path, tmp_path: Path, place: Place) -> None:
    place.settings |= {
        "GIT_URL": f"{https.url}/origin.git",
        "GIT_PATH": "specs",
        "GIT_USERNAME": "robot",
        "GIT_TOKEN_FILE": private(tmp_path / "token", "s3cret\n"),
    }
    refused = place.run("plan", code=None)
    assert refused.code != 0
    assert "certificate" in refused.err
    place.settings["GIT_CA_FILE"] = authority
    assert "Entry/one" in place.run("plan").out


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Ssh]:
    with ssh_server(tmp_path / "sshd") as served:
        yield served


@pytest.fixture
def agent(tmp_path: Path, ssh: Ssh) -> Iterator[Path]:
    """The socket of an agent that has the key which the server lets in; the key is nowhere else any more."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + 20
        while not socket.exists():
            assert time.monotonic() < give_up, "ssh-agent did not start"
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", ssh.key], env={"SSH_AUTH_SOCK": str(socket)}, check=True)
        ssh.key.unlink()
        yield socket
    finally:
        process.terminate()
        process.wait(10)


@NEEDS_AGENT
def test_ssh_is_followed_with_a_key_that_an_agent_keeps(
    ssh: Ssh, agent: Path, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = mirror_at(ssh.url(repository.path), tmp_path, known_hosts=ssh.known_hosts)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(UnreachableError, match="Permission denied"):
        mirror.fetch()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    assert mirror.fetch().id == repository.head()


@NEEDS_AGENT
def test_a_command_reads_specs_with_the_callers_agent(
    ssh: Ssh, agent: Path, repository: Repository, place: Place
) -> None:
    place.settings |= {
        "GIT_URL": ssh.url(repository.path),
        "GIT_PATH": "specs",
        "GIT_KNOWN_HOSTS": ssh.known_hosts,
    }
    assert "Entry/one" in place.run("plan", env={"SSH_AUTH_SOCK": str(agent)}).out
