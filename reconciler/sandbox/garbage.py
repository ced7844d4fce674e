"""Garbage collection: what has lost its owners goes, what waits for its dependents goes last. Called by `controllers`.

An owner counts when it lives, and lives where its reference can reach it: in the same namespace or in none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.sandbox import deletion
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.deletion import FOREGROUND, ORPHAN, DeleteOptions
from reconciler.sandbox.ownership import is_going, without_owner
from reconciler.sandbox.state import Stored


def collect(cluster: Cluster, stored: Stored) -> bool:
    """Bring one object on as far as its owners and dependents ask for; True: nothing else is to be done with it."""
    finalizers = stored.value["metadata"].get("finalizers") or ()
    if is_going(stored):
        if ORPHAN in finalizers:
            for dependent in cluster.state.dependents(stored.uid):
                cluster.state.write(dependent.key, without_owner(dependent, stored.uid))
            return drop_finalizer(cluster, stored, ORPHAN)
        if FOREGROUND in finalizers and not _delete_dependents(cluster, stored):
            return drop_finalizer(cluster, stored, FOREGROUND)
        return False
    references = stored.value["metadata"].get("ownerReferences") or ()
    if not references:
        return False
    owners = {str(one.get("uid")): _owner(cluster, stored, one) for one in references}
    lost = [uid for uid, owner in owners.items() if owner is None]
    waiting = [uid for uid, owner in owners.items() if owner is not None and _waits(owner)]
    if len(lost) + len(waiting) < len(owners):
        if lost or waiting:
            cluster.state.write(stored.key, without_owner(stored, *lost, *waiting))
        return False
    policy = "Foreground" if waiting else "Background"
    return _delete(cluster, stored, policy)


def _owner(cluster: Cluster, stored: Stored, reference: Mapping[str, Any]) -> Stored | None:
    owner = cluster.state.by_uid(str(reference.get("uid")))
    if owner is None or owner.key.namespace not in ("", stored.key.namespace):
        return None
    same = (owner.value.get("kind"), owner.key.name) == (reference.get("kind"), reference.get("name"))
    return owner if same else None


def _waits(owner: Stored) -> bool:
    """Whether an owner is only there until its dependents are gone."""
    return is_going(owner) and FOREGROUND in (owner.value["metadata"].get("finalizers") or ())


def _delete(cluster: Cluster, stored: Stored, policy: str) -> bool:
    resource_type = cluster.registry.of_resource(stored.key.resource)
    if resource_type is None:
        return False
    deletion.delete_object(cluster, resource_type, stored, DeleteOptions(propagation=policy))
    return True


def _delete_dependents(cluster: Cluster, owner: Stored) -> bool:
    """Delete what only `owner` owns; whether something is left that blocks its end."""
    for stored in cluster.state.dependents(owner.uid):
        if not is_going(stored):
            collect(cluster, stored)
    return any(_blocks(stored, owner.uid) for stored in cluster.state.dependents(owner.uid))


def _blocks(stored: Stored, uid: str) -> bool:
    references = stored.value["metadata"].get("ownerReferences") or ()
    return any(one.get("uid") == uid and one.get("blockOwnerDeletion") for one in references)


def drop_finalizer(cluster: Cluster, stored: Stored, finalizer: str) -> bool:
    """Take one finalizer from an object that is being deleted, and the object out when that was the last; True."""
    value = stored.copy()
    left = [one for one in value["metadata"].get("finalizers") or () if one != finalizer]
    value["metadata"]["finalizers"] = left
    if not left:
        del value["metadata"]["finalizers"]
    if deletion.is_finished(value):
        deletion.remove(cluster, stored.key)
    else:
        cluster.state.write(stored.key, value)
    return True
