"""A lab (tests/daemon/lab.py) for projects: their documents, rows and repositories, and clusters behind gates."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api_gate import ApiGate
from git_lab import Repository
from gitops_crds import FLUX, trimmed
from sandbox_server import ApiClient, Sandbox

from tests.daemon.lab import Lab, document

KUSTOMIZATION = {
    "apiVersion": "kustomize.config.k8s.io/v1beta1",
    "kind": "Kustomization",
    "resources": [],
}
SOURCES = "/apis/source.toolkit.fluxcd.io/v1/{}gitrepositories"
KUSTOMIZATIONS = "/apis/kustomize.toolkit.fluxcd.io/v1/{}kustomizations"


@dataclass
class LabCluster:
    """A cluster that a lab knows as one that exists. client: asks it directly, past the gate."""

    name: str
    gate: ApiGate
    client: ApiClient
    kubeconfig: Path

    def list(self, collection: str, namespace: str = "") -> list[dict[str, Any]]:
        """All objects of a collection, in a namespace or everywhere."""
        scope = f"namespaces/{namespace}/" if namespace else ""
        return list(self.client.get(collection.format(scope))["items"])

    def namespaces(self) -> list[str]:
        """The names of those that projects have made."""
        found = self.client.get("/api/v1/namespaces?labelSelector=reconciler.dev/kind=Project")["items"]
        return sorted(one["metadata"]["name"] for one in found)

    def say(self, path: str, *conditions: Mapping[str, Any], **status: Any) -> None:
        """Play Flux: write the status of the object at a path, for its generation."""
        live = self.client.get(path)
        generation = live["metadata"]["generation"]
        whole = [
            {"lastTransitionTime": "2025-01-01T00:00:00Z", "observedGeneration": generation, **one}
            for one in conditions
        ]
        body = {"status": {"observedGeneration": generation, "conditions": whole, **status}}
        code, answer = self.client.call("PATCH", f"{path}/status", body, Content_Type="application/merge-patch+json")
        assert code == 200, answer

    def say_ready(self, message: str = "Applied revision: main@sha1:0123") -> None:
        """Play Flux for everything that is there."""
        ready = {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": message}
        for collection in (SOURCES, KUSTOMIZATIONS):
            for one in self.list(collection):
                self.say(path_of(collection, one), ready)


@dataclass
class ProjectLab(Lab):
    """One home. sandbox: serves its clusters, shared with others."""

    sandbox: Sandbox = field(kw_only=True)
    ends: ExitStack = field(default_factory=ExitStack)
    clusters: dict[str, LabCluster] = field(default_factory=dict)

    def cluster(self, name: str, *, flux: bool = True) -> LabCluster:
        """A new cluster behind a gate, with Flux' types, in the specs as one that exists."""
        made = self.sandbox.create(f"{name}-{uuid.uuid4().hex[:6]}")
        folder = self.root / f"cluster-{name}"
        folder.mkdir()
        gate = ApiGate(made)
        kubeconfig = self.ends.enter_context(gate.open(folder))
        client = ApiClient(made)
        self.ends.callback(client.close)
        found = self.clusters[name] = LabCluster(name, gate, client, kubeconfig)
        if flux:
            self.serve_flux(found)
        spec = {"provider": "existing", "kubeconfig": {"path": str(kubeconfig)}}
        self.write(f"cluster-{name}.yaml", document("Cluster", name, spec))
        return found

    @staticmethod
    def serve_flux(cluster: LabCluster) -> None:
        """Let a cluster serve Flux' types."""
        for definition in trimmed(*FLUX):
            status, answer = cluster.client.call(
                "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition
            )
            assert status == 201, answer
        for collection in (SOURCES, KUSTOMIZATIONS):
            cluster.client.eventually(collection.format(""), lambda status, _found: status == 200)

    def repository(self, *slugs: str, branch: str = "main") -> Repository:
        """A repository with an overlay for each environment."""
        made = Repository(self.root / "git" / f"{uuid.uuid4().hex[:8]}.git", branch)
        names = slugs or ("development", "staging", "production")
        made.commit({f"k8s/overlays/{name}/kustomization.yaml": json.dumps(KUSTOMIZATION) for name in names})
        return made

    def project(self, name: str, url: str, lifecycle: Mapping[str, Any] | None = None, **spec: Any) -> None:
        """Write the document of a project."""
        repository = {"provider": "generic", "url": url, **spec.pop("repository", {})}
        self.write(
            f"{name}.yaml", document("Project", name, {"cluster": "dev", "repository": repository, **spec}, lifecycle)
        )

    def apply(self, *arguments: object, code: int | None = 0, **environment: str) -> str:
        """`reconciler apply` of the specs, without asking; what it printed."""
        done = self.run("apply", self.specs, "--yes", *arguments, **environment)
        assert code is None or done.code == code, f"exit {done.code}, not {code}\n{done.text}"
        assert "Traceback" not in done.text, done.text
        return done.text

    def plan(self, **environment: str) -> dict[str, dict[str, Any]]:
        """What `reconciler plan` wants to change, by reference."""
        found = json.loads(self.ok("plan", self.specs, "-o", "json", **environment))
        return {change["ref"]: change for change in found["changes"] if change["action"] != "noop"}

    def row(self, name: str) -> dict[str, Any]:
        """The record of a project."""
        return self.rows("SELECT * FROM projects WHERE resource = ?", name)[0]

    def resources(self, name: str) -> list[dict[str, Any]]:
        """The rows of its Flux objects."""
        sql = "SELECT g.* FROM gitops_resources g JOIN projects p ON p.id = g.project_id WHERE p.resource = ?"
        return self.rows(f"{sql} ORDER BY g.type, g.name", name)

    def init_steps(self, name: str) -> list[dict[str, Any]]:
        """The rows of its steps, in order."""
        sql = "SELECT s.* FROM project_initialization_steps s JOIN projects p ON p.id = s.project_id"
        return self.rows(f"{sql} WHERE p.resource = ? ORDER BY sequence", name)

    def close(self) -> None:
        """End everything."""
        self.ends.close()
        super().close()


def path_of(collection: str, live: Mapping[str, Any]) -> str:
    """Where an object of a collection is."""
    metadata = live["metadata"]
    return f"{collection.format('namespaces/' + metadata['namespace'] + '/')}/{metadata['name']}"


def opened(root: Path, sandbox: Sandbox) -> Iterator[ProjectLab]:
    """A lab, for a fixture."""
    made = ProjectLab(root, sandbox=sandbox)
    try:
        yield made
    finally:
        made.close()
