"""The Kubernetes objects of a project, from its spec and its id alone. Pure: no records, no cluster, no queue.

Called by the kind (what is wanted), by `looking` (what is compared) and by `applying` (what is sent). As long as the id
is not known, and in every plan, `${project_id}` and `${id8}` stand in names; `filled` puts it in.

In each cluster of a project: its namespace, the Secret that Flux reads the repository with (only with credentials), one
GitRepository, and a Kustomization for each of its environments there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from reconciler.kinds.project.spec import ID8, PROJECT_ID, EnvironmentSpec, ProjectSpec, with_id
from reconciler.model.marks import ownership_labels
from reconciler.model.resource import ResourceRef
from reconciler.planning.secret_values import wrapped

SOURCE_API = "source.toolkit.fluxcd.io/v1"
KUSTOMIZE_API = "kustomize.toolkit.fluxcd.io/v1"
SOURCE_NAME = f"{ID8}-repo"
SECRET_NAME = f"{ID8}-repo-auth"
PROJECT_LABEL = "reconciler.dev/project-id"
ENVIRONMENT_LABEL = "reconciler.dev/environment"
REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
PRESENT = "present"
"""Instead of a manifest: a namespace that is not ours alone only has to be there."""

Object = Mapping[str, Any]
Wanted = Mapping[str, Any]
"""The objects of a project in one cluster: `namespaces` by name, `secret`, `source`, `kustomizations` by slug."""


class Type(NamedTuple):
    """A type of object that we make. collection: its API path, with `{}` for the namespace."""

    kind: str
    api_version: str
    collection: str

    def path(self, namespace: str = "", name: str = "") -> str:
        """Of one object; without a name of all in a namespace, without either of all."""
        base = self.collection.format(f"namespaces/{namespace}/" if namespace and "{}" in self.collection else "")
        return f"{base}/{name}" if name else base


NAMESPACE = Type("Namespace", "v1", "/api/v1/namespaces")
SECRET = Type("Secret", "v1", "/api/v1/{}secrets")
SOURCE = Type("GitRepository", SOURCE_API, f"/apis/{SOURCE_API}/{{}}gitrepositories")
KUSTOMIZATION = Type("Kustomization", KUSTOMIZE_API, f"/apis/{KUSTOMIZE_API}/{{}}kustomizations")
TYPES = (NAMESPACE, SECRET, SOURCE, KUSTOMIZATION)
"""In the order in which they are applied."""
BY_KIND = {one.kind: one for one in TYPES}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one object of a project is. part: its path below `clusters.<cluster>` in the normal form."""

    cluster: str
    part: tuple[str, ...]
    kind: str
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """In the API of the cluster."""
        return BY_KIND[self.kind].path(self.namespace, self.name)

    def __str__(self) -> str:
        scope = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {scope}{self.name} in cluster {self.cluster}"


def objects_of(spec: ProjectSpec) -> dict[str, Wanted]:
    """The wanted objects by cluster, the project's own first, ids as placeholders and secrets wrapped."""
    return {cluster: _in_cluster(spec, cluster) for cluster in spec.clusters}


