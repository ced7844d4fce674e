"""Clusters of kind and k3d over their whole life, and the command lines that make it, word for word."""

from __future__ import annotations

import json

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster
from tests.daemon.lab import processes_of

PORTS = {"httpPort": 18090, "httpsPort": 18443}
MOTD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "motd"}, "data": {"text": "hello"}}
CREATION = ["preflight", "reserve", "network", "create", "kubeconfig", "address", "wait-api", "manifests"]
CREATION += ["wait-nodes", "record", "verify"]
PROVIDERS = pytest.mark.parametrize("provider", ["k3d", "kind"])
SERVER = {"k3d": "k3d-dev-server-0", "kind": "dev-control-plane"}


def test_the_commands_of_k3d_word_for_word(docker: DockerLab) -> None:
    limits = {"cpus": 4, "memory": "8g"}
    images = ["traefik:v2.10", "traefik/whoami:v1.10.2"]
    spec = {"subnet": "10.101.0.0/16", "ports": PORTS, "resources": limits, "preloadImages": images}
    docker.write("dev.yaml", docker_cluster("dev", "k3d", **spec))
    docker.apply()
    assert docker.changing() == [
        "docker network create k3d-dev --subnet 10.101.0.0/16 --gateway 10.101.0.1 "
        "--opt com.docker.network.bridge.name=br-k3d-dev",
        "k3d cluster create dev --image rancher/k3s:v1.31.5-k3s1 --network k3d-dev --servers 1 --agents 0 "
        "--port 18090:80@loadbalancer --port 18443:443@loadbalancer",
        "docker update --cpus 4 --memory 8g --memory-swap 8g k3d-dev-server-0",
        "docker pull traefik:v2.10",
        "docker pull traefik/whoami:v1.10.2",
        "k3d image import traefik:v2.10 traefik/whoami:v1.10.2 -c dev",
    ]
    assert docker.plan() == {}
    docker.forget_log()
    docker.write("dev.yaml", docker_cluster("dev", "k3d", {"state": "absent"}, **spec))
    docker.apply()
    assert docker.changing() == ["k3d cluster delete dev", "docker network rm k3d-dev"]
    assert docker.there()["networks"] == {}


def test_the_commands_of_kind_word_for_word(docker: DockerLab) -> None:
    limits = {"cpus": 0.5, "memory": "512m"}
    spec = {"ports": PORTS, "resources": limits, "preloadImages": ["traefik:v2.10"]}
    docker.write("dev.yaml", docker_cluster("dev", "kind", **spec))
    docker.apply()
    file = docker.home / "providers" / "dev" / "kind.yaml"
    assert docker.changing() == [
        f"kind create cluster --name dev --config {file} --image kindest/node:v1.31.12",
        "docker update --cpus 0.5 --memory 512m --memory-swap 512m dev-control-plane",
        "docker pull traefik:v2.10",
        "kind load docker-image traefik:v2.10 --name dev",
    ]
    creation = next(run for run in docker.asked() if run["argv"][:2] == ["kind", "create"])
    assert creation["mode"] == "0o600"
    assert creation["config"] == (
        "kind: Cluster\n"
        "apiVersion: kind.x-k8s.io/v1alpha4\n"
        'name: "dev"\n'
        "networking:\n"
        '  apiServerAddress: "0.0.0.0"\n'
        "nodes:\n"
        "- role: control-plane\n"
        "  extraPortMappings:\n"
        "  - {containerPort: 80, hostPort: 18090, protocol: TCP}\n"
        "  - {containerPort: 443, hostPort: 18443, protocol: TCP}\n"
    )
    assert not file.parent.exists(), "what one run needed is thrown away"
    assert docker.plan() == {}
    docker.forget_log()
    docker.write("dev.yaml", docker_cluster("dev", "kind", {"state": "absent"}, **spec))
    docker.apply()
    assert docker.changing() == ["kind delete cluster --name dev"]


