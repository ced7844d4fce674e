"""What a served type is, and where its objects are kept: the nouns that the table in `resources` is made of.

Read by everything that handles objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

OBJECT_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


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
    status that a client sent. stored_as: resource whose objects these are in another form ("" when they are its own).
    verbs: what may be done; a type with `create` alone is a question, answered and never stored.
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
    stored_as: str = ""
    verbs: tuple[str, ...] = OBJECT_VERBS

    @property
    def api_version(self) -> str:
        """`apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The first part of a `Key`, the same for every version of the type."""
        return self.stored_as or f"{self.group}/{self.plural}"

    @property
    def is_question(self) -> bool:
        """Whether objects of this type are answered and never stored."""
        return self.verbs == ("create",)

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
