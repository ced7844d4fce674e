"""The predecessor's defects that touch clusters (K1 to K35): each has a test that fails if it comes back.

Those of routes, GitOps and CSV files stand with what they are about. K3 to K9, K21 to K23 and K26 to K29 are of those.
"""

from __future__ import annotations

import re

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster
from tests.daemon.lab import ROOT, Command, until

PROVIDERS = pytest.mark.parametrize("provider", ["k3d", "kind"])
CREATE = {"k3d": ("k3d", "cluster", "create"), "kind": ("kind", "create", "cluster")}
PORTS = {"httpPort": 18090, "httpsPort": 18443}


def creations(docker: DockerLab, provider: str, name: str) -> list[str]:
    """The commands that were to create a cluster of exactly this name."""
    return [line for line in docker.commands(*CREATE[provider]) if name in line.split()]


def test_k01_k19_a_failed_step_is_a_failed_run(docker: DockerLab) -> None:
    """K1: guards whose result was always 0. K19: a result of False that counted as success."""
    docker.behave("lie.k3d-cluster-create")
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    docker.apply(code=1)
    assert docker.rows("SELECT state FROM runs")[-1]["state"] == "failed"
    assert docker.steps("Cluster/dev")[-1] == ("create", "failed")


def test_k02_a_daemon_goes_on_after_a_failure_and_tells_of_it(docker: DockerLab) -> None:
    """The loop ended with exit code 0 after its first failure."""
    docker.behave("fail.k3d-cluster-create", "1:no space left on device")
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    daemon = docker.daemon()
    docker.await_ready("Cluster/dev")
    assert len(creations(docker, "k3d", "dev")) == 2
    assert docker.changes("Cluster/dev")[0]["verdict"] == "failed"
    assert daemon.terminate() == 0


@PROVIDERS
def test_k04_k18_case_11_one_creation_a_name(docker: DockerLab, provider: str) -> None:
    """Five ask for the same name at once: one creates it, the others are told that somebody does, or did."""
    docker.behave(f"slow.{'-'.join(CREATE[provider])}", "0.5")
    docker.ok("get")
    asking = [docker.start("create", "cluster", "same", "--provider", provider) for _ in range(5)]
    codes = sorted(command.wait(120) for command in asking)
    assert codes[0] == 0, [command.err() for command in asking]
    assert len(creations(docker, provider, "same")) == 1
    told = [command.err() for command in asking if command.process.returncode]
    assert len(told) == 4
    assert all("same" in text for text in told)
    assert (docker.state("same"), docker.made_names()) == ("running", ["same"])
    assert len(docker.rows("SELECT name FROM clusters")) == 1


def test_k10_a_cluster_that_runs_needs_nothing(docker: DockerLab) -> None:
    """`present` was compared with `running`, so that every look found something to do."""
    docker.write("dev.yaml", docker_cluster("dev", "k3d", {"interval": "1s"}, ports=PORTS))
    daemon = docker.daemon()
    docker.await_ready("Cluster/dev")
    docker.forget_log()
    until(lambda: len(docker.commands("k3d", "cluster", "list")) >= 3, daemon.err)
    assert docker.changing() == []
    assert len(docker.changes("Cluster/dev")) == 1
    assert daemon.terminate() == 0


@PROVIDERS
def test_k11_case_19_a_creation_that_was_killed_is_finished(docker: DockerLab, provider: str) -> None:
    """`creating` had no end. Killed once the cluster is there, it is not made a second time."""
    docker.behave("slow.docker-inspect", "1")
    docker.write("dev.yaml", docker_cluster("dev", provider))
    command = docker.start("apply", docker.specs, "--yes")
    until(lambda: ("create", "done") in docker.steps("Cluster/dev"), command.err)
    command.kill()
    assert docker.state("dev") == "creating"
    docker.recover()
    daemon = docker.daemon()
    docker.await_ready("Cluster/dev")
    assert docker.state("dev") == "running"
    assert len(creations(docker, provider, "dev")) == 1
    assert daemon.terminate() == 0
    assert docker.is_whole()


@pytest.mark.parametrize("state", ["unknown", "creating"])
def test_k12_what_shall_be_absent_goes_whatever_its_row_says(docker: DockerLab, state: str) -> None:
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    docker.apply()
    docker.write_sql(f"UPDATE clusters SET actual_state = '{state}', status = '{state}'")
    docker.write("dev.yaml", docker_cluster("dev", "k3d", {"state": "absent"}))
    docker.apply()
    assert (docker.row("dev"), docker.made_names()) == (None, [])


def test_k13_a_daemon_creates_at_once(docker: DockerLab) -> None:
    """Creation waited for a loop of fifteen minutes."""
    daemon = docker.daemon()
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    until(lambda: creations(docker, "k3d", "dev"), daemon.err, within=30)
    docker.await_ready("Cluster/dev")
    assert daemon.terminate() == 0


def test_k16_k17_ports_and_subnet_of_the_command_line_are_used(docker: DockerLab) -> None:
    """Only the CSV counted, and a node port of 30080 meant "none"."""
    asked = ("subnet=10.7.0.0/16", "ports.httpPort=18555", "ports.httpsPort=18777", "ports.nodePort=30080")
    options = [part for pair in asked for part in ("--set", pair)]
    docker.ok("create", "cluster", "dev", "--provider", "k3d", *options)
    (line,) = creations(docker, "k3d", "dev")
    assert "--port 18555:80@loadbalancer --port 18777:443@loadbalancer" in line
    assert "--network k3d-dev" in line
    row = docker.row("dev")
    assert row is not None
    assert (row["subnet"], row["node_port"], row["http_port"]) == ("10.7.0.0/16", 30080, 18555)


