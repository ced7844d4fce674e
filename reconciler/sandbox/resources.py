"""The types that are served: one written table for the built-in ones, and a registry that custom ones join at run time.

Read by `discovery`, `openapi`, `verbs` and `api`. A type outside the registry is answered with 404.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple


class Key(NamedTuple):
    """Where an object is stored: resource (`apps/deployments`, `/pods`), namespace ("" for cluster scope), name."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource finds its numbers, as dotted paths; selector "" when there is none."""

    spec: str = "spec.replicas"
    status: str = "status.replicas"
    selector: str = "spec.selector"


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One type in one version.

    component: name of its OpenAPI component. name_rule: subdomain | label. generation: whether the server counts
    changes of everything but metadata and status. unconditional: whether PUT may leave resourceVersion out.
    returns_deleted: whether DELETE answers the object and not a Status. resets_status: whether a create drops the
    status that a client sent.
    """

    group: str
    version: str
    kind: str
    plural: str
    component: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    model: str = ""
    status: bool = False
    scale: ScalePaths | None = None
    field_labels: frozenset[str] = frozenset()
    name_rule: str = "subdomain"
    generation: bool = False
    unconditional: bool = True
    returns_deleted: bool = False
    resets_status: bool = True
    custom: bool = False
    columns: tuple[Any, ...] = ()

    @property
    def api_version(self) -> str:
        """`apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The first part of a `Key`, the same for every version of the type."""
        return f"{self.group}/{self.plural}"

    @property
    def qualified(self) -> str:
        """`deployments.apps`, `pods`: how messages name the type."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def key(self, namespace: str, name: str) -> Key:
        """The key of one object of this type."""
        return Key(self.resource, namespace if self.namespaced else "", name)

    def supported_fields(self) -> frozenset[str]:
        """The paths that a field selector may name."""
        return self.field_labels | ({"metadata.name", "metadata.namespace"} if self.namespaced else {"metadata.name"})


_POD_FIELDS = frozenset({
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
})  # fmt: skip
_EVENT_FIELDS = frozenset({
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
})  # fmt: skip

NAMESPACES = ResourceType(
    "",
    "v1",
    "Namespace",
    "namespaces",
    "v1.Namespace",
    namespaced=False,
    short_names=("ns",),
    model="V1Namespace",
    status=True,
    field_labels=frozenset({"status.phase", "name"}),
    name_rule="label",
)
NODES = ResourceType(
    "",
    "v1",
    "Node",
    "nodes",
    "v1.Node",
    namespaced=False,
    short_names=("no",),
    model="V1Node",
    status=True,
    field_labels=frozenset({"spec.unschedulable"}),
    resets_status=False,
)
PODS = ResourceType(
    "",
    "v1",
    "Pod",
    "pods",
    "v1.Pod",
    short_names=("po",),
    categories=("all",),
    model="V1Pod",
    status=True,
    field_labels=_POD_FIELDS,
    returns_deleted=True,
)
SERVICES = ResourceType(
    "",
    "v1",
    "Service",
    "services",
    "v1.Service",
    short_names=("svc",),
    categories=("all",),
    model="V1Service",
    status=True,
    field_labels=frozenset({"spec.clusterIP", "spec.type"}),
    name_rule="label",
    returns_deleted=True,
)
CONFIG_MAPS = ResourceType(
    "", "v1", "ConfigMap", "configmaps", "v1.ConfigMap", short_names=("cm",), model="V1ConfigMap"
)
SECRETS = ResourceType("", "v1", "Secret", "secrets", "v1.Secret", model="V1Secret", field_labels=frozenset({"type"}))
SERVICE_ACCOUNTS = ResourceType(
    "",
    "v1",
    "ServiceAccount",
    "serviceaccounts",
    "v1.ServiceAccount",
    short_names=("sa",),
    model="V1ServiceAccount",
    returns_deleted=True,
)
ENDPOINTS = ResourceType("", "v1", "Endpoints", "endpoints", "v1.Endpoints", short_names=("ep",), model="V1Endpoints")
EVENTS = ResourceType(
    "", "v1", "Event", "events", "v1.Event", short_names=("ev",), model="CoreV1Event", field_labels=_EVENT_FIELDS
)
VOLUME_CLAIMS = ResourceType(
    "",
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    "v1.PersistentVolumeClaim",
    short_names=("pvc",),
    model="V1PersistentVolumeClaim",
    status=True,
    returns_deleted=True,
)
DEPLOYMENTS = ResourceType(
    "apps",
    "v1",
    "Deployment",
    "deployments",
    "v1.Deployment",
    short_names=("deploy",),
    categories=("all",),
    model="V1Deployment",
    status=True,
    scale=ScalePaths(),
    generation=True,
)
REPLICA_SETS = ResourceType(
    "apps",
    "v1",
    "ReplicaSet",
    "replicasets",
    "v1.ReplicaSet",
    short_names=("rs",),
    categories=("all",),
    model="V1ReplicaSet",
    status=True,
    scale=ScalePaths(),
    field_labels=frozenset({"status.replicas"}),
    generation=True,
)
DEFINITIONS = ResourceType(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    "v1.CustomResourceDefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    model="V1CustomResourceDefinition",
    status=True,
    generation=True,
)

BUILT_IN = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    ENDPOINTS,
    EVENTS,
    VOLUME_CLAIMS,
    DEPLOYMENTS,
    REPLICA_SETS,
    DEFINITIONS,
)
EXTRA_MODELS = ("V1Scale", "V1DeleteOptions")


class Registry:
    """The types of one cluster by (group, version, plural)."""

    def __init__(self, built_in: Iterable[ResourceType] = BUILT_IN) -> None:
        self._types = {(one.group, one.version, one.plural): one for one in built_in}
        self.revision = 0

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        """The type at that path, None when it is not served."""
        return self._types.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> ResourceType | None:
        """The type that documents of `apiVersion` and `kind` are of."""
        return next((one for one in self if one.kind == kind and one.api_version == api_version), None)

    def replace_group_resource(self, group: str, plural: str, versions: Iterable[ResourceType]) -> None:
        """Serve exactly `versions` of one custom type (none: it is gone)."""
        kept = {key: one for key, one in self._types.items() if (one.group, one.plural) != (group, plural)}
        self._types = kept | {(one.group, one.version, one.plural): one for one in versions}
        self.revision += 1

    def group_versions(self) -> dict[str, list[str]]:
        """Versions by group, the preferred first; the core group is ""."""
        found: dict[str, list[str]] = {}
        for one in self:
            versions = found.setdefault(one.group, [])
            if one.version not in versions:
                versions.append(one.version)
        return {group: sorted(versions, key=version_priority) for group, versions in found.items()}

    def of(self, group: str, version: str) -> list[ResourceType]:
        """The types of one group and version."""
        return [one for one in self if one.group == group and one.version == version]

    def __iter__(self) -> Iterator[ResourceType]:
        return iter(self._types.values())


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sort key that puts v2 before v1 before v1beta2 before v1alpha1 before anything else."""
    number, stage, minor = "", "", ""
    rest = version.removeprefix("v")
    while rest and rest[0].isdigit():
        number, rest = number + rest[0], rest[1:]
    for name in ("alpha", "beta"):
        if rest.startswith(name):
            stage, minor = name, rest.removeprefix(name)
            rest = minor.lstrip("0123456789")
    if not version.startswith("v") or not number or rest:
        return (3, 0, 0, version)
    order = {"": 0, "beta": 1, "alpha": 2}[stage]
    return (order, -int(number), -int(minor or 0), version)
