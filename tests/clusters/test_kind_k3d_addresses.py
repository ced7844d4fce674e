"""The address of a cluster's node: waited for, one and the right one, followed when it moves, missed out loud."""

from __future__ import annotations

import itertools
import re
import time

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster

PROVIDERS = pytest.mark.parametrize("provider", ["k3d", "kind"])
SERVER = {"k3d": "k3d-dev-server-0", "kind": "dev-control-plane"}
ONE_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}")


def hurry(docker: DockerLab, timeout: str) -> None:
    """Wait for addresses shorter than usual."""
    docker.configure(kinds={"Cluster": {"addressTimeout": timeout, "addressInterval": "200ms"}})


@PROVIDERS
def test_row_0_20_container_address_wait(docker: DockerLab, provider: str) -> None:
    """It comes late: the row has it, and says running only then."""
    hurry(docker, "30s")
    docker.behave("no-address", "3")
    docker.write("dev.yaml", docker_cluster("dev", provider))
    docker.apply()
    row = docker.row("dev")
    assert row is not None
    assert (row["actual_state"], row["server_ip"]) == ("running", docker.address(SERVER[provider]))
    order = [name for name, _ in docker.steps("Cluster/dev")]
    assert order.index("address") < order.index("verify")
    assert docker.events("Cluster/dev", "NoAddress") == []


@PROVIDERS
def test_row_0_20_no_address_ever_is_a_warning(docker: DockerLab, provider: str) -> None:
    """The cluster runs, its row says without which address, an alarm was raised, and it is not called healthy."""
    hurry(docker, "1s")
    docker.behave("no-address")
    docker.write("dev.yaml", docker_cluster("dev", provider))
    docker.apply(code=None)
    row = docker.row("dev")
    assert row is not None
    assert (row["actual_state"], row["server_ip"]) == ("running", None)
    assert "no address on the cluster's own network" in row["reconcile_error"]
    (alarm,) = docker.events("Cluster/dev", "NoAddress")
    assert alarm["type"] == "alarm"
    assert "no address on the cluster's own network" in docker.ok("describe", "Cluster/dev")
    assert docker.plan() == {}, "it is told, not tried again and again"
    docker.recover()
    docker.apply()
    row = docker.row("dev")
    assert row is not None
    assert (row["server_ip"], row["reconcile_error"]) == (docker.address(SERVER[provider]), None)


@pytest.mark.soak
def test_row_0_20_no_address_for_the_real_time(docker: DockerLab) -> None:
    """Without settings it is 60 seconds, looked at every 2."""
    docker.behave("no-address")
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    docker.start("apply", docker.specs, "--yes").wait(240)
    (step,) = docker.rows("SELECT started_at, ended_at FROM steps WHERE name = 'address'")
    assert 58 <= step["ended_at"] - step["started_at"] <= 65
    began = [run["at"] for run in docker.asked() if run["argv"][:2] == ["docker", "inspect"]]
    waited = [after - before for before, after in itertools.pairwise(began)]
    assert sum(1 for pause in waited if 2 <= pause < 4) >= 20


@PROVIDERS
def test_row_0_21_one_valid_address(docker: DockerLab, provider: str) -> None:
    """Of two networks the cluster's own, and never both in one."""
    docker.behave("second-network")
    spec = {"subnet": "10.101.0.0/16"} if provider == "k3d" else {}
    docker.write("dev.yaml", docker_cluster("dev", provider, **spec))
    docker.apply()
    row = docker.row("dev")
    assert row is not None
    assert ONE_ADDRESS.fullmatch(row["server_ip"])
    assert row["server_ip"] == ("10.101.0.2" if provider == "k3d" else "172.18.0.2")
    assert docker.plan() == {}


@PROVIDERS
def test_case_24_k30_the_address_is_followed(docker: DockerLab, provider: str) -> None:
    docker.behave("moves")
    docker.write("dev.yaml", docker_cluster("dev", provider))
    docker.apply()
    before = docker.address(SERVER[provider])
    if provider == "k3d":
        docker.by_hand("k3d", "cluster", "stop", "dev")
        docker.by_hand("k3d", "cluster", "start", "dev")
    else:
        docker.by_hand("docker", "stop", SERVER[provider])
        docker.by_hand("docker", "start", SERVER[provider])
    after = docker.address(SERVER[provider])
    assert after != before
    change = docker.plan()["Cluster/dev"]
    assert [step["name"] for step in change["steps"]] == ["address", "record", "verify"]
    docker.apply()
    row = docker.row("dev")
    assert row is not None
    assert row["server_ip"] == after
    assert docker.plan() == {}


def test_a_daemon_follows_an_address_by_itself(docker: DockerLab) -> None:
    docker.behave("moves")
    docker.write("dev.yaml", docker_cluster("dev", "k3d", {"interval": "1s"}))
    daemon = docker.daemon()
    docker.await_ready("Cluster/dev")
    docker.by_hand("k3d", "cluster", "stop", "dev")
    docker.by_hand("k3d", "cluster", "start", "dev")
    after = docker.address("k3d-dev-server-0")
    give_up = time.monotonic() + 45
    while (row := docker.row("dev")) is None or row["server_ip"] != after:
        assert time.monotonic() < give_up, row
        time.sleep(0.1)
    assert daemon.terminate() == 0
