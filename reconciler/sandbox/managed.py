"""Who owns which field: `metadata.managedFields` read, kept up to date on every write, and written back. Pure.

`track_update` follows POST, PUT and the patches that are not applies; `apply` builds on the same `Owner`s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reconciler.errors import SpecError
from reconciler.sandbox.fieldsets import CONTAINER, FieldSet, Path, decode, encode, flatten, with_ancestors
from reconciler.sandbox.patches import same_json
from reconciler.sandbox.schema import Node

_SYSTEM_METADATA = (
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)
# Never owned by anybody: identity and what only the server writes.
IGNORED: frozenset[Path] = frozenset(
    [("f:apiVersion",), ("f:kind",), *(("f:metadata", f"f:{name}") for name in _SYSTEM_METADATA)]
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes: field manager name, Apply or Update, through which version and subresource, and when (RFC 3339)."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of managedFields."""

    actor: Actor
    fields: FieldSet

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes two entries the same owner."""
        actor = self.actor
        version = "" if actor.operation == "Apply" else actor.api_version
        return (actor.name, actor.operation, version, actor.subresource)


def read_owners(metadata: Mapping[str, Any] | None) -> list[Owner]:
    """The owners that `metadata` names. SpecError when managedFields is malformed."""
    owners: list[Owner] = []
    for entry in (metadata or {}).get("managedFields") or ():
        if not isinstance(entry, Mapping):
            raise SpecError("BadManagedFields", "managedFields is a list of objects")
        if not entry:
            continue
        if entry.get("operation") not in ("Apply", "Update"):
            raise SpecError("BadManagedFields", f"operation of managedFields is {entry.get('operation')!r}")
        actor = Actor(
            name=str(entry.get("manager", "")),
            operation=str(entry["operation"]),
            api_version=str(entry.get("apiVersion", "")),
            subresource=str(entry.get("subresource", "")),
            time=str(entry.get("time", "")),
        )
        owners.append(Owner(actor, decode(entry.get("fieldsV1") or {})))
    return owners


def write_owners(owners: Sequence[Owner]) -> list[dict[str, Any]]:
    """managedFields of `owners`, empty ones left out, in a stable order."""
    kept = [owner for owner in owners if owner.fields]
    kept.sort(key=lambda one: (one.actor.operation, one.actor.time, *one.identity))
    written: list[dict[str, Any]] = []
    for owner in kept:
        actor = owner.actor
        entry: dict[str, Any] = {
            "apiVersion": actor.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": encode(owner.fields),
            "manager": actor.name,
            "operation": actor.operation,
        }
        if actor.subresource:
            entry["subresource"] = actor.subresource
        if actor.time:
            entry["time"] = actor.time
        written.append(entry)
    return written


def owned_fields(node: Node, value: Any, *, maps: bool) -> dict[Path, Any]:
    """`flatten` without what nobody owns."""
    fields = flatten(node, value, maps=maps)
    return {path: found for path, found in fields.items() if path[:2] not in IGNORED and path[:1] not in IGNORED}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which fields a write set (added or given another value) and which it removed."""

    changed: FieldSet
    removed: FieldSet


def compare(before: Mapping[Path, Any], after: Mapping[Path, Any]) -> Comparison:
    """The difference of two results of `owned_fields`.

    A container that became empty, or was, is the same container: only what is inside it was removed or added.
    """
    changed = {path for path, value in after.items() if path not in before or not same_json(before[path], value)}
    removed = before.keys() - after.keys()
    emptied = {path for path in changed if path not in before and _is_container(after[path])}
    filled = {path for path in removed if _is_container(before[path])}
    if emptied:
        changed -= emptied & with_ancestors(before)
    if filled:
        removed -= filled & with_ancestors(after)
    return Comparison(frozenset(changed), frozenset(removed))


def _is_container(value: Any) -> bool:
    return value is CONTAINER or value == {}


def current_owners(live: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[Owner]:
    """The owners that a write starts from: those that the client sent when they are usable, else the live ones.

    A client resets ownership by sending one empty entry.
    """
    sent = (new.get("metadata") or {}).get("managedFields")
    if sent == [{}]:
        return []
    live_metadata = (live or {}).get("metadata")
    try:
        return read_owners({"managedFields": sent}) or read_owners(live_metadata)
    except SpecError:
        return read_owners(live_metadata)


def track_update(node: Node, live: Mapping[str, Any] | None, new: dict[str, Any], actor: Actor) -> list[dict[str, Any]]:
    """managedFields of `new`, which `actor` writes over `live` (None when it is created)."""
    owners = current_owners(live, new)
    difference = compare(owned_fields(node, live or {}, maps=True), owned_fields(node, new, maps=True))
    if not difference.changed and not difference.removed:
        return write_owners(owners)
    own = Owner(actor, frozenset())
    kept: list[Owner] = []
    for owner in owners:
        if owner.identity == own.identity:
            own = Owner(actor, owner.fields)
        else:
            kept.append(replace(owner, fields=owner.fields - difference.changed - difference.removed))
    mine = (own.fields | difference.changed) - difference.removed
    return write_owners([*kept, Owner(actor, mine)])
