"""Kubeconfigs, given and written: clusters of somebody else, what is refused in one, and kubectl with ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clusters.sandbox_lab import CREATION, SandboxLab, cluster
from tests.daemon.lab import stays

MOTD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "motd"}, "data": {"text": "hello"}}


def existing(name: str, path: Path, lifecycle: dict[str, Any] | None = None, **spec: Any) -> str:
    """A document of a cluster that is reached through a given kubeconfig."""
    return cluster(name, lifecycle, provider="existing", kubeconfig={"path": str(path)}, **spec)


def kubectl(lab: SandboxLab, path: str, *arguments: str) -> str:
    """What kubectl prints, with a kubeconfig and nothing else of this machine."""
    done = subprocess.run(
        ["kubectl", "--kubeconfig", path, *arguments],
        env=lab.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_existing_cluster_of_another_home_is_used_kept_right_and_let_go(lab: SandboxLab, other: SandboxLab) -> None:
    lab.write("dev.yaml", cluster("dev"))
    lab.apply()
    uid, given = lab.made()["dev"]["uid"], lab.kubeconfigs / "dev.yaml"
    other.write("theirs.yaml", existing("theirs", given, manifests=[MOTD]))
    other.apply()
    row = other.row("theirs")
    assert row is not None
    assert (row["actual_state"], row["cluster_uid"], row["created_by_us"]) == ("running", uid, 0)
    assert (row["kubeconfig"], row["provider"]) == (str(given), "existing")
    assert [step for _, step in other.order()] == [step for step in CREATION if step != "create"]
    assert other.plan() == {}
    assert other.sandbox_pid() is None, "nothing was started for it"
    other.write("theirs.yaml", existing("theirs", given, {"state": "absent"}))
    other.apply()
    assert other.row("theirs") is None
    assert lab.made()["dev"]["uid"] == uid
    assert given.exists()
    assert lab.plan() == {}


def test_an_existing_cluster_that_is_gone_is_unreachable_and_not_made_anew(lab: SandboxLab, other: SandboxLab) -> None:
    lab.write("dev.yaml", cluster("dev"))
    lab.apply()
    other.write("theirs.yaml", existing("theirs", lab.kubeconfigs / "dev.yaml"))
    other.apply()
    before = other.row("theirs")
    lab.remove_by_hand("dev")
    assert other.run("apply", other.specs, "--yes").code == 6
    assert other.row("theirs") == before
    assert lab.made() == {}


@pytest.mark.parametrize("by", ["command", "daemon"])
def test_a_kubeconfig_that_runs_a_program_is_refused_and_nothing_is_run(lab: SandboxLab, by: str) -> None:
    ran, evil = lab.root / "ran", lab.root / "evil.yaml"
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [str(ran)]}}
    evil.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    lab.write("evil.yaml", existing("evil", evil))
    wanted = "users[u].user.exec would run a program"
    if by == "command":
        assert wanted in lab.apply(code=1)
    else:
        lab.daemon()
        lab.write("late.yaml", cluster("late"))
        lab.await_ready("Cluster/late")
        assert stays(lambda: lab.status("Cluster/evil").get("ready") != "True", 1.0)
        assert wanted in lab.status("Cluster/evil")["message"]
    assert not ran.exists()
    assert lab.row("evil") is None


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is missing")
def test_the_kubeconfig_of_a_cluster_works_with_kubectl(lab: SandboxLab) -> None:
    lab.write("dev.yaml", cluster("dev", agents=1, manifests=[MOTD]))
    lab.apply()
    path = lab.ok("cluster", "kubeconfig", "dev").strip()
    assert path == str(lab.kubeconfigs / "dev.yaml")
    assert Path(path).stat().st_mode & 0o777 == 0o600
    uid = kubectl(lab, path, "get", "ns", "kube-system", "-o", "jsonpath={.metadata.uid}")
    row = lab.row("dev")
    assert row is not None
    assert uid == row["cluster_uid"] == lab.made()["dev"]["uid"]
    assert len(kubectl(lab, path, "get", "nodes", "-o", "name").splitlines()) == 2
    assert kubectl(lab, path, "get", "configmap", "motd", "-o", "jsonpath={.data.text}") == "hello"
    kubectl(lab, path, "delete", "configmap", "motd")
    assert lab.plan()["Cluster/dev"]["action"] == "update"
    lab.apply()
    assert kubectl(lab, path, "get", "configmap", "motd", "-o", "jsonpath={.data.text}") == "hello"


def test_a_kubeconfig_that_we_write_trusts_one_authority_and_is_never_insecure(lab: SandboxLab) -> None:
    lab.write("dev.yaml", cluster("dev"))
    lab.apply()
    (entry,) = yaml.safe_load((lab.kubeconfigs / "dev.yaml").read_text())["clusters"]
    assert entry["cluster"]["certificate-authority-data"]
    assert "insecure-skip-tls-verify" not in entry["cluster"]
    assert entry["cluster"]["server"] == lab.made()["dev"]["server"]
    assert lab.run("cluster", "kubeconfig", "nowhere").code == 64