def filled(value: Any, project_id: str) -> Any:
    """The same with the id in every name."""
    if isinstance(value, str):
        return with_id(value, project_id) if "${" in value else value
    if isinstance(value, Mapping):
        return {with_id(name, project_id): filled(member, project_id) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [filled(member, project_id) for member in value]
    return value


def places(cluster: str, wanted: Wanted) -> Iterator[tuple[Place, Any]]:
    """Every object of a cluster with its place, in the order in which they are applied; deletions go the other way."""
    for name, manifest in wanted["namespaces"].items():
        yield Place(cluster, ("namespaces", name), NAMESPACE.kind, "", name), manifest
    for part in ("secret", "source"):
        if part in wanted:
            yield _place(cluster, (part,), wanted[part]), wanted[part]
    for slug, manifest in wanted["kustomizations"].items():
        yield _place(cluster, ("kustomizations", slug), manifest), manifest


def namespace_object(ref: ResourceRef, name: str) -> dict[str, Any]:
    """A namespace that says who made it, and for which project."""
    labels = {**ownership_labels(ref), PROJECT_LABEL: PROJECT_ID}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _place(cluster: str, part: tuple[str, ...], manifest: Object) -> Place:
    metadata = manifest["metadata"]
    return Place(cluster, part, manifest["kind"], metadata["namespace"], metadata["name"])


def _in_cluster(spec: ProjectSpec, cluster: str) -> Wanted:
    here = spec.in_cluster(cluster)
    ref = ResourceRef("Project", spec.name)
    names = dict.fromkeys((spec.namespace, *(one.namespace for one in here if one.namespace)))
    wanted: dict[str, Any] = {
        "namespaces": {name: namespace_object(ref, name) if PROJECT_ID in name else PRESENT for name in names}
    }
    secret = _secret(spec)
    if secret is not None:
        wanted["secret"] = secret
    wanted["source"] = _source(spec, with_secret=secret is not None)
    before: dict[str, str] = {}
    if spec.flux.depends_on:
        before = {one.slug: other.slug for other, one in pairwise(here)}
    wanted["kustomizations"] = {one.slug: _kustomization(spec, one, before.get(one.slug, "")) for one in here}
    return wanted


def _metadata(spec: ProjectSpec, name: str, **labels: str) -> dict[str, Any]:
    ours = {**ownership_labels(ResourceRef("Project", spec.name)), PROJECT_LABEL: PROJECT_ID, **labels}
    return {"name": name, "namespace": spec.namespace, "labels": ours}


def _secret(spec: ProjectSpec) -> Object | None:
    """What Flux reads the repository with: a user and a token, or a key and the host keys that it may meet."""
    auth = spec.repository.auth
    if auth is None:
        return None
    if spec.repository.flux_url.startswith("ssh://"):
        kind, values = "Opaque", {"identity": auth.ssh_key, "known_hosts": auth.known_hosts}
    elif auth.token is not None:
        kind, values = "kubernetes.io/basic-auth", {"username": auth.username, "password": auth.token}
    else:
        return None
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(spec, SECRET_NAME), "type": kind}
    return wrapped({**manifest, "stringData": values}, "repository.auth")


def _source(spec: ProjectSpec, *, with_secret: bool) -> Object:
    wanted: dict[str, Any] = {
        "interval": spec.flux.interval,
        "url": spec.repository.flux_url,
        "ref": {"branch": spec.repository.branch},
        "suspend": False,
    }
    if with_secret:
        wanted["secretRef"] = {"name": SECRET_NAME}
    return {"apiVersion": SOURCE_API, "kind": "GitRepository", "metadata": _metadata(spec, SOURCE_NAME), "spec": wanted}


def _kustomization(spec: ProjectSpec, environment: EnvironmentSpec, before: str) -> Object:
    """As the predecessor made it; what it never set stands in it only where the document says so."""
    flux = spec.flux
    wanted: dict[str, Any] = {
        "interval": flux.interval,
        "path": environment.path,
        "prune": flux.prune,
        "sourceRef": {"kind": "GitRepository", "name": SOURCE_NAME},
    }
    optional = {
        "timeout": flux.timeout,
        "retryInterval": flux.retry_interval,
        "wait": flux.wait,
        "suspend": environment.suspend,
        "targetNamespace": environment.namespace,
        "healthChecks": [{"namespace": environment.namespace or spec.namespace, **one} for one in flux.health_checks],
        "dependsOn": [{"name": f"{ID8}-{before}"}] if before else [],
    }
    metadata = _metadata(spec, f"{ID8}-{environment.slug}", **{ENVIRONMENT_LABEL: environment.slug})
    kept = {name: value for name, value in optional.items() if value}
    return {"apiVersion": KUSTOMIZE_API, "kind": "Kustomization", "metadata": metadata, "spec": {**wanted, **kept}}


def wanted_environment(one: EnvironmentSpec, sequence: int) -> dict[str, Any]:
    """What is compared of the row of an environment."""
    return {
        "name": one.name,
        "type": one.type,
        "description": one.description,
        "approvalRequired": one.approval_required,
        "minApprovals": one.min_approvals,
        "cluster": one.cluster,
        "namespace": one.namespace,
        "path": one.path,
        "sequence": sequence,
    }
