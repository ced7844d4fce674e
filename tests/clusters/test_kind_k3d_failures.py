"""What goes wrong with docker, kind and k3d: fails, hangs, stays half done, lies, is not there. Nothing is made up."""

from __future__ import annotations

import json
import time

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster
from tests.daemon.lab import processes_of, until

PROVIDERS = pytest.mark.parametrize("provider", ["k3d", "kind"])
CREATE = {"k3d": "k3d-cluster-create", "kind": "kind-create-cluster"}
DELETE = {"k3d": "k3d-cluster-delete", "kind": "kind-delete-cluster"}
MOTD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "motd"}, "data": {"text": "hello"}}


@PROVIDERS
def test_row_0_25_failed_create_leaves_no_ghost_row(docker: DockerLab, provider: str) -> None:
    docker.behave(f"fail.{CREATE[provider]}", "failed to pull image: toomanyrequests")
    docker.write("dev.yaml", docker_cluster("dev", provider))
    text = docker.apply(code=1)
    assert "toomanyrequests" in text
    row = docker.row("dev")
    assert row is not None
    assert row["actual_state"] == "failed"
    assert "toomanyrequests" in row["reconcile_error"]
    assert row["server_ip"] is None
    assert not (docker.kubeconfigs / "dev.yaml").exists()
    assert docker.made_names() == []
    docker.recover()
    docker.apply()
    assert (docker.state("dev"), docker.plan()) == ("running", {})


@PROVIDERS
def test_row_0_26_verify_after_create(docker: DockerLab, provider: str) -> None:
    """The tool says that all is well, but nobody answers: failed, not running; and well once somebody does."""
    docker.behave("deaf")
    docker.write("dev.yaml", docker_cluster("dev", provider, createTimeout="1s"))
    docker.apply(code=1)
    row = docker.row("dev")
    assert row is not None
    assert row["actual_state"] == "failed"
    assert "the API did not become ready within 1 s" in row["reconcile_error"]
    docker.recover()
    docker.apply()
    assert docker.state("dev") == "running"
    assert len(docker.commands(provider, *CREATE[provider].split("-")[1:])) == 1, (
        "it was there, so it was not made again"
    )


@PROVIDERS
def test_a_tool_that_lies_is_not_believed(docker: DockerLab, provider: str) -> None:
    docker.behave(f"lie.{CREATE[provider]}")
    docker.write("dev.yaml", docker_cluster("dev", provider))
    assert "lists no such cluster" in docker.apply(code=1)
    assert docker.state("dev") == "failed"


@PROVIDERS
def test_what_a_failed_creation_left_is_removed(docker: DockerLab, provider: str) -> None:
    docker.behave(f"half.{CREATE[provider]}", "fail")
    spec = {"subnet": "10.101.0.0/16"} if provider == "k3d" else {}
    docker.write("dev.yaml", docker_cluster("dev", provider, **spec))
    docker.apply(code=1)
    assert docker.made_names() == []
    assert docker.there()["networks"] == {}
    assert docker.state("dev") == "failed"
    docker.recover()
    docker.apply()
    assert (docker.state("dev"), docker.plan()) == ("running", {})


@PROVIDERS
def test_row_9_06_hung_command(docker: DockerLab, provider: str) -> None:
    """It is killed at its deadline with all that it started, the row says failed, and another cluster is not kept."""
    docker.behave(f"half.{CREATE[provider]}", "hang")
    docker.write("dev.yaml", docker_cluster("dev", provider, createTimeout="2s"))
    docker.write("other.yaml", docker_cluster("other", "sandbox"))
    text = docker.apply(code=3)
    assert "did not end within 2 s and was killed" in text
    assert (docker.state("dev"), docker.state("other")) == ("failed", "running")
    assert docker.made_names() == [], "what it had made by then is removed"
    assert set(processes_of(docker.root)) == {docker.sandbox_pid()}


