"""A sandbox cluster for tests that need the API and nothing of ours around it."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from prepared import put_schemas

sys.path.insert(0, str(Path(__file__).parent.parent / "sandbox"))  # the sandbox's own starter is next door

from project_lab import LabCluster, ProjectLab, opened
from sandbox_server import Sandbox, write_kubeconfig

from reconciler.transports.kube import KubeTransport


@pytest.fixture(scope="session")
def bare_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox process without clusters."""
    home = tmp_path_factory.mktemp("s")
    put_schemas(home)
    sandbox = Sandbox(home)
    sandbox.start()
    yield sandbox
    sandbox.end()


@pytest.fixture(scope="module")
def bare_kubeconfig(bare_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of a cluster with nothing in it."""
    made = bare_sandbox.create(f"bare-{uuid.uuid4().hex[:6]}", agents=1)
    return write_kubeconfig(tmp_path_factory.mktemp("k") / "kubeconfig", made)


@pytest.fixture
def api(bare_kubeconfig: Path) -> Iterator[KubeTransport]:
    """That cluster's API."""
    with KubeTransport(bare_kubeconfig) as transport:
        yield transport


@pytest.fixture(scope="module")
def lab(bare_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectLab]:
    """A home that knows one cluster, `dev`, which serves Flux' types. Each test has projects of its own in it."""
    yield from opened(tmp_path_factory.mktemp("p"), bare_sandbox)


@pytest.fixture(scope="module")
def prod(lab: ProjectLab) -> LabCluster:
    """Another cluster that the home knows."""
    made = lab.cluster("prod")
    lab.ok("apply", lab.specs, "--yes")
    return made
