"""The controllers of one cluster: one task that follows its events and brings each touched object one step on.

Level-triggered: a key says only where to look. At a start every object is looked at once, so nothing that a crash cut
off stays undone. Called by `service`; the workload rules are in `workloads`.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator
from typing import Any

from reconciler.sandbox import deletion, workloads
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.deletion import CLEANUP, FOREGROUND, ORPHAN, DeleteOptions
from reconciler.sandbox.objects import now
from reconciler.sandbox.resources import (
    DEFINITIONS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    Key,
    ResourceType,
)
from reconciler.sandbox.state import Change, Event, Stored

_LOG = logging.getLogger(__name__)
_RETRY = 1.0


class Controllers:
    """Follows one cluster until cancelled."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._state = cluster.state
        self._queue: dict[Key, None] = {}
        self._seen = cluster.state.revision

    async def run(self) -> None:
        """Work until cancelled."""
        listener = self._state.subscribe()
        self._queue = {stored.key: None for stored in self._state.everything()}
        try:
            while True:
                listener.clear()
                self._follow()
                while self._queue:
                    self._work(listener)
                    self._follow()
                    await asyncio.sleep(0)
                await listener.wait()
        finally:
            self._state.unsubscribe(listener)

    def _follow(self) -> None:
        if not self._state.remembers(self._seen):
            self._queue |= {stored.key: None for stored in self._state.everything()}
        for event in self._state.events_after(self._seen):
            for key in self._touched(event):
                self._queue[key] = None
        self._seen = self._state.revision

    def _work(self, listener: asyncio.Event) -> None:
        key = next(iter(self._queue))
        del self._queue[key]
        try:
            self._sync(key)
        except Exception:  # noqa: BLE001 - one object that cannot be brought on must not stop the others
            _LOG.exception("controllers of %s: %s", self._cluster.name, key)
            asyncio.get_running_loop().call_later(_RETRY, self._again, key, listener)

    def _again(self, key: Key, listener: asyncio.Event) -> None:
        self._queue[key] = None
        listener.set()

    def _touched(self, event: Event) -> Iterator[Key]:
        stored = event.current
        metadata = stored.value["metadata"]
        if event.kind != "DELETED":
            yield stored.key
        for reference in metadata.get("ownerReferences") or ():
            owner = self._cluster.registry.by_kind(str(reference.get("apiVersion")), str(reference.get("kind")))
            if owner is not None:
                yield owner.key(stored.key.namespace, str(reference.get("name")))
        if event.kind == "DELETED":
            yield from (one.key for one in self._state.dependents(stored.uid))
            if stored.key.namespace:
                yield NAMESPACES.key("", stored.key.namespace)
            group, _, plural = stored.key.resource.partition("/")
            yield DEFINITIONS.key("", f"{plural}.{group}")
        if stored.key.resource == NODES.resource:
            yield from (one.key for one in self._state.select(PODS.resource))

    def _sync(self, key: Key) -> None:
        stored = self._state.get(key)
        if stored is None or self._collect(stored):
            return
        if key.resource == DEPLOYMENTS.resource:
            workloads.sync_deployment(self._cluster, stored)
        elif key.resource == REPLICA_SETS.resource:
            workloads.sync_replica_set(self._cluster, stored)
        elif key.resource == PODS.resource:
            workloads.sync_pod(self._cluster, stored)
        elif key.resource == NAMESPACES.resource:
            self._sync_namespace(stored)
        elif key.resource == DEFINITIONS.resource and "deletionTimestamp" in stored.value["metadata"]:
            self._sync_definition(stored)

    def _type_of(self, key: Key) -> ResourceType | None:
        return next((one for one in self._cluster.registry if one.resource == key.resource), None)

    # --- garbage ----------------------------------------------------------------------------------------------------

    def _collect(self, stored: Stored) -> bool:
        """Delete what has lost all its owners, finish deletions that wait for dependents. True: nothing else to do."""
        metadata = stored.value["metadata"]
        finalizers = metadata.get("finalizers") or ()
        if "deletionTimestamp" in metadata:
            if ORPHAN in finalizers:
                self._release_dependents(stored)
                return self._drop_finalizer(stored, ORPHAN)
            if FOREGROUND in finalizers and not self._delete_dependents(stored):
                return self._drop_finalizer(stored, FOREGROUND)
            return False
        owners = metadata.get("ownerReferences") or ()
        resource_type = self._type_of(stored.key)
        if not owners or resource_type is None or any(self._state.exists(str(one.get("uid"))) for one in owners):
            return False
        deletion.delete_object(self._cluster, resource_type, stored, DeleteOptions())
        return True

    def _delete_dependents(self, owner: Stored) -> list[Stored]:
        """Delete what `owner` owns; those that still hold it."""
        for stored in self._state.dependents(owner.uid):
            resource_type = self._type_of(stored.key)
            if resource_type is not None and "deletionTimestamp" not in stored.value["metadata"]:
                deletion.delete_object(self._cluster, resource_type, stored, DeleteOptions(propagation="Foreground"))
        return self._state.dependents(owner.uid)

    def _release_dependents(self, owner: Stored) -> None:
        for stored in self._state.dependents(owner.uid):
            value = stored.copy()
            left = [one for one in value["metadata"]["ownerReferences"] if one.get("uid") != owner.uid]
            value["metadata"]["ownerReferences"] = left
            if not left:
                del value["metadata"]["ownerReferences"]
            self._state.write(stored.key, value)

    def _drop_finalizer(self, stored: Stored, finalizer: str) -> bool:
        value = stored.copy()
        left = [one for one in value["metadata"].get("finalizers") or () if one != finalizer]
        value["metadata"]["finalizers"] = left
        if not left:
            del value["metadata"]["finalizers"]
        if deletion.is_finished(value):
            deletion.remove(self._cluster, stored.key)
        else:
            self._state.write(stored.key, value)
        return True

    # --- namespaces and definitions ---------------------------------------------------------------------------------

    def _sync_namespace(self, stored: Stored) -> None:
        if "deletionTimestamp" not in stored.value["metadata"]:
            self._ensure_account(stored.key.name)
            return
        if self._empty(self._state.in_namespace(stored.key.name)):
            value = stored.copy()
            value["spec"] = {"finalizers": []}
            if deletion.is_finished(value):
                deletion.remove(self._cluster, stored.key)

    def _ensure_account(self, namespace: str) -> None:
        key = SERVICE_ACCOUNTS.key(namespace, "default")
        if self._state.get(key) is None:
            metadata: dict[str, Any] = {"name": "default", "namespace": namespace, "uid": str(uuid.uuid4())}
            metadata["creationTimestamp"] = now()
            self._state.write(key, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})

    def _sync_definition(self, stored: Stored) -> None:
        spec = stored.value["spec"]
        found = self._state.select(f"{spec['group']}/{spec['names']['plural']}")
        if self._empty(found) and CLEANUP in (stored.value["metadata"].get("finalizers") or ()):
            self._drop_finalizer(stored, CLEANUP)

    def _empty(self, found: list[Stored]) -> bool:
        """Delete `found`, those without finalizers in one transaction; whether none is left."""
        held = [one for one in found if one.value["metadata"].get("finalizers")]
        free = [one for one in found if not one.value["metadata"].get("finalizers")]
        if free:
            self._state.commit([Change(one.key, None) for one in free])
        for stored in held:
            resource_type = self._type_of(stored.key)
            if resource_type is not None and "deletionTimestamp" not in stored.value["metadata"]:
                deletion.delete_object(self._cluster, resource_type, stored, DeleteOptions())
        return not held
