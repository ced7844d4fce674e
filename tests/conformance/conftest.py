"""Fixtures: the API server under test, kubectl and the official client for it.

RECONCILER_CONFORMANCE_KUBECONFIG names any API server; without it a sandbox is started. Nothing here or in the tests
may depend on which it is.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prepared import put_schemas

sys.path.insert(0, str(Path(__file__).parent.parent / "sandbox"))  # the sandbox's own starter is next door

from conformance_tools import RUNS, Kubectl, definition
from sandbox_server import Sandbox, write_kubeconfig

VARIABLE = "RECONCILER_CONFORMANCE_KUBECONFIG"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.conformance)


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of the server under test."""
    named = os.environ.get(VARIABLE)
    if named:
        yield Path(named)
        return
    home = tmp_path_factory.mktemp("conformance")
    put_schemas(home / "home")
    sandbox = Sandbox(home / "home")
    sandbox.start()
    yield write_kubeconfig(home / "kubeconfig", sandbox.create("conformance", agents=1))
    sandbox.end()


@pytest.fixture(scope="session")
def admin_kubectl(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl in the default namespace; skips when it is missing or older than 1.30."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    kubectl = Kubectl(kubeconfig, tmp_path_factory.mktemp("kubectl"))
    version = json.loads(kubectl.ok("version", "--client", "-o", "json"))["clientVersion"]
    if (int(version["major"]), int(version["minor"].rstrip("+"))) < (1, 30):
        pytest.skip(f"kubectl {version['gitVersion']} is older than 1.30")
    return kubectl


@pytest.fixture
def namespace(api_client: Any) -> Iterator[str]:
    """A namespace of one's own, deleted after the test."""
    from kubernetes.client import CoreV1Api

    core = CoreV1Api(api_client)
    name = f"conformance-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


@pytest.fixture
def kubectl(admin_kubectl: Kubectl, namespace: str) -> Kubectl:
    """kubectl in a namespace of one's own."""
    return Kubectl(admin_kubectl.kubeconfig, admin_kubectl.home, namespace)


@pytest.fixture(scope="session")
def _pods_run(admin_kubectl: Kubectl) -> bool:
    """Whether the server under test has controllers and Nodes, so that a Deployment becomes available."""
    if VARIABLE not in os.environ:
        return True
    name = f"probe-{uuid.uuid4().hex[:8]}"
    admin_kubectl.ok("create", "deployment", name, f"--image={RUNS}")
    done = admin_kubectl.run("rollout", "status", f"deployment/{name}", "--timeout=90s")
    admin_kubectl.ok("delete", "deployment", name, "--wait=false")
    return done.returncode == 0


@pytest.fixture
def workloads(kubectl: Kubectl, _pods_run: bool) -> Kubectl:
    """kubectl in a namespace of one's own, of a cluster where Pods run; skips where none do (a bare API server)."""
    if not _pods_run:
        pytest.skip("no Pod runs in the cluster under test")
    return kubectl


@pytest.fixture
def api_client(kubeconfig: Path) -> Iterator[Any]:
    """The official client; its connections are closed after the test."""
    from kubernetes import config

    client = config.new_client_from_config(str(kubeconfig))
    yield client
    client.rest_client.pool_manager.clear()


@pytest.fixture
def dynamic_client(api_client: Any, tmp_path: Path) -> Any:
    """The official dynamic client with a discovery cache of its own."""
    from kubernetes.dynamic import DynamicClient

    return DynamicClient(api_client, cache_file=str(tmp_path / "discovery.json"))


@pytest.fixture
def widgets(admin_kubectl: Kubectl) -> Iterator[str]:
    """A custom resource type of one's own; its plural. Kind, group and schema are in `definition`."""
    plural = f"widgets{uuid.uuid4().hex[:8]}"
    admin_kubectl.ok("create", "-f", "-", stdin=definition(plural))
    name = f"{plural}.conformance.example.com"
    admin_kubectl.ok("wait", "--for=condition=Established", f"crd/{name}", "--timeout=60s")
    yield plural
    admin_kubectl.ok("delete", "crd", name, "--ignore-not-found", "--timeout=60s")
