"""What a controller owns: found by ownerReferences, adopted and released by labels, written and removed. Called by the
controllers of workloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.sandbox import deletion, selectors
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.deletion import DeleteOptions
from reconciler.sandbox.objects import now
from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.state import Stored

Value = dict[str, Any]


def is_going(stored: Stored) -> bool:
    """Whether its deletion has begun."""
    return "deletionTimestamp" in stored.value["metadata"]


def reference(owner: Stored) -> Value:
    """The ownerReference of a controller."""
    return {
        "apiVersion": owner.value["apiVersion"],
        "kind": owner.value["kind"],
        "name": owner.key.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(value: Mapping[str, Any]) -> Value | None:
    """The ownerReference that says who controls an object."""
    owners = value["metadata"].get("ownerReferences") or ()
    return next((one for one in owners if one.get("controller")), None)


def selects(owner: Mapping[str, Any], labels: Mapping[str, Any] | None) -> bool:
    """Whether a controller's selector means an object with `labels`; an empty one means none."""
    terms = selectors.from_label_selector((owner.get("spec") or {}).get("selector"))
    return bool(terms) and selectors.matches(terms, labels)


def claim(cluster: Cluster, owner: Stored, resource_type: ResourceType) -> list[Stored]:
    """The objects of a type that `owner` controls, going ones included.

    One without a controller that the selector means is adopted; one that it means no longer is released.
    """
    kept: list[Stored] = []
    for stored in cluster.state.dependents(owner.uid):
        controller = controller_of(stored.value)
        if stored.key.resource != resource_type.resource or controller is None or controller.get("uid") != owner.uid:
            continue
        if is_going(stored) or selects(owner.value, stored.value["metadata"].get("labels")):
            kept.append(stored)
        else:
            _release(cluster, owner, stored)
    if not is_going(owner):
        for stored in cluster.state.without_controller(resource_type.resource, owner.key.namespace):
            if not is_going(stored) and selects(owner.value, stored.value["metadata"].get("labels")):
                kept.append(_adopt(cluster, owner, stored))
    return kept


def _adopt(cluster: Cluster, owner: Stored, stored: Stored) -> Stored:
    value = stored.copy()
    others = [one for one in value["metadata"].get("ownerReferences") or () if one.get("uid") != owner.uid]
    value["metadata"]["ownerReferences"] = [*others, reference(owner)]
    return cluster.state.write(stored.key, value)


def _release(cluster: Cluster, owner: Stored, stored: Stored) -> None:
    cluster.state.write(stored.key, without_owner(stored, owner.uid))


def without_owner(stored: Stored, *uids: str) -> Value:
    """The value of an object that the owners of these uids own no longer."""
    value = stored.copy()
    left = [one for one in value["metadata"].get("ownerReferences") or () if one.get("uid") not in uids]
    value["metadata"]["ownerReferences"] = left
    if not left:
        del value["metadata"]["ownerReferences"]
    return value


def update(cluster: Cluster, stored: Stored, value: Value) -> Stored:
    """Write when something changed."""
    return stored if value == stored.value else cluster.state.write(stored.key, value)


def remove(cluster: Cluster, resource_type: ResourceType, stored: Stored) -> None:
    """Delete an object, or begin to when something holds it."""
    deletion.delete_object(cluster, resource_type, stored, DeleteOptions())


def set_condition(status: Value, wanted: tuple[str, str, str, str], *time_fields: str) -> None:
    """Set a condition (type, status, reason, message) in place when it changed.

    time_fields: what the type's conditions carry beside lastTransitionTime (`lastUpdateTime`, `lastProbeTime`).
    """
    kind, word, reason, message = wanted
    conditions: list[Value] = status.setdefault("conditions", [])
    found = next((one for one in conditions if one["type"] == kind), None)
    if found is None:
        found = {"type": kind}
        conditions.append(found)
    if (found.get("status"), found.get("reason"), found.get("message")) == (word, reason, message):
        return
    moment = now()
    if found.get("status") != word:
        found["lastTransitionTime"] = moment
    found.update({"status": word, "reason": reason, "message": message} | dict.fromkeys(time_fields, moment))


def condition(status: Mapping[str, Any] | None, kind: str) -> Value | None:
    """The condition of a type, None when there is none."""
    return next((one for one in (status or {}).get("conditions") or () if one.get("type") == kind), None)


def count_changes(value: Value) -> None:
    """Raise the generation of a value whose spec a controller changed."""
    value["metadata"]["generation"] = int(value["metadata"].get("generation", 0)) + 1
