"""Fixtures of the tests here: an HAProxy that runs, and labs of clusters that are routed to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clusters.docker_lab import DockerLab
from tests.clusters.sandbox_lab import SandboxLab
from tests.routes.haproxy_lab import HaproxyLab, running, serving

BEHIND = ("dev", "uat", "prod", "portainer")
"""What stands behind the HAProxy: an HTTP server each."""


@pytest.fixture(scope="module")
def behind() -> Iterator[dict[str, int]]:
    """Ports of servers by name."""
    with serving(BEHIND) as ports:
        yield ports


@pytest.fixture
def haproxy(tmp_path_factory: pytest.TempPathFactory, behind: dict[str, int]) -> Iterator[HaproxyLab]:
    """An HAProxy without routes."""
    with running(tmp_path_factory.mktemp("h"), behind["portainer"]) as lab:
        yield lab


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory, haproxy: HaproxyLab) -> Iterator[SandboxLab]:
    """A home with clusters of the sandbox, routed to by the HAProxy."""
    made = SandboxLab(tmp_path_factory.mktemp("c"))
    made.configure(kinds={"Cluster": {"haproxy": haproxy.settings}})
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def docker(docker: DockerLab, haproxy: HaproxyLab) -> DockerLab:
    """A home with clusters of kind and k3d, routed to by the HAProxy."""
    docker.configure(kinds={"Cluster": {"haproxy": haproxy.settings}})
    return docker