def test_a_management_cluster_of_k3d_has_no_ingress_of_its_own(docker: DockerLab) -> None:
    docker.write("devops.yaml", docker_cluster("devops", "k3d", role="management", ports=PORTS, agents=2))
    docker.apply()
    assert docker.commands("k3d", "cluster", "create") == [
        "k3d cluster create devops --image rancher/k3s:v1.31.5-k3s1 --network k3d-shared "
        "--k3s-arg --disable=traefik@server:0 --servers 1 --agents 2 "
        "--port 18090:80@loadbalancer --port 18443:443@loadbalancer"
    ]
    assert docker.commands("docker", "network", "create") == [
        "docker network create k3d-shared --opt com.docker.network.bridge.name=br-k3d-shared"
    ]


@PROVIDERS
def test_a_life(docker: DockerLab, provider: str) -> None:
    """create → nothing to do → stop → nothing → start → nothing → delete → nothing left."""
    docker.write("dev.yaml", docker_cluster("dev", provider, ports=PORTS, manifests=[MOTD]))
    docker.apply()
    assert [name for name, outcome in docker.steps("Cluster/dev") if outcome == "done"] == CREATION
    assert docker.plan() == {}
    row = docker.row("dev")
    assert row is not None
    assert (row["actual_state"], row["reconcile_error"], row["version"][:5]) == ("running", None, "1.31.")
    assert row["server_ip"] == docker.address(SERVER[provider])

    docker.forget_log()
    docker.write("dev.yaml", docker_cluster("dev", provider, ports=PORTS, manifests=[MOTD], running=False))
    docker.apply()
    stop = "k3d cluster stop dev" if provider == "k3d" else "docker stop dev-control-plane"
    assert docker.changing() == [stop]
    assert docker.state("dev") == "stopped"
    assert docker.plan() == {}

    docker.forget_log()
    docker.write("dev.yaml", docker_cluster("dev", provider, ports=PORTS, manifests=[MOTD]))
    assert docker.plan()["Cluster/dev"]["steps"][0]["name"] == "start"
    docker.apply()
    start = "k3d cluster start dev" if provider == "k3d" else "docker start dev-control-plane"
    assert docker.changing() == [start]
    assert (docker.state("dev"), docker.plan()) == ("running", {})

    docker.write("dev.yaml", docker_cluster("dev", provider, {"state": "absent"}, ports=PORTS, manifests=[MOTD]))
    docker.apply()
    assert (docker.row("dev"), docker.made_names()) == (None, [])
    assert not (docker.kubeconfigs / "dev.yaml").exists()
    assert docker.is_whole()
    assert processes_of(docker.root) == {}


@PROVIDERS
def test_the_kubeconfig_is_checked_by_its_authority_and_leads_to_this_host(docker: DockerLab, provider: str) -> None:
    docker.write("dev.yaml", docker_cluster("dev", provider))
    docker.apply()
    path = docker.kubeconfigs / "dev.yaml"
    kept = json.loads(path.read_text())
    (cluster,) = (entry["cluster"] for entry in kept["clusters"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert cluster["certificate-authority-data"]
    assert "insecure-skip-tls-verify" not in cluster
    assert cluster["server"].startswith("https://127.0.0.1:")
    assert kept["current-context"] == f"{provider}-dev"
    assert not (docker.root / ".kube").exists(), "the user's own kubeconfig is nobody's business"
    runs = [run for run in docker.asked() if "create" in run["argv"] and run["argv"][0] == provider]
    assert runs[0]["kubeconfig"].startswith(str(docker.home))


@PROVIDERS
def test_nothing_that_the_tools_print_in_confidence_is_kept(docker: DockerLab, provider: str) -> None:
    """Nodes have tokens in their environment, kubeconfigs are keys: neither is in the store or its logs."""
    docker.write("dev.yaml", docker_cluster("dev", provider))
    printed = docker.apply()
    token = json.loads((docker.kubeconfigs / "dev.yaml").read_text())["users"][0]["user"]["token"]
    stored = docker.database.read_bytes() + (
        docker.database.with_name("reconciler.db-wal").read_bytes()
        if docker.database.with_name("reconciler.db-wal").exists()
        else b""
    )
    for secret in (token, "token-that-nobody-may-see"):
        assert secret not in printed
        assert secret not in docker.ok("logs", "Cluster/dev")
        assert secret.encode() not in stored
