"""Branches on real servers: smart HTTP with a token, ssh with a key; and many clusters that share one repository."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from git_servers import SSHD, Ssh, smart_http, ssh_server

from tests.branches.branch_lab import CHART, BranchLab

TOKEN = "t0ken-of-the-branches"
needs_sshd = pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    with ssh_server(tmp_path_factory.mktemp("ssh") / "sshd") as running:
        yield running


def come_and_go(lab: BranchLab, git: dict[str, object]) -> None:
    """A branch is made, nothing is left to do, and it is archived with its cluster."""
    lab.write("dev.yaml", lab.cluster("dev", **git))
    lab.apply()
    assert set(lab.files("dev")) == CHART
    commit = lab.heads()["dev"]
    assert lab.plan() == {}
    lab.write("dev.yaml", lab.cluster("dev", {"state": "absent"}, **git))
    lab.apply()
    assert (lab.heads(), lab.archived("dev"), lab.row("dev")) == ({}, [commit], None)


def test_defects_k32_and_k33_over_http_with_a_token_that_is_nowhere(lab: BranchLab) -> None:
    """No password in an address or in what is stored, printed or logged; a wrong one is said to be wrong."""
    lab.repository.git("config", "http.receivepack", "true")
    token = lab.root / "token"
    lab.configure(secrets={"files": [str(lab.root)]})
    with smart_http(lab.repository.path.parent, f"bot:{TOKEN}") as server:
        git = {
            "repository": f"{server.url}/apps.git",
            "auth": {"username": "bot", "token": {"fromFile": str(token)}},
        }
        token.write_text("wrong")
        lab.write("dev.yaml", lab.cluster("dev", **git))
        assert "check auth" in lab.apply(code=1)
        assert lab.state("dev") == "failed"
        token.write_text(TOKEN)
        come_and_go(lab, git)
        assert not any(TOKEN in path for path, _ in server.seen)
    for file in lab.home.rglob("*"):
        if file.is_file():
            assert TOKEN.encode() not in file.read_bytes(), file


@needs_sshd
def test_over_ssh_with_a_key_and_known_hosts(lab: BranchLab, ssh: Ssh) -> None:
    lab.configure(secrets={"files": [str(ssh.key.parent)]})
    auth = {"sshKey": {"fromFile": str(ssh.key)}, "knownHosts": ssh.known_hosts.read_text()}
    come_and_go(lab, {"repository": ssh.url(lab.repository.path), "auth": auth})


@pytest.mark.parametrize("count", [5, pytest.param(20, marks=pytest.mark.soak)])
def test_clusters_of_one_repository_in_parallel(lab: BranchLab, other: BranchLab, count: int) -> None:
    """Two reconcilers with half of them each, that know nothing of each other, push at the same time."""
    labs = (lab, other)
    names = [[f"c{number}-{half}" for number in range(count)] for half in range(2)]
    for place, mine in zip(labs, names, strict=True):
        place.write("all.yaml", *(place.cluster(name, repository=lab.repository.url) for name in mine))
    commands = [place.start("apply", place.specs, "--yes", "--forks", count) for place in labs]
    for command in commands:
        assert command.wait(240) == 0, command.err() + command.out()[-3000:]
    assert set(lab.heads()) == {name for mine in names for name in mine}
    assert all(set(lab.files(name)) == CHART for name in lab.heads())
    for place, mine in zip(labs, names, strict=True):
        assert {name: note["commit"] for name, note in place.attached().items()} == {
            name: lab.heads()[name] for name in mine
        }
        assert {place.state(name) for name in mine} == {"running"}
