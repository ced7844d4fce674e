"""The controllers of one cluster: one task that follows its events and brings each touched object one step on.

Level-triggered: a key says only where to look. At a start every object is looked at once, so nothing that a crash cut
off stays undone. Called by `service`; what is done with an object is in `garbage` and in one module per workload.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.sandbox import (
    completions,
    daemon_sets,
    deletion,
    deployments,
    garbage,
    ownership,
    replica_sets,
    service_accounts,
    stateful_sets,
)
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.deletion import CLEANUP, DeleteOptions
from reconciler.sandbox.objects import now
from reconciler.sandbox.resource_types import Key
from reconciler.sandbox.resources import (
    DAEMON_SETS,
    DEFINITIONS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    REVISIONS,
    SECRETS,
    SERVICE_ACCOUNTS,
    STATEFUL_SETS,
)
from reconciler.sandbox.state import Change, Event, Stored

_LOG = logging.getLogger(__name__)
_RETRY = 1.0
_LONGEST_DELAY = 3600.0

_WORKLOADS: Mapping[str, Callable[[Cluster, Stored], float | None]] = {
    DEPLOYMENTS.resource: deployments.sync_deployment,
    REPLICA_SETS.resource: replica_sets.sync_replica_set,
    STATEFUL_SETS.resource: stateful_sets.sync_stateful_set,
    DAEMON_SETS.resource: daemon_sets.sync_daemon_set,
    JOBS.resource: completions.sync_job,
    PODS.resource: completions.sync_pod,
}
# Who adopts an object without a controller, by what the object is.
_ADOPTERS: Mapping[str, tuple[str, ...]] = {
    PODS.resource: (REPLICA_SETS.resource, STATEFUL_SETS.resource, DAEMON_SETS.resource, JOBS.resource),
    REPLICA_SETS.resource: (DEPLOYMENTS.resource,),
    REVISIONS.resource: (STATEFUL_SETS.resource, DAEMON_SETS.resource),
}


class Controllers:
    """Follows one cluster until cancelled."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._state = cluster.state
        self._queue: dict[Key, None] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
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
            for timer in self._timers.values():
                timer.cancel()

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
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        try:
            delay = self._sync(key)
        except Exception:  # noqa: BLE001 - one object that cannot be brought on must not stop the others
            _LOG.exception("controllers of %s: %s", self._cluster.name, key)
            delay = _RETRY
        if delay is not None:
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(min(delay, _LONGEST_DELAY), self._again, key, listener)

    def _again(self, key: Key, listener: asyncio.Event) -> None:
        self._queue[key] = None
        listener.set()

    def _touched(self, event: Event) -> Iterator[Key]:
        stored = event.current
        metadata = stored.value["metadata"]
        if event.kind != "DELETED":
            yield stored.key
        for value in (stored.value, event.previous.value if event.previous is not None else stored.value):
            for reference in value["metadata"].get("ownerReferences") or ():
                owner = self._cluster.registry.by_kind(str(reference.get("apiVersion")), str(reference.get("kind")))
                if owner is not None:
                    yield owner.key(stored.key.namespace, str(reference.get("name")))
        if event.kind == "DELETED":
            yield from (one.key for one in self._state.dependents(stored.uid))
            if stored.key.namespace:
                yield NAMESPACES.key("", stored.key.namespace)
            group, _, plural = stored.key.resource.partition("/")
            yield DEFINITIONS.key("", f"{plural}.{group}")
        elif stored.key.resource in _ADOPTERS and ownership.controller_of(stored.value) is None:
            for resource in _ADOPTERS[stored.key.resource]:
                found = self._state.select(resource, stored.key.namespace)
                yield from (one.key for one in found if ownership.selects(one.value, metadata.get("labels")))
        if stored.key.resource == SERVICE_ACCOUNTS.resource:
            yield from service_accounts.token_secrets(self._cluster, stored.key.namespace)
        if stored.key.resource == NODES.resource:
            for resource in (PODS.resource, DAEMON_SETS.resource):
                yield from (one.key for one in self._state.select(resource))

    def _sync(self, key: Key) -> float | None:
        """Look at one object; after how many seconds to look again although nothing happened."""
        stored = self._state.get(key)
        if stored is None or garbage.collect(self._cluster, stored):
            return None
        stored = self._state.get(key)
        if stored is None:
            return None
        if key.resource in _WORKLOADS:
            return _WORKLOADS[key.resource](self._cluster, stored)
        if key.resource == NAMESPACES.resource:
            self._sync_namespace(stored)
        elif key.resource == SECRETS.resource:
            service_accounts.sync_secret(self._cluster, stored)
        elif key.resource == DEFINITIONS.resource and ownership.is_going(stored):
            self._sync_definition(stored)
        return None

    # --- namespaces and definitions ---------------------------------------------------------------------------------

    def _sync_namespace(self, stored: Stored) -> None:
        if not ownership.is_going(stored):
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
            garbage.drop_finalizer(self._cluster, stored, CLEANUP)

    def _empty(self, found: list[Stored]) -> bool:
        """Delete `found`, those without finalizers in one transaction; whether none is left."""
        held = [one for one in found if one.value["metadata"].get("finalizers")]
        free = [one for one in found if not one.value["metadata"].get("finalizers")]
        if free:
            self._state.commit([Change(one.key, None) for one in free])
        for stored in held:
            resource_type = self._cluster.registry.of_resource(stored.key.resource)
            if resource_type is not None and not ownership.is_going(stored):
                deletion.delete_object(self._cluster, resource_type, stored, DeleteOptions())
        return not held
