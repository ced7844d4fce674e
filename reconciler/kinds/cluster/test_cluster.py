"""The kind itself: its schema, its cases, and the harness with which the contract of kinds is tested on it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from reconciler.errors import SpecError
from reconciler.kinds.cluster import KIND
from reconciler.kinds.cluster.providers import providers
from reconciler.kinds.cluster.rows import kubeconfig_path
from reconciler.model.digest import stored_form
from reconciler.model.observation import Observation
from reconciler.model.record import Record
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source
from reconciler.model.secret import SpecFile
from reconciler.planning.decide import Judgement, decide
from reconciler.transports.kube import KubeTransport

FOLDER = Path(__file__).parent
CASES = sorted((FOLDER / "cases").glob("*.yaml"))
REF = ResourceRef("Cluster", "case")


@dataclass(frozen=True)
class Harness:
    """How the contract test drives a kind against its real live system.

    name: of the resource. settings: the kind's section. spec: what to create; updated_spec: the same with something to
    update. drift: change the live system by hand, so that an update is due. is_absent: whether nothing of it is left.
    close: end what the live system needs; call it for every home.
    """

    kind: str = "Cluster"
    name: str = "contract"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "motd"}, "data": {"text": "hello"}}
        return {"provider": "sandbox", "manifests": [manifest]}

    def updated_spec(self) -> dict[str, Any]:
        return {**self.spec(), "agents": 1, "environment": "dev"}

    def drift(self, home: Path) -> None:
        with KubeTransport(kubeconfig_path(home, self.name)) as api:
            assert api.delete("/api/v1/namespaces/default/configmaps/motd")

    def is_absent(self, home: Path) -> bool:
        gone = ask_sandbox(home, "GET", f"/clusters/{self.name}")[0] == 404
        return gone and not kubeconfig_path(home, self.name).exists()

    def close(self, home: Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "reconciler.sandbox", "stop", "--home", str(home)], check=True, capture_output=True
        )


HARNESS = Harness()


def ask_sandbox(home: Path, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request to the admin socket of a home's sandbox, as somebody would make it by hand."""
    connection = HTTPConnection("sandbox", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.connect(str(home / "sandbox" / "admin.sock"))
        connection.request(method, path, body=None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def resource(spec: dict[str, Any], lifecycle: dict[str, Any] | None = None) -> Resource:
    kubeconfig = spec.get("kubeconfig")
    if kubeconfig:
        spec = {**spec, "kubeconfig": {**kubeconfig, "path": SpecFile(kubeconfig["path"], "0" * 64)}}
    source = Source("file:/srv/specs/case.yaml", 1, 1)
    return Resource(REF, spec, lifecycle=Lifecycle.from_document(lifecycle or {}), source=source, generation=1)


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    jsonschema.validate(case["spec"], KIND.schema)
    wanted = resource(case["spec"], case.get("lifecycle"))
    record = Record(REF, wanted, applied=case.get("applied"), touched=True)
    change = decide(Judgement({"Cluster": KIND}), REF, wanted, record, Observation(REF, case["observed"]))
    expected = case["plan"]
    assert change.action == expected["action"], case["title"]
    assert [step.name for step in change.steps] == expected["steps"]
    assert (change.obstacle.reason if change.obstacle else None) == expected.get("obstacle")
    if "paths" in expected:
        assert sorted(entry.path for entry in change.diffs) == sorted(expected["paths"])


def test_the_weights_of_a_creation_and_of_a_deletion_sum_to_100() -> None:
    for lifecycle, observed in (({}, None), ({"state": "absent"}, {"provider": "sandbox", "state": "running"})):
        wanted = resource({}, lifecycle)
        record = Record(REF, wanted, touched=True)
        change = decide(Judgement({"Cluster": KIND}), REF, wanted, record, Observation(REF, observed))
        assert sum(step.weight for step in change.steps) == 100


VALID: list[dict[str, Any]] = [
    {},
    {"provider": "sandbox", "version": "v1.31.5", "servers": 3, "agents": 2},
    {"provider": "existing", "kubeconfig": {"path": "~/.kube/config", "context": "prod"}},
    {"manifests": ["a.yaml", {"apiVersion": "v1"}], "ready": {"nodes": 0, "timeout": "1m30s"}},
    {"ports": {"nodePort": 30080, "pfPort": 19001, "httpPort": 18090, "httpsPort": 18443}},
    {"provider": "k3d", "image": "rancher/k3s:v1.31.5-k3s1", "subnet": "10.101.0.0/16", "running": False},
    {"provider": "kind", "resources": {"cpus": 0.5, "memory": "8g"}, "preloadImages": ["traefik:v2.10"]},
    {"role": "management", "environment": "prod", "description": "d", "createTimeout": "500ms"},
]
INVALID: list[dict[str, Any]] = [
    {"provider": "k9s"},
    {"provider": "existing"},
    {"provider": "existing", "kubeconfig": {"path": "x"}, "version": "1.31"},
    {"provider": "existing", "kubeconfig": {"path": "x"}, "servers": 1},
    {"provider": "existing", "kubeconfig": {"context": "x"}},
    {"provider": "sandbox", "kubeconfig": {"path": "x"}},
    {"kubeconfig": {"path": "x"}},
    {"version": "latest"},
    {"version": 1.31},
    {"servers": 0},
    {"agents": -1},
    {"ports": {"httpPort": 80}},
    {"ports": {"httpPort": 65536}},
    {"ports": {"nodePort": 29999}},
    {"ports": {"sshPort": 2222}},
    {"manifests": [5]},
    {"manifests": [""]},
    {"createTimeout": "soon"},
    {"ready": {"nodes": "all"}},
    {"provider": "k3d", "subnet": "10.256.0.0/16"},
    {"provider": "k3d", "subnet": "999.1.1.1/99"},
    {"provider": "k3d", "subnet": "10.101.0.0"},
    {"provider": "k3d", "subnet": "10.101.0.0/29"},
    {"provider": "kind", "subnet": "10.101.0.0/16"},
    {"provider": "k3d", "image": "--privileged"},
    {"provider": "k3d", "resources": {"cpus": 0}},
    {"provider": "k3d", "resources": {"memory": "much"}},
    {"provider": "k3d", "preloadImages": ["-c"]},
    {"image": "rancher/k3s:v1.31.5-k3s1"},
    {"resources": {"cpus": 1}},
    {"preloadImages": []},
    {"provider": "existing", "kubeconfig": {"path": "x"}, "running": False},
    {"role": "king"},
    {"colour": "red"},
]


@pytest.mark.parametrize("spec", VALID)
def test_the_schema_takes(spec: dict[str, Any]) -> None:
    jsonschema.validate(spec, KIND.schema)


@pytest.mark.parametrize("spec", INVALID)
def test_the_schema_refuses(spec: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spec, KIND.schema)


def test_the_providers_found_are_the_values_of_the_field() -> None:
    assert KIND.schema["properties"]["provider"]["enum"] == sorted(providers())
    assert {"existing", "k3d", "kind", "sandbox"} <= set(providers())


def test_each_cluster_is_a_target_of_its_own() -> None:
    assert KIND.target(resource({})) == "cluster/case"


def test_a_relative_kubeconfig_is_relative_to_its_document() -> None:
    spec = {"provider": "existing", "kubeconfig": {"path": "keys/prod.yaml"}}
    assert KIND.normalize(resource(spec))["kubeconfig"] == {"path": "/srv/specs/keys/prod.yaml", "context": ""}


def test_wrong_manifests_are_spec_errors() -> None:
    with pytest.raises(SpecError, match=r"manifests\[0\] has no kind"):
        KIND.normalize(resource({"manifests": [{"apiVersion": "v1", "metadata": {"name": "a"}}]}))


def test_a_cluster_can_be_deleted_from_the_stored_form_of_its_spec() -> None:
    spec = {"manifests": [SpecFile("all.yaml", "0" * 64, "kind: X")], "ports": {"httpPort": 18090}}
    stored = resource(stored_form(spec, b"key"))
    record = Record(REF, stored, vanished=True, touched=True)
    seen = Observation(REF, {"provider": "sandbox", "state": "running"})
    change = decide(Judgement({"Cluster": KIND}, prune=True), REF, None, record, seen)
    assert [step.name for step in change.steps] == ["mark", "delete", "remove-kubeconfig", "forget"]


def test_importing_the_kind_imports_nothing_heavy() -> None:
    heavy = ("sqlalchemy", "http.client", "ssl", "kubernetes", "yaml", "subprocess")
    script = f"import sys, reconciler.kinds.cluster; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
