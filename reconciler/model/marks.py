"""How what we make in a Kubernetes API is told from what others make: names and labels, the same for every kind."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.resource import ResourceRef

FIELD_MANAGER = "reconciler"
"""The name under which we own fields of Kubernetes objects."""
MANAGED_BY = "app.kubernetes.io/managed-by"
KIND_LABEL = "reconciler.dev/kind"
NAME_LABEL = "reconciler.dev/name"


def ownership_labels(ref: ResourceRef) -> dict[str, str]:
    """The labels of an object that was made for a resource; `owner_of` reads them back."""
    return {MANAGED_BY: FIELD_MANAGER, KIND_LABEL: ref.kind, NAME_LABEL: ref.name}


def owner_of(labels: Mapping[str, str]) -> ResourceRef | None:
    """The resource that an object was made for, by its labels; None for what is not ours."""
    kind, name = labels.get(KIND_LABEL, ""), labels.get(NAME_LABEL, "")
    return ResourceRef(kind, name) if labels.get(MANAGED_BY) == FIELD_MANAGER and kind and name else None
