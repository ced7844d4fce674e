"""Strategic merge patch, pure: merges lists by key where the schema names one. Called by `verbs` for built-in types.

Directives understood: `$patch` (merge, replace, delete) in objects and list elements, `$retainKeys`,
`$setElementOrder/FIELD` and `$deleteFromPrimitiveList/FIELD`.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from reconciler.sandbox.patches import PatchError
from reconciler.sandbox.schema import ANY, Node

_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"


def strategic_merge(node: Node, target: Any, patch: Any) -> Any:
    """`target` with `patch` merged in under the schema `node`. PatchError on a directive that makes no sense."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    return _merge_object(node, target if isinstance(target, dict) else {}, patch)


def _merge_object(node: Node, target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError("BadPatch", f"unknown patch type {directive!r} in a strategic merge patch")
    merged = dict(target)
    retained = patch.get("$retainKeys")
    if isinstance(retained, list):
        merged = {key: value for key, value in merged.items() if key in retained}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        child = node.child(key) or ANY
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = strategic_merge(child, merged.get(key), value)
        elif isinstance(value, list):
            merged[key] = _merge_list(child, merged.get(key), value)
        else:
            merged[key] = value
    _follow_list_directives(node, merged, patch)
    return merged


def _follow_list_directives(node: Node, merged: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVES) and isinstance(value, list):
            field = key.removeprefix(_DELETE_PRIMITIVES)
            if isinstance(merged.get(field), list):
                unwanted = {_name(one) for one in value}
                merged[field] = [one for one in merged[field] if _name(one) not in unwanted]
    for key, value in patch.items():
        if key.startswith(_ORDER) and isinstance(value, list):
            field = key.removeprefix(_ORDER)
            if isinstance(merged.get(field), list):
                merged[field] = _in_order(node.child(field) or ANY, merged[field], value)


def _merge_list(node: Node, target: Any, patch: list[Any]) -> list[Any]:
    live: list[Any] = target if isinstance(target, list) else []
    if "merge" not in node.patch_strategies:
        return copy.deepcopy(patch)
    if not node.merge_key:
        known = {_name(one) for one in live}
        return [*live, *(one for one in patch if _name(one) not in known)]
    if any(isinstance(one, dict) and one.get("$patch") == "replace" for one in patch):
        return [copy.deepcopy(one) for one in patch if not (isinstance(one, dict) and one.get("$patch") == "replace")]
    merged: list[Any] = list(live)
    places: dict[str, list[int]] = {}
    for index, one in enumerate(live):
        places.setdefault(_identity(node, one), []).append(index)
    for element in patch:
        if not isinstance(element, dict) or node.merge_key not in element:
            raise PatchError("BadPatch", f"map: {element} does not contain declared merge key: {node.merge_key}")
        found = places.get(_identity(node, element))
        if element.get("$patch") == "delete":
            for index in places.pop(_identity(node, element), ()):
                merged[index] = _GONE
        elif found:
            merged[found[0]] = strategic_merge(node.elements or ANY, merged[found[0]], element)
        else:
            places[_identity(node, element)] = [len(merged)]
            merged.append(strategic_merge(node.elements or ANY, {}, element))
    return [one for one in merged if one is not _GONE]


_GONE = object()


def _name(value: Any) -> str:
    """A value as text that is equal when the value is: what a table can be asked for."""
    return json.dumps(value, sort_keys=True)


def _identity(node: Node, element: Any) -> str:
    return _name(element.get(node.merge_key) if node.merge_key and isinstance(element, dict) else element)


def _in_order(node: Node, elements: list[Any], order: list[Any]) -> list[Any]:
    """Elements that `order` names in its order; the others keep their place behind what they stood behind."""
    places: dict[str, int] = {}
    for index, one in enumerate(order):
        places.setdefault(_identity(node, one), index)
    identities = [_identity(node, one) for one in elements]
    named = [(places[identity], one) for identity, one in zip(identities, elements, strict=True) if identity in places]
    slots = iter([one for _, one in sorted(named, key=lambda pair: pair[0])])
    return [next(slots) if identity in places else one for identity, one in zip(identities, elements, strict=True)]