@PROVIDERS
def test_half_made_by_a_killed_process_is_made_anew(docker: DockerLab, provider: str) -> None:
    """Containers that never ran, of a process that is dead: they hold nothing, so they are removed, not started."""
    docker.behave(f"half.{CREATE[provider]}", "hang")
    docker.write("dev.yaml", docker_cluster("dev", provider, manifests=[MOTD]))
    command = docker.start("apply", docker.specs, "--yes")
    until(lambda: docker.made_names() == ["dev"], command.err)
    command.kill()
    until(lambda: not processes_of(docker.root), within=15)
    docker.recover()
    change = docker.plan()["Cluster/dev"]
    names = [step["name"] for step in change["steps"]]
    assert change["action"] == "update"
    assert names[names.index("discard") :][:3] == ["discard", "network", "create"]
    docker.apply()
    assert (docker.state("dev"), docker.plan(), docker.made_names()) == ("running", {}, ["dev"])
    assert docker.is_whole()


@PROVIDERS
def test_an_engine_that_does_not_answer_is_unknown_never_absent(docker: DockerLab, provider: str) -> None:
    docker.write("dev.yaml", docker_cluster("dev", provider))
    docker.apply()
    before = docker.row("dev")
    docker.behave("down")
    done = docker.run("plan", docker.specs)
    assert "the docker engine does not answer" in done.text
    assert "to create" in done.text
    assert "0 to create, 0 to update, 0 to replace, 0 to delete" in done.text
    docker.forget_log()
    assert docker.run("apply", docker.specs, "--yes").code == 6
    docker.write("dev.yaml", docker_cluster("dev", provider, {"state": "absent"}))
    assert docker.run("apply", docker.specs, "--yes").code == 6
    assert docker.changing() == []
    assert docker.row("dev") == before
    docker.recover()
    docker.apply()
    assert (docker.row("dev"), docker.made_names()) == (None, [])


def test_an_engine_that_hangs_is_unknown(docker: DockerLab) -> None:
    docker.configure(observeTimeout="1s")
    docker.behave("hang.k3d-cluster-list")
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    began = time.monotonic()
    (change,) = json.loads(docker.run("plan", docker.specs, "-o", "json").out)["changes"]
    assert change["obstacle"]["kind"] == "unknown"
    assert time.monotonic() - began < 30
    assert docker.row("dev") is None


@PROVIDERS
def test_case_22_failing_delete_keeps_the_row(docker: DockerLab, provider: str) -> None:
    docker.write("dev.yaml", docker_cluster("dev", provider))
    docker.apply()
    docker.behave(f"fail.{DELETE[provider]}", "cannot remove container: device or resource busy")
    docker.write("dev.yaml", docker_cluster("dev", provider, {"state": "absent"}))
    docker.apply(code=1)
    row = docker.row("dev")
    assert row is not None
    assert row["actual_state"] == "failed"
    assert "device or resource busy" in row["reconcile_error"]
    docker.recover()
    docker.apply()
    assert (docker.row("dev"), docker.made_names()) == (None, [])


def test_a_pull_that_fails_twice_is_tried_three_times(docker: DockerLab) -> None:
    docker.behave("fail.docker-pull", "2:Error response from daemon: toomanyrequests")
    docker.write("dev.yaml", docker_cluster("dev", "kind", preloadImages=["traefik:v2.10"]))
    docker.apply()
    assert docker.commands("docker", "pull") == ["docker pull traefik:v2.10"] * 3
    assert docker.plan() == {}


def test_subnets_that_overlap_are_refused_before_anything_is_made(docker: DockerLab) -> None:
    docker.write("dev.yaml", docker_cluster("dev", "k3d", subnet="10.101.0.0/16"))
    docker.apply()
    docker.forget_log()
    docker.write("uat.yaml", docker_cluster("uat", "k3d", subnet="10.101.128.0/17"))
    text = docker.run("apply", docker.specs, "--yes").text
    assert "subnet 10.101.128.0/17 overlaps with 10.101.0.0/16 of cluster dev" in text
    assert docker.changing() == []
    assert docker.row("uat") is None
    docker.write("uat.yaml", docker_cluster("uat", "k3d", subnet="10.101.0.1/16"))
    assert "10.101.0.1/16 is an address in 10.101.0.0/16: write that" in docker.run("plan", docker.specs).text


