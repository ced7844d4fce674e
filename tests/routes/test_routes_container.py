"""An HAProxy in a container: connected to the clusters' networks, asked through docker, its one mounted file kept."""

from __future__ import annotations

import json
from ipaddress import ip_network
from itertools import combinations
from typing import Any

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster
from tests.routes.haproxy_lab import BASE_DOMAIN, NOT_FOUND, PROGRAM, HaproxyLab, needs_haproxy

pytestmark = needs_haproxy
GATEWAY = "haproxy-gw"
INSIDE = "/usr/local/etc/haproxy/haproxy.cfg"


@pytest.fixture
def contained(docker: DockerLab, haproxy: HaproxyLab) -> DockerLab:
    """The lab's HAProxy is one in a container, which has nothing of the host but its file."""
    mounts = [{"Type": "bind", "Source": str(haproxy.file), "Destination": INSIDE, "RW": False}]
    told = {"name": GATEWAY, "pid": haproxy.pid, "program": PROGRAM, "mounts": mounts}
    (docker.engine / "gateway.json").write_text(json.dumps(told))
    settings: dict[str, Any] = {"file": str(haproxy.file), "baseDomain": BASE_DOMAIN, "container": GATEWAY}
    docker.configure(kinds={"Cluster": {"haproxy": {**settings, "timeout": "20s"}}})
    return docker


def attached(docker: DockerLab) -> list[str]:
    return sorted(name for name, one in docker.there()["networks"].items() if GATEWAY in one["attached"])


def test_case_15_the_gateway_is_in_every_network_that_it_needs(contained: DockerLab, haproxy: HaproxyLab) -> None:
    """Connected once each, never again, back when somebody cut it off."""
    inode = haproxy.file.stat().st_ino
    contained.write(
        "all.yaml",
        docker_cluster("dev", "k3d", subnet="10.101.0.0/16", route={}),
        docker_cluster("uat", "k3d", subnet="10.102.0.0/16", route={}),
        docker_cluster("dev-a", "kind", route={}),
    )
    contained.apply()
    assert attached(contained) == ["k3d-dev", "k3d-uat", "kind"]
    connected = contained.commands("docker", "network", "connect")
    assert {command.split()[-1] for command in connected} == {GATEWAY}, "and no other container, Portainer's neither"
    subnets = [ip_network(one["subnet"]) for one in contained.there()["networks"].values() if one["subnet"]]
    assert len(subnets) == 2
    assert not any(one.overlaps(other) for one, other in combinations(subnets, 2)), subnets
    for name, container in (("dev", "k3d-dev-server-0"), ("uat", "k3d-uat-server-0"), ("dev-a", "dev-a-control-plane")):
        assert f"backend be_{name}\n  server s1 {contained.address(container)}:30080 check\n" in haproxy.text
    assert haproxy.file.stat().st_ino == inode, "another file would not be seen in the container"
    assert haproxy.get(f"whoami.dev.{BASE_DOMAIN}") != NOT_FOUND, "loaded, whoever answers at that address"
    assert len(contained.commands("docker", "network", "connect")) == 3
    assert contained.plan() == {}

    contained.by_hand("docker", "network", "disconnect", "--force", "k3d-dev", GATEWAY)
    (diff,) = contained.plan()["Cluster/dev"]["diffs"]
    assert diff["before"] == f"{contained.address('k3d-dev-server-0')}:30080, and {GATEWAY} is not in network k3d-dev"
    contained.forget_log()
    contained.apply()
    assert contained.commands("docker", "network", "connect") == [f"docker network connect k3d-dev {GATEWAY}"]
    assert contained.commands("docker", "kill") == [], "nothing was to be loaded"
    assert contained.plan() == {}

    contained.write("all.yaml", docker_cluster("dev", "k3d", {"state": "absent"}, subnet="10.101.0.0/16", route={}))
    contained.apply()
    assert attached(contained) == ["k3d-uat", "kind"]
    assert "be_dev\n" not in haproxy.text
    assert "be_dev-a\n" in haproxy.text


def test_what_did_not_happen_is_not_believed(contained: DockerLab, haproxy: HaproxyLab) -> None:
    """Neither a connection that docker only claims, nor a file that HAProxy in the container does not take."""
    plain, worker = haproxy.text, haproxy.worker()
    contained.behave("lie.docker-network-connect")
    contained.write("dev.yaml", docker_cluster("dev", "k3d", route={}))
    text = contained.apply(code=None)
    assert f"{GATEWAY} was connected to k3d-shared and has no address in it" in text
    assert haproxy.text == plain
    contained.recover()
    bogus = f"{plain}\nbackend x\n  bogus\n"
    haproxy.file.write_text(bogus)
    text = contained.apply(code=None)
    assert f"HAProxy does not take {haproxy.file}" in text
    assert "unknown keyword 'bogus'" in text
    assert (haproxy.text, haproxy.worker()) == (bogus, worker)
    haproxy.file.write_text(plain)
    contained.apply()
    assert attached(contained) == ["k3d-shared"]
    assert "be_dev" in haproxy.text
    assert haproxy.worker() != worker
