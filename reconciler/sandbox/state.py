"""The objects of one running cluster: read from memory, written through to SQLite first, told to watchers after.

The only place that gives out resourceVersions. Called by `verbs`, `controllers`, `watching` and `service`, all on the
event loop's thread; nothing here waits, so a read and the write that follows it are one step for everybody else.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from reconciler.sandbox.resource_types import Key
from reconciler.sandbox.storage import ObjectRow, Storage

REMEMBERED_EVENTS = 8192
REMEMBERED_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one object. value must not be changed: take a `copy`."""

    key: Key
    value: dict[str, Any]
    revision: int
    encoded: bytes

    def copy(self) -> dict[str, Any]:
        """A value of one's own."""
        copied: dict[str, Any] = json.loads(self.encoded)
        return copied

    @property
    def uid(self) -> str:
        """metadata.uid."""
        return str(self.value["metadata"].get("uid", ""))


@dataclass(frozen=True, slots=True)
class Event:
    """One change: kind ADDED, MODIFIED or DELETED; current is the last version of a deleted object."""

    kind: str
    revision: int
    current: Stored
    previous: Stored | None


@dataclass(frozen=True, slots=True)
class Change:
    """A wanted write: value None deletes."""

    key: Key
    value: dict[str, Any] | None


def encode(value: dict[str, Any]) -> bytes:
    """JSON as it is stored and sent."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(eq=False)
class ClusterState:
    """Objects, revision and recent events of one cluster."""

    name: str
    storage: Storage
    revision: int = 0
    _objects: dict[str, dict[tuple[str, str], Stored]] = field(default_factory=dict)
    _dependents: dict[str, set[Key]] = field(default_factory=dict)
    _uncontrolled: dict[str, set[Key]] = field(default_factory=dict)
    _uids: dict[str, Key] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)
    _events_size: int = 0
    _floor: int = 0
    _listeners: set[asyncio.Event] = field(default_factory=set)

    @classmethod
    def load(cls, name: str, storage: Storage, revision: int) -> ClusterState:
        """The state that SQLite holds; watches from before this moment are told that they are too old."""
        state = cls(name, storage, revision, _floor=revision)
        for row in storage.objects(name):
            state._remember(Stored(row.key, json.loads(row.body), row.revision, row.body))
        return state

    def get(self, key: Key) -> Stored | None:
        """The object at `key`."""
        return self._objects.get(key.resource, {}).get((key.namespace, key.name))

    def select(self, resource: str, namespace: str = "") -> list[Stored]:
        """Every object of a resource, in one namespace or (`""`) in all, ordered by namespace and name."""
        objects = self._objects.get(resource, {})
        if not namespace:
            return [objects[place] for place in sorted(objects)]
        return [objects[place] for place in sorted(objects) if place[0] == namespace]

    def select_as_of(self, revision: int, resource: str, namespace: str = "") -> list[Stored]:
        """What `select` answered at `revision`, which is remembered: today's objects, the changes since taken back."""
        objects = dict(self._objects.get(resource, {}))
        for event in reversed(self.events_after(revision)):
            key = event.current.key
            if key.resource != resource:
                continue
            if event.previous is None:
                objects.pop((key.namespace, key.name), None)
            else:
                objects[(key.namespace, key.name)] = event.previous
        return [objects[place] for place in sorted(objects) if not namespace or place[0] == namespace]

    def in_namespace(self, namespace: str) -> list[Stored]:
        """Every object of any type inside a namespace."""
        return [one for objects in self._objects.values() for place, one in objects.items() if place[0] == namespace]

    def everything(self) -> Iterator[Stored]:
        """Every object."""
        for objects in list(self._objects.values()):
            yield from list(objects.values())

    def dependents(self, uid: str) -> list[Stored]:
        """The objects whose ownerReferences name `uid`."""
        found = (self.get(key) for key in sorted(self._dependents.get(uid, ())))
        return [one for one in found if one is not None]

    def without_controller(self, resource: str, namespace: str) -> list[Stored]:
        """The objects of a resource and namespace that no ownerReference marks as controlled."""
        keys = sorted(key for key in self._uncontrolled.get(resource, ()) if key.namespace == namespace)
        found = (self.get(key) for key in keys)
        return [one for one in found if one is not None]

    def count(self, resource: str) -> int:
        """How many objects of a resource there are."""
        return len(self._objects.get(resource, {}))

    def by_uid(self, uid: str) -> Stored | None:
        """The object of that uid, None when it is gone."""
        key = self._uids.get(uid)
        return None if key is None else self.get(key)

    def write(self, key: Key, value: dict[str, Any]) -> Stored:
        """Create or replace one object; `value` gets its resourceVersion."""
        return self.commit([Change(key, value)])[0]

    def delete(self, key: Key) -> Stored:
        """Delete one object; what is returned carries the resourceVersion of the deletion."""
        return self.commit([Change(key, None)])[0]

    def commit(self, changes: Iterable[Change]) -> list[Stored]:
        """Make `changes` durable in one transaction, then visible, then known to watchers."""
        revision = self.revision
        events: list[Event] = []
        for change in changes:
            revision += 1
            events.append(self._event(change, revision))
        puts = [ObjectRow(e.current.key, e.revision, e.current.encoded) for e in events if e.kind != "DELETED"]
        deletes = [event.current.key for event in events if event.kind == "DELETED"]
        self.storage.commit(self.name, revision, puts, deletes)
        self.revision = revision
        for event in events:
            if event.previous is not None:
                self._forget(event.previous)
            if event.kind != "DELETED":
                self._remember(event.current)
        self._publish(events)
        return [event.current for event in events]

    def _event(self, change: Change, revision: int) -> Event:
        previous = self.get(change.key)
        if change.value is None:
            if previous is None:
                raise KeyError(change.key)
            value = previous.copy()
        else:
            value = change.value
        value["metadata"]["resourceVersion"] = str(revision)
        current = Stored(change.key, value, revision, encode(value))
        kind = "DELETED" if change.value is None else "MODIFIED" if previous is not None else "ADDED"
        return Event(kind, revision, current, previous)

    def _remember(self, stored: Stored) -> None:
        self._objects.setdefault(stored.key.resource, {})[(stored.key.namespace, stored.key.name)] = stored
        self._uids[stored.uid] = stored.key
        references = stored.value["metadata"].get("ownerReferences", ())
        if not any(reference.get("controller") for reference in references):
            self._uncontrolled.setdefault(stored.key.resource, set()).add(stored.key)
        for reference in references:
            self._dependents.setdefault(str(reference.get("uid", "")), set()).add(stored.key)

    def _forget(self, stored: Stored) -> None:
        self._objects[stored.key.resource].pop((stored.key.namespace, stored.key.name), None)
        self._uids.pop(stored.uid, None)
        self._uncontrolled.get(stored.key.resource, set()).discard(stored.key)
        for reference in stored.value["metadata"].get("ownerReferences", ()):
            uid = str(reference.get("uid", ""))
            keys = self._dependents.get(uid, set())
            keys.discard(stored.key)
            if not keys:
                self._dependents.pop(uid, None)

    def _publish(self, events: list[Event]) -> None:
        self._events.extend(events)
        self._events_size += sum(len(event.current.encoded) for event in events)
        if len(self._events) > 2 * REMEMBERED_EVENTS or self._events_size > 2 * REMEMBERED_BYTES:
            self._forget_oldest()
        for listener in self._listeners:
            listener.set()

    def _forget_oldest(self) -> None:
        """Keep the newest events within both limits."""
        kept = size = 0
        for event in reversed(self._events):
            size += len(event.current.encoded)
            if kept == REMEMBERED_EVENTS or size > REMEMBERED_BYTES:
                break
            kept += 1
        surplus = len(self._events) - kept
        self._floor = self._events[surplus - 1].revision
        del self._events[:surplus]
        self._events_size = sum(len(event.current.encoded) for event in self._events)

    def remembers(self, revision: int) -> bool:
        """Whether every change after `revision` is still known."""
        return revision >= self._floor

    def events_after(self, revision: int) -> list[Event]:
        """The changes after `revision`, oldest first."""
        return self._events[bisect_right(self._events, revision, key=lambda event: event.revision) :]

    def subscribe(self) -> asyncio.Event:
        """An event that is set after every commit; give it back with `unsubscribe`."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        return listener

    def unsubscribe(self, listener: asyncio.Event) -> None:
        """Stop setting `listener`."""
        self._listeners.discard(listener)