def test_a_long_name_gets_a_bridge_that_the_kernel_takes(docker: DockerLab) -> None:
    name = "a-name-that-is-a-good-deal-longer-than-any-interface"
    docker.write("long.yaml", docker_cluster(name, "k3d", subnet="10.9.0.0/16"))
    docker.apply()
    bridge = docker.there()["networks"][f"k3d-{name}"]["bridge"]
    assert bridge.startswith("br-k3d-")
    assert len(bridge) == 15


def test_what_others_connected_to_a_cluster_does_not_keep_its_network(docker: DockerLab) -> None:
    docker.write("dev.yaml", docker_cluster("dev", "k3d", subnet="10.101.0.0/16"))
    docker.apply()
    state = docker.there()
    state["networks"]["k3d-dev"]["attached"] = ["haproxy-gw"]
    (docker.engine / "state.json").write_text(json.dumps(state))
    docker.forget_log()
    docker.write("dev.yaml", docker_cluster("dev", "k3d", {"state": "absent"}, subnet="10.101.0.0/16"))
    docker.apply()
    assert docker.changing() == [
        "k3d cluster delete dev",
        "docker network disconnect --force k3d-dev haproxy-gw",
        "docker network rm k3d-dev",
    ]


def test_drift_by_hand_is_put_right(docker: DockerLab) -> None:
    """Limits lifted, an image dropped, the cluster stopped: each is seen and costs just what it needs."""
    images = {"preloadImages": ["traefik:v2.10"], "resources": {"cpus": 2}}
    docker.write("dev.yaml", docker_cluster("dev", "k3d", **images))
    docker.apply()
    state = docker.there()
    state["clusters"]["dev"]["limits"] = {}
    state["clusters"]["dev"]["images"] = []
    (docker.engine / "state.json").write_text(json.dumps(state))
    change = docker.plan()["Cluster/dev"]
    assert [step["name"] for step in change["steps"]] == ["limits", "preload", "record", "verify"]
    docker.forget_log()
    docker.apply()
    assert docker.changing() == [
        "docker update --cpus 2 k3d-dev-server-0",
        "k3d image import traefik:v2.10 -c dev",
    ]
    docker.by_hand("k3d", "cluster", "stop", "dev")
    assert docker.plan()["Cluster/dev"]["steps"][0]["name"] == "start"
    docker.apply()
    assert (docker.state("dev"), docker.plan()) == ("running", {})


def test_another_image_or_subnet_is_another_cluster(docker: DockerLab) -> None:
    docker.write("dev.yaml", docker_cluster("dev", "k3d", image="rancher/k3s:v1.31.5-k3s1", subnet="10.1.0.0/16"))
    docker.apply()
    assert docker.plan() == {}
    docker.write("dev.yaml", docker_cluster("dev", "k3d", image="rancher/k3s:v1.32.1-k3s1", subnet="10.2.0.0/16"))
    change = docker.plan()["Cluster/dev"]
    assert (change["action"], change["obstacle"]["reason"]) == ("replace", "ReplaceForbidden")
    assert {diff["path"] for diff in change["diffs"]} == {"spec.image", "spec.subnet"}
    lifecycle = {"replace": "allow"}
    docker.write(
        "dev.yaml", docker_cluster("dev", "k3d", lifecycle, image="rancher/k3s:v1.32.1-k3s1", subnet="10.2.0.0/16")
    )
    docker.apply()
    assert docker.plan() == {}
    assert docker.there()["clusters"]["dev"]["image"] == "rancher/k3s:v1.32.1-k3s1"
    assert docker.there()["networks"]["k3d-dev"]["subnet"] == "10.2.0.0/16"


@pytest.mark.parametrize("provider", ["k3d", "kind"])
def test_another_number_of_nodes_is_another_cluster_and_said_so_by_the_plan(docker: DockerLab, provider: str) -> None:
    docker.write("dev.yaml", docker_cluster("dev", provider))
    docker.apply()
    docker.forget_log()
    docker.write("dev.yaml", docker_cluster("dev", provider, agents=1))
    change = docker.plan()["Cluster/dev"]
    assert (change["action"], change["obstacle"]["reason"]) == ("replace", "ReplaceForbidden")
    assert "spec.agents" in change["why"]
    docker.apply(code=7)
    assert (docker.changing(), docker.made_names()) == ([], ["dev"])
