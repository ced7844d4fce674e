"""`reconciler doctor` on hosts: what is missing is named with what to do, and what is there is said to be there."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from git_servers import SSHD, Ssh, ssh_server
from place import Place

from reconciler.cli import doctor_hosts
from reconciler.transports.ssh import Ssh as RemoteHost
from reconciler.transports.ssh import SshPlace
from reconciler.transports.ssh_trust import read_known_hosts

pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    with ssh_server(tmp_path_factory.mktemp("doctor") / "sshd") as server:
        yield server


def node(sshd: Ssh, **more: Any) -> dict[str, Any]:
    return {
        "address": "127.0.0.1",
        "port": sshd.port,
        "user": getpass.getuser(),
        "identity": {"fromFile": str(sshd.key)},
        "hostKey": sshd.known_hosts.read_text().partition(" ")[2].strip(),
        **more,
    }


def pair(place: Place, master: dict[str, Any], backup: dict[str, Any], **spec: Any) -> None:
    (place.home / "secrets").mkdir(exist_ok=True)
    for one in (master, backup):
        key = Path(one["identity"]["fromFile"])
        kept = shutil.copy(key, place.home / "secrets" / f"{key.parent.name}-{key.name}")
        one["identity"] = {"fromFile": str(kept)}
    document = {
        "apiVersion": "reconciler.dev/v1",
        "kind": "NodePair",
        "metadata": {"name": "vault"},
        "spec": {"master": master, "backup": backup, "version": "1", "commands": {"version": "echo 1"}, **spec},
    }
    place.write("pair.yaml", document)


def said(place: Place, *arguments: str | Path, **environ: str) -> dict[str, list[dict[str, str]]]:
    """The findings by subject."""
    found: dict[str, list[dict[str, str]]] = {}
    for one in place.run("doctor", *arguments, "-o", "json", code=None, env=environ).json:
        found.setdefault(one["subject"], []).append(one)
    return found


def test_both_nodes_of_a_pair_are_looked_at(place: Place, sshd: Ssh) -> None:
    no_key = {name: value for name, value in node(sshd, address="localhost").items() if name != "hostKey"}
    pair(place, node(sshd), no_key, artifact={"source": "app.tar", "destination": "/srv/app.tar", "sha256": "0" * 64})
    found = said(place, place.specs)
    if os.geteuid() == 0:
        assert [one["level"] for one in found["NodePair/vault master"]] == ["ok"]
        assert "answers and is root" in found["NodePair/vault master"][0]["message"]
    else:
        assert "not run by root" in found["NodePair/vault master"][0]["message"]
    (backup,) = found["NodePair/vault backup"]
    assert (backup["level"], backup["remedy"]) == ("error", f"reconciler host trust localhost:{sshd.port}")
    assert f"{place.specs}/app.tar" in found["NodePair/vault"][0]["message"]
    assert found["ssh agent"][0]["level"] == found["known hosts"][0]["level"] == "note"


def test_what_keeps_a_node_from_being_upgraded_is_said_with_a_remedy(place: Place, sshd: Ssh, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    stranger = node(sshd, identity={"fromFile": str(tmp_path / "other")})
    changed = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    pair(place, stranger, node(sshd, address="localhost", hostKey=changed))
    found = said(place, place.specs)
    assert "authorized_keys" in found["NodePair/vault master"][0]["remedy"]
    assert "--replace" in found["NodePair/vault backup"][0]["remedy"]
    pair(place, node(sshd, port=1), node(sshd), minDiskSpace=10**9, configuration={"paths": ["/etc/vault"]})
    found = said(place, place.specs)
    assert "no connection" in found["NodePair/vault master"][0]["message"]
    assert any("MB are left" in one["message"] for one in found["NodePair/vault backup"])
    if not Path("/run/systemd/system").exists():
        assert any("lock cannot expire" in one["message"] for one in found["NodePair/vault backup"])


def test_the_keys_of_the_agent_are_counted(sshd: Ssh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "agent"

    def found() -> str:
        (one,) = doctor_hosts.agent()
        return one.message

    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert found() == "none runs for you"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    assert found() == f"{socket} does not answer"
    running = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        while "does not answer" in found():
            assert running.poll() is None
            time.sleep(0.01)
        assert "no keys" in found()
        subprocess.run(["ssh-add", "-q", sshd.key], check=True)
        assert found() == "it has 1 key"
        login = SshPlace("127.0.0.1", sshd.port, getpass.getuser(), None, read_known_hosts(sshd.known_hosts))
        with RemoteHost(login) as host:
            assert host.run("echo in", timeout=30).stdout == "in\n"
    finally:
        running.terminate()
        running.wait(10)


def test_the_known_hosts_of_the_home_are_looked_at(sshd: Ssh, tmp_path: Path) -> None:
    kept = tmp_path / "known_hosts"

    def found() -> tuple[str, str]:
        (one,) = doctor_hosts.known_hosts(tmp_path)
        return one.level, one.message

    assert found() == ("note", "the home trusts no host")
    kept.write_text(f"# ours\n{sshd.known_hosts.read_text()}")
    kept.chmod(0o600)
    assert found() == ("ok", f"{kept} names 1 host")
    kept.chmod(0o620)
    assert found() == ("error", f"others may write {kept}")
    kept.write_bytes(b"\xff\xfe")
    assert "cannot be read" in found()[1]
