"""Server-side apply, pure: merge a configuration into the live object, drop what its owner no longer names, find
conflicts.

Follows the semantics that the API documentation gives: a field belongs to whoever applied it; applying another value
over somebody else's field is a conflict unless forced; a field that its owner stops applying disappears unless others
own it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.errors import SpecError
from reconciler.sandbox.fieldsets import FieldSet, Path, element_step, readable, with_ancestors
from reconciler.sandbox.managed import IGNORED, Actor, Owner, compare, owned_fields, read_owners, write_owners
from reconciler.sandbox.schema import ANY, Node
from reconciler.sandbox.validation import Cause

BEFORE_FIRST_APPLY = "before-first-apply"


class ApplyConflictError(SpecError):
    """Other owners hold `fields` that the configuration would change. causes: one per owner and field."""

    def __init__(self, message: str, causes: list[Cause], fields: FieldSet) -> None:
        super().__init__("Conflict", message)
        self.causes = causes
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Applied:
    """The object after an apply, and its managedFields."""

    value: dict[str, Any]
    managed_fields: list[dict[str, Any]]


def apply_configuration(
    node: Node, live: Mapping[str, Any] | None, configuration: Mapping[str, Any], actor: Actor, *, force: bool
) -> Applied:
    """Apply `configuration` over `live` (None creates). ApplyConflictError, or SpecError for a list without keys."""
    wanted = _strip(configuration)
    mine = frozenset(owned_fields(node, wanted, maps=False))
    owners = read_owners((live or {}).get("metadata"))
    if live is not None and not owners:
        owners = [_first_owner(node, live, actor)]
    own = Owner(actor, frozenset())
    previous = next((owner for owner in owners if owner.identity == own.identity), own)
    others = [owner for owner in owners if owner.identity != own.identity]

    merged = merge(node, dict(live) if live is not None else {}, wanted)
    kept = with_ancestors(path for owner in [*others, Owner(actor, mine)] for path in owner.fields)
    dropped = {path for path in previous.fields if path not in kept}
    value = _drop(merged, node, (), _Dropping(dropped, with_ancestors(dropped), kept)) if dropped else merged

    difference = compare(owned_fields(node, live or {}, maps=True), owned_fields(node, value, maps=True))
    clashes = [(owner, owner.fields & difference.changed) for owner in others]
    if not force and any(fields for _, fields in clashes):
        raise _conflict([(owner, fields) for owner, fields in clashes if fields])
    remaining = [replace(owner, fields=owner.fields - fields - difference.removed) for owner, fields in clashes]
    unchanged = previous.fields == mine and previous.actor.api_version == actor.api_version
    acting = previous.actor if unchanged and not difference.changed and not difference.removed else actor
    return Applied(value, write_owners([*remaining, Owner(acting, mine)]))


def _strip(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what only identifies the object or belongs to the server."""
    wanted = {key: value for key, value in configuration.items() if key not in ("apiVersion", "kind")}
    metadata = wanted.get("metadata")
    if isinstance(metadata, Mapping):
        wanted["metadata"] = {
            key: value for key, value in metadata.items() if ("f:metadata", f"f:{key}") not in IGNORED
        }
        if not wanted["metadata"]:
            del wanted["metadata"]
    return wanted


def _first_owner(node: Node, live: Mapping[str, Any], actor: Actor) -> Owner:
    unknown = Actor(BEFORE_FIRST_APPLY, "Update", actor.api_version, "", actor.time)
    return Owner(unknown, frozenset(owned_fields(node, live, maps=True)))


def merge(node: Node, live: Any, wanted: Any) -> Any:
    """`wanted` over `live`: objects by field, keyed lists by element, everything else replaced."""
    if node.atomic:
        return wanted
    if isinstance(wanted, dict):
        merged = dict(live) if isinstance(live, dict) else {}
        for name, value in wanted.items():
            merged[name] = merge(node.child(name) or ANY, merged.get(name), value)
        return merged
    if isinstance(wanted, list) and node.list_kind in ("map", "set"):
        return _merge_list(node, live if isinstance(live, list) else [], wanted)
    return wanted


def _merge_list(node: Node, live: list[Any], wanted: list[Any]) -> list[Any]:
    """Elements of both, each once: `wanted` in its own order, live-only elements where they stood."""
    by_step = _by_step(node, wanted)
    before = {element_step(node, element): element for element in live}
    elements = node.elements or ANY
    pending = [(step, merge(elements, before.get(step), element)) for step, element in by_step.items()]
    merged: list[Any] = []
    at = 0
    for element in live:
        if element_step(node, element) not in by_step:
            merged.append(element)
            continue
        while at < len(pending):
            step, value = pending[at]
            merged.append(value)
            at += 1
            if step in before:
                break
    return [*merged, *(value for _, value in pending[at:])]


def _by_step(node: Node, wanted: list[Any]) -> dict[str, Any]:
    by_step: dict[str, Any] = {}
    for element in wanted:
        step = element_step(node, element)
        if step is None:
            keys = ", ".join(f'"{key}"' for key in node.keys)
            message = f"associative list with keys has an element that omits key field {keys}"
            raise SpecError("BadConfiguration", f"{message} (and doesn't have default value)")
        if step in by_step:
            raise SpecError("BadConfiguration", f"duplicate entries for key {readable((step,))}")
        by_step[step] = element
    return by_step


@dataclass(frozen=True, slots=True)
class _Dropping:
    """paths: what goes. above: everything on the way there. kept: what somebody owns, with ancestors."""

    paths: set[Path]
    above: set[Path]
    kept: set[Path]


def _drop(value: Any, node: Node, path: Path, dropping: _Dropping) -> Any:
    if isinstance(value, dict):
        left: dict[str, Any] = {}
        for name, element in value.items():
            below = (*path, f"f:{name}")
            if below in dropping.paths:
                continue
            if below in dropping.above:
                element = _drop(element, node.child(name) or ANY, below, dropping)
                if not element and below not in dropping.kept:
                    continue
            left[name] = element
        return left
    if isinstance(value, list) and node.list_kind in ("map", "set"):
        remaining: list[Any] = []
        for element in value:
            step = element_step(node, element)
            below = (*path, step) if step is not None else path
            if step is None or below not in dropping.above:
                remaining.append(element)
            elif below not in dropping.paths:
                remaining.append(_drop(element, node.elements or ANY, below, dropping))
        return remaining
    return value


def _conflict(clashes: list[tuple[Owner, frozenset[Path]]]) -> ApplyConflictError:
    causes: list[Cause] = []
    described: list[str] = []
    for owner, fields in clashes:
        actor = owner.actor
        who = f'"{actor.name}"'
        if actor.subresource:
            who += f' with subresource "{actor.subresource}"'
        who += f" using {actor.api_version}"
        if actor.operation == "Update" and actor.time:
            who += f" at {actor.time}"
        paths = sorted(readable(path) for path in fields)
        causes += [Cause("FieldManagerConflict", f"conflict with {who}", path) for path in paths]
        if len(paths) == 1:
            described.append(f"conflict with {who}: {paths[0]}")
        else:
            described.append(f"conflicts with {who}:" + "".join(f"\n- {path}" for path in paths))
    noun = "conflict" if len(causes) == 1 else "conflicts"
    message = f"Apply failed with {len(causes)} {noun}: " + "\n".join(described)
    return ApplyConflictError(message, causes, frozenset().union(*(fields for _, fields in clashes)))
