"""Planning, starting, stopping, loading and checking clusters of kind and k3d on the command line."""

from __future__ import annotations

import json

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster

PROVIDERS = pytest.mark.parametrize("provider", ["k3d", "kind"])
PORTS = {"httpPort": 18090, "httpsPort": 18443}


def test_case_01_dry_run_prints_the_commands_and_runs_none(docker: DockerLab) -> None:
    """A plan has to look; it prints what would create the cluster, and nothing that changes anything is run."""
    docker.write("dev.yaml", docker_cluster("dev", "k3d", ports=PORTS))
    docker.write("dev-a.yaml", docker_cluster("dev-a", "kind"))
    for arguments in (("plan",), ("apply", "--check")):
        text = docker.ok(*arguments, docker.specs)
        lines = [line.strip().removeprefix("$ ") for line in text.splitlines() if line.strip().startswith("$ ")]
        assert lines == [
            "k3d cluster create dev --image rancher/k3s:v1.31.5-k3s1 --network k3d-shared --servers 1 --agents 0 "
            "--port 18090:80@loadbalancer --port 18443:443@loadbalancer",
            "kind create cluster --name dev-a --config FILE --image kindest/node:v1.31.12",
        ]
    assert docker.changing() == []
    assert docker.made_names() == []
    assert docker.row("dev") is None


def test_case_02_wrong_usage(docker: DockerLab) -> None:
    done = docker.run("create")
    assert done.code == 64
    assert "Usage:" in done.text
    docker.write("dev.yaml", docker_cluster("dev", "foo"))
    done = docker.run("validate", docker.specs)
    assert done.code == 1
    assert "foo" in done.text
    assert docker.run("create", "cluster", "dev", "--provider", "foo").code not in (0, 130)
    assert docker.asked() == []


@PROVIDERS
def test_start_and_stop_of_a_cluster_that_the_store_owns(docker: DockerLab, provider: str) -> None:
    docker.ok("create", "cluster", "dev", "--provider", provider)
    assert docker.state("dev") == "running"
    docker.forget_log()
    assert "stand still" in docker.ok("cluster", "stop", "dev")
    assert docker.state("dev") == "stopped"
    docker.ok("cluster", "stop", "dev")
    docker.ok("cluster", "start", "dev")
    assert docker.state("dev") == "running"
    words = {"k3d": "k3d cluster {} dev", "kind": "docker {} dev-control-plane"}[provider]
    assert docker.changing() == [words.format("stop"), words.format("start")]
    docker.ok("cluster", "stop", "dev", "--no-apply")
    assert docker.state("dev") == "running", "that is for the daemon to do"
    docker.ok("delete", "Cluster/dev", "--yes")
    assert docker.made_names() == []


def test_start_and_stop_of_a_cluster_of_a_file_say_what_to_write(docker: DockerLab) -> None:
    path = docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    docker.apply()
    done = docker.run("cluster", "stop", "dev")
    assert done.code == 7
    assert f"is written in {path}" in done.text
    assert "set spec.running: false there" in done.text
    assert "set spec.running: true there" in docker.run("cluster", "start", "dev").text
    assert docker.run("cluster", "stop", "other").code == 64
    assert docker.state("dev") == "running"


def test_a_sandbox_stops_and_starts_too(docker: DockerLab) -> None:
    docker.ok("create", "cluster", "box")
    docker.ok("cluster", "stop", "box")
    assert (docker.state("box"), docker.made()["box"]["state"]) == ("stopped", "stopped")
    assert "0 to create, 0 to update" in docker.ok("plan")
    docker.ok("cluster", "start", "box")
    assert (docker.state("box"), docker.made()["box"]["state"]) == ("running", "running")


@PROVIDERS
def test_load_image(docker: DockerLab, provider: str) -> None:
    docker.write("dev.yaml", docker_cluster("dev", provider))
    docker.apply()
    docker.forget_log()
    docker.ok("cluster", "load-image", "dev", "traefik:v2.10")
    load = {"k3d": "k3d image import traefik:v2.10 -c dev", "kind": "kind load docker-image traefik:v2.10 --name dev"}
    assert docker.changing() == ["docker pull traefik:v2.10", load[provider]]
    assert docker.there()["clusters"]["dev"]["images"] == ["traefik:v2.10"]
    assert "is not the name of an image" in docker.run("cluster", "load-image", "dev", "--", "-c").text
    assert "no cluster other is recorded" in docker.run("cluster", "load-image", "other", "traefik:v2.10").text
    docker.ok("create", "cluster", "box")
    assert "has no nodes on this host" in docker.run("cluster", "load-image", "box", "traefik:v2.10").text


def test_created_stopped(docker: DockerLab) -> None:
    """A cluster that shall stand still from the start is made and verified first."""
    docker.write("dev.yaml", docker_cluster("dev", "k3d", running=False))
    docker.apply()
    assert [name for name, _ in docker.steps("Cluster/dev")][-2:] == ["verify", "stop"]
    assert (docker.state("dev"), docker.plan()) == ("stopped", {})


def test_what_is_missing_is_said_by_name(docker: DockerLab) -> None:
    for tool in ("docker", "k3d"):
        (docker.bin / tool).unlink()
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    text = docker.run("plan", docker.specs).text
    assert "docker and k3d are not on PATH" in text
    docker.install("docker")
    assert "k3d is not on PATH" in docker.run("plan", docker.specs).text
    docker.install("k3d")
    assert docker.plan()["Cluster/dev"]["action"] == "create"


def test_preflight_says_what_the_host_lacks(docker: DockerLab) -> None:
    docker.behave("fail.docker-version", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    assert "the docker engine does not answer: Cannot connect" in docker.run("apply", docker.specs, "--yes").text
    assert docker.row("dev") is None, "nothing was reserved yet"
    assert docker.changing() == []


def findings(docker: DockerLab) -> dict[str, dict[str, str]]:
    """What `doctor` says of each subject."""
    return {found["subject"]: found for found in json.loads(docker.run("doctor", "-o", "json").out)}


def test_doctor_looks_at_the_tools_the_engine_and_the_disk(docker: DockerLab) -> None:
    found = findings(docker)
    assert {found[name]["level"] for name in ("docker", "kind", "k3d")} == {"ok"}
    assert found["docker"]["message"] == "engine 28.3.3"
    assert "MB left" in found["disk"]["message"]
    docker.behave("down")
    found = findings(docker)
    assert found["docker"]["level"] == "warning"
    assert "Is the docker daemon running?" in found["docker"]["message"]
    for tool in ("docker", "kind", "k3d"):
        (docker.bin / tool).unlink()
    found = findings(docker)
    assert {found[name]["message"] for name in ("docker", "kind", "k3d")} == {"not on PATH"}
    assert "clusters of kind and k3d" in found["docker"]["remedy"]