def test_k20_a_change_of_mind_ends_no_command_that_runs(docker: DockerLab) -> None:
    """A debounce cancelled the creation that was under way: it ends, and then the new spec is carried out."""
    docker.behave("slow.k3d-cluster-create", "2")
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    daemon = docker.daemon()
    docker.await_open_step("Cluster/dev", "create")
    docker.write("dev.yaml", docker_cluster("dev", "k3d", description="changed meanwhile"))
    until(lambda: (docker.row("dev") or {}).get("description") == "changed meanwhile", daemon.err)
    docker.await_ready("Cluster/dev")
    assert len(creations(docker, "k3d", "dev")) == 1
    assert daemon.terminate() == 0


def test_k24_a_name_is_never_part_of_a_statement(docker: DockerLab) -> None:
    for name in ("a'; DROP TABLE clusters; --", "$(reboot)", "-p", "a b"):
        done = docker.run("create", "cluster", "--provider", "k3d", "--", name)
        assert done.code not in (0, 130), name
        assert docker.run("cluster", "load-image", "--", name, "traefik:v2.10").code != 0
    assert docker.asked() == []
    assert docker.rows("SELECT count(*) AS n FROM clusters")[0]["n"] == 0


def test_k25_the_row_outlives_the_cluster(docker: DockerLab) -> None:
    """The row went first, so that a failed deletion left a cluster that nobody knew of."""
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    docker.apply()
    docker.behave("slow.k3d-cluster-delete", "2")
    docker.write("dev.yaml", docker_cluster("dev", "k3d", {"state": "absent"}))
    command = docker.start("apply", docker.specs, "--yes")
    until(lambda: docker.commands("k3d", "cluster", "delete"), command.err)
    assert docker.state("dev") == "deleting"
    command.wait(60)
    assert docker.row("dev") is None
    order = [name for name, _ in docker.steps("Cluster/dev")]
    assert order.index("delete") < order.index("forget")


def test_k31_what_is_gone_leaves_nothing_behind(docker: DockerLab) -> None:
    """Tombstones made every later check fail."""
    docker.ok("create", "cluster", "dev", "--provider", "k3d")
    docker.ok("delete", "Cluster/dev", "--yes")
    assert docker.rows("SELECT * FROM clusters") == []
    assert docker.rows("SELECT * FROM resources") == []
    assert docker.run("plan", "--detailed-exitcode").code == 0


def test_k33_no_host_and_no_address_is_built_in() -> None:
    """Addresses of somebody's network stood in the code: not here, but for the example in a text for people."""
    address = re.compile(r"\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}\b")
    paths = [*(ROOT / "reconciler" / "kinds" / "cluster" / "providers").glob("*.py")]
    assert len(paths) > 5
    assert {path.name: address.findall(path.read_text()) for path in paths if address.search(path.read_text())} == {}


def lines_between(docker: DockerLab, provider: str, name: str) -> list[tuple[float, int]]:
    """When and by whom a cluster was created."""
    runs = [run for run in docker.asked() if tuple(run["argv"][:3]) == CREATE[provider] and name in run["argv"]]
    return [(run["at"], run["pid"]) for run in runs]


def test_case_20_two_daemons_make_each_cluster_once(docker: DockerLab) -> None:
    """The second daemon on a database waits or goes; beside the first one commands may work too."""
    docker.behave("slow.k3d-cluster-create", "0.5")
    for name in ("one", "two", "three"):
        docker.write(f"{name}.yaml", docker_cluster(name, "k3d"))
    daemons: list[Command] = [docker.start("daemon", docker.specs) for _ in range(2)]
    command = docker.start("apply", docker.specs, "--yes")
    docker.await_ready("Cluster/one", "Cluster/two", "Cluster/three", within=120)
    command.wait(120)
    assert [len(lines_between(docker, "k3d", name)) for name in ("one", "two", "three")] == [1, 1, 1]
    for daemon in daemons:
        if daemon.alive:
            daemon.terminate()
    assert docker.is_whole()


def test_row_0_16_different_names_in_parallel(docker: DockerLab) -> None:
    """Three creations of which each takes a while overlap: none begins only after another one ended."""
    docker.behave("slow.k3d-cluster-create", "3")
    for name in ("one", "two", "three"):
        docker.write(f"{name}.yaml", docker_cluster(name, "k3d"))
    docker.apply("--forks", "3", code=0)
    began = sorted(at for name in ("one", "two", "three") for at, _ in lines_between(docker, "k3d", name))
    assert began[-1] - began[0] < 3, "the last began while the first still ran"
    assert docker.made_names() == ["one", "three", "two"]


def test_starting_is_by_exact_name(docker: DockerLab) -> None:
    """A filter by a part of a name also hit `my-dev-control-plane`."""
    docker.write("all.yaml", *(docker_cluster(name, "kind") for name in ("dev", "my-dev", "dev-a")))
    docker.apply()
    docker.forget_log()
    docker.write(
        "all.yaml", *(docker_cluster(name, "kind", running=name != "dev") for name in ("dev", "my-dev", "dev-a"))
    )
    docker.apply()
    assert docker.changing() == ["docker stop dev-control-plane"]
    running = {name: one["running"] for name, one in docker.there()["clusters"].items()}
    assert running == {"dev": False, "my-dev": True, "dev-a": True}
