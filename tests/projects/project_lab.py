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

from tests.daemon.lab import Command, Lab, document

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

    def shop(self, name: str, *slugs: str, **spec: Any) -> Shop:
        """A project with a repository of its own that has these overlays, in a file and folder of its own."""
        return Shop(self, name, self.repository(*slugs), dict(spec))

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

    def environments(self, name: str) -> list[dict[str, Any]]:
        """The rows of its environments, in order."""
        sql = "SELECT e.* FROM environments e JOIN projects p ON p.id = e.project_id WHERE p.resource = ?"
        return self.rows(f"{sql} ORDER BY e.sequence", name)

    def close(self) -> None:
        """End everything."""
        self.ends.close()
        super().close()


@dataclass
class Shop:
    """One project of a lab, written, planned and applied by itself. spec: beside cluster and repository."""

    lab: ProjectLab
    name: str
    repository: Repository
    spec: dict[str, Any] = field(default_factory=dict)
    lifecycle: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """Its reference."""
        return f"Project/{self.name}"

    @property
    def folder(self) -> Path:
        """Where its document is, alone."""
        return self.lab.root / "projects" / self.name

    def write(self, **changed: Any) -> Path:
        """Write its document, with these fields of the spec changed for good (None: left out)."""
        self.spec = {name: value for name, value in {**self.spec, **changed}.items() if value is not None}
        repository = {"provider": "generic", "url": self.repository.url, **self.spec.get("repository", {})}
        spec = {"cluster": "dev", **self.spec, "repository": repository}
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "project.yaml"
        path.write_text(document("Project", self.name, spec, self.lifecycle))
        return path

    def apply(self, code: int | None = 0, **changed: Any) -> str:
        """`reconciler apply` of this project alone; what it printed."""
        self.write(**changed)
        done = self.lab.run("apply", self.folder, "--yes", **self.environ)
        assert code is None or done.code == code, f"exit {done.code}, not {code}\n{done.text}"
        assert "Traceback" not in done.text, done.text
        return done.text

    def start(self) -> Command:
        """The same, going on while the test does."""
        self.write()
        return self.lab.start("apply", self.folder, "--yes", **self.environ)

    def plan(self) -> dict[str, Any] | None:
        """What a plan would do with it; None for nothing."""
        self.write()
        found = json.loads(self.lab.ok("plan", self.folder, "-o", "json", **self.environ))
        changes = [one for one in found["changes"] if one["ref"] == self.ref and one["action"] != "noop"]
        return changes[0] if changes else None

    @property
    def row(self) -> dict[str, Any]:
        """Its record."""
        return self.lab.row(self.name)

    @property
    def id(self) -> str:
        """As recorded."""
        return str(self.row["id"])

    @property
    def namespace(self) -> str:
        """Of its Flux objects."""
        return f"project-{self.id}"

    def resources(self) -> list[dict[str, Any]]:
        """The rows of its Flux objects."""
        return self.lab.resources(self.name)

    def steps(self) -> dict[str, str]:
        """The status of each of its steps, in order."""
        return {row["step"]: row["status"] for row in self.lab.init_steps(self.name)}

    def source_path(self) -> str:
        """Of its GitRepository."""
        return f"{SOURCES.format(f'namespaces/{self.namespace}/')}/{self.id[:8]}-repo"

    def kustomization_path(self, slug: str) -> str:
        """Of the Kustomization of an environment."""
        return f"{KUSTOMIZATIONS.format(f'namespaces/{self.namespace}/')}/{self.id[:8]}-{slug}"

    def secret_path(self) -> str:
        """Of its Secret."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.id[:8]}-repo-auth"


def path_of(collection: str, live: Mapping[str, Any]) -> str:
    """Where an object of a collection is."""
    metadata = live["metadata"]
    return f"{collection.format('namespaces/' + metadata['namespace'] + '/')}/{metadata['name']}"


def opened(root: Path, sandbox: Sandbox) -> Iterator[ProjectLab]:
    """A lab with one recorded cluster, `dev`, for a fixture."""
    made = ProjectLab(root, sandbox=sandbox)
    try:
        made.cluster("dev")
        made.ok("apply", made.specs, "--yes")
        yield made
    finally:
        made.close()
