"""The pure parts of clusters in docker: names, images, versions, amounts, files and kubeconfigs."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SpecError, TransientError
from reconciler.kinds.cluster.providers import docker, docker_networks, in_containers, provider_named, providers
from reconciler.kinds.cluster.providers.docker_clusters import ports_of, usable_kubeconfig
from reconciler.kinds.cluster.providers.k3d import K3d
from reconciler.kinds.cluster.providers.kind import Kind, config_text
from reconciler.kinds.cluster.spec import ClusterSpec, parse_memory

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", fullmatch=True)


@given(NAMES)
def test_a_bridge_fits_the_kernel_and_is_always_the_same(name: str) -> None:
    bridge = docker_networks.bridge_of(f"k3d-{name}")
    assert len(bridge) <= docker_networks.BRIDGE_LENGTH
    assert bridge == docker_networks.bridge_of(f"k3d-{name}")
    assert len(name) > 8 or bridge == f"br-k3d-{name}"


@given(st.sets(NAMES, min_size=2, max_size=20))
def test_bridges_of_different_clusters_differ(names: set[str]) -> None:
    assert len({docker_networks.bridge_of(f"k3d-{name}") for name in names}) == len(names)


@pytest.mark.parametrize(
    ("subnet", "gateway"),
    [("10.101.0.0/16", "10.101.0.1"), ("10.5.32.0/20", "10.5.32.1"), ("192.0.2.0/24", "192.0.2.1")],
)
def test_a_network_has_its_first_address_as_gateway(subnet: str, gateway: str) -> None:
    argv = docker_networks.creation("k3d-dev", subnet)
    assert argv[argv.index("--gateway") + 1] == gateway


@pytest.mark.parametrize(
    ("there", "wanted", "same"),
    [
        ("rancher/k3s:v1.31.5-k3s1", "rancher/k3s:v1.31.5-k3s1", True),
        ("registry.example/rancher/k3s:v1.31.5-k3s1", "rancher/k3s:v1.31.5-k3s1", True),
        ("registry.example/library/traefik:v2.10", "traefik:v2.10", True),
        ("registry.example/library/traefik:latest", "traefik", True),
        ("registry.example/library/traefik:v2.10", "other.example/traefik:v2.10", False),
        ("registry.example/mine/traefik:v2.10", "traefik:v2.10", False),
        ("localhost:5000/traefik:v2.10", "localhost:5000/traefik:v2.10", True),
        ("localhost/traefik:v2.10", "localhost/traefik:v2.1", False),
        ("traefik@sha256:ab", "traefik:latest", False),
        ("kindest/node@sha256:ab", "kindest/node:v1.31.12@sha256:ab", True),
        ("kindest/node:v1.31.12@sha256:ab", "kindest/node:v1.31.12@sha256:ab", True),
        ("kindest/node@sha256:cd", "kindest/node:v1.31.12@sha256:ab", False),
        ("rancher/k3s:v1.31.6-k3s1", "rancher/k3s:v1.31.5-k3s1", False),
        ("", "rancher/k3s:v1.31.5-k3s1", False),
    ],
)
def test_which_image_is_the_wanted_one(there: str, wanted: str, same: bool) -> None:
    assert docker.is_image(there, wanted) is same


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("rancher/k3s:v1.31.5-k3s1", "1.31.5"),
        ("kindest/node:v1.31.12@sha256:ab", "1.31.12"),
        ("localhost:5000/k3s:latest", ""),
        ("kindest/node@sha256:1.2.3", ""),
    ],
)
def test_the_version_in_an_image(image: str, version: str) -> None:
    assert docker.version_in(image) == version


@given(st.integers(min_value=1, max_value=2**50))
def test_an_amount_of_memory_survives_being_written(count: int) -> None:
    assert parse_memory(docker.shown_memory(count)) == count


@pytest.mark.parametrize(("text", "count"), [("8g", 8 * 1024**3), ("512M", 512 * 1024**2), ("1024", 1024), ("0", 0)])
def test_an_amount_of_memory(text: str, count: int) -> None:
    assert parse_memory(text) == count


@pytest.mark.parametrize(
    "text", ["10.101.0.4172.18.0.6", "10.1.1.1 172.18.0.6", "", None, "::1", "999.1.1.1", "invalid IP"]
)
def test_what_is_no_single_address(text: str | None) -> None:
    assert docker.valid_address(text) is None


def test_an_image_by_version() -> None:
    assert K3d().image_of(ClusterSpec("a", version="v1.32.1")) == "rancher/k3s:v1.32.1-k3s1"
    assert Kind().image_of(ClusterSpec("a", version="1.32.1")) == "kindest/node:v1.32.1"
    assert Kind().image_of(ClusterSpec("a", version="1.32", image="mine:1")) == "mine:1"
    with pytest.raises(SpecError, match=r"provider kind needs the image of 1\.32: write a full version"):
        Kind().image_of(ClusterSpec("a", version="1.32"))


@pytest.mark.parametrize("name", ["dev", "123", "null", "1e3", "true"])
def test_the_file_of_kind_is_yaml_that_says_just_that(name: str) -> None:
    ports = {"httpPort": 18090, "httpsPort": 18443}
    document = yaml.safe_load(config_text(ClusterSpec(name, servers=2, agents=1), ports))
    pairs = [(80, 18090), (443, 18443)]
    mappings = [{"containerPort": inside, "hostPort": port, "protocol": "TCP"} for inside, port in pairs]
    assert document == {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": name,
        "networking": {"apiServerAddress": "0.0.0.0"},
        "nodes": [
            {"role": "control-plane", "extraPortMappings": mappings},
            {"role": "control-plane"},
            {"role": "worker"},
        ],
    }
    assert "extraPortMappings" not in config_text(ClusterSpec(name), {"httpPort": 18090})


@pytest.mark.parametrize(
    ("provider", "servers", "agents", "names"),
    [
        ("k3d", 1, 0, ["k3d-a-server-0"]),
        ("k3d", 2, 1, ["k3d-a-server-0", "k3d-a-server-1", "k3d-a-agent-0"]),
        ("kind", 1, 0, ["a-control-plane"]),
        ("kind", 3, 2, ["a-control-plane", "a-control-plane2", "a-control-plane3", "a-worker", "a-worker2"]),
    ],
)
def test_the_names_of_nodes(provider: str, servers: int, agents: int, names: list[str]) -> None:
    found = provider_named(provider)
    assert in_containers(found)
    assert found.nodes_of(ClusterSpec("a", servers=servers, agents=agents)) == names


def test_only_kind_and_k3d_have_containers() -> None:
    assert sorted(name for name, provider in providers().items() if in_containers(provider)) == ["k3d", "kind"]


def test_allocated_ports_count_before_those_of_the_spec() -> None:
    spec = ClusterSpec("a", ports={"httpPort": 18090, "nodePort": 30080})
    row: dict[str, Any] = {"http_port": 18091, "https_port": 18443, "node_port": None, "pf_port": None}
    assert ports_of(spec, row) == {"httpPort": 18091, "httpsPort": 18443, "nodePort": 30080}
    assert ports_of(spec, None) == {"httpPort": 18090, "nodePort": 30080}


KUBECONFIG = """
---
apiVersion: v1
kind: Config
clusters:
- name: k3d-dev
  cluster: {certificate-authority-data: QQ==, insecure-skip-tls-verify: true, server: 'https://0.0.0.0:6550'}
"""


def test_a_kubeconfig_is_never_insecure_beside_an_authority() -> None:
    (entry,) = usable_kubeconfig(KUBECONFIG)["clusters"]
    assert entry["cluster"] == {
        "certificate-authority-data": "QQ==",
        "server": "https://127.0.0.1:6550",
        "tls-server-name": "localhost",
    }
    elsewhere = KUBECONFIG.replace("0.0.0.0", "docker.example")
    assert usable_kubeconfig(elsewhere)["clusters"][0]["cluster"]["server"] == "https://docker.example:6550"


@pytest.mark.parametrize("text", ["", "---\n", "[]", "a: b", "clusters: [1]", "clusters: [{name: x}]", "{", "\t: :"])
def test_what_is_no_kubeconfig(text: str) -> None:
    with pytest.raises(TransientError, match="is none"):
        usable_kubeconfig(text)
