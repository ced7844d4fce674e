"""From what a client sent to what is stored: unknown fields dropped, nulls dropped, strings typed, defaults filled in.

Pure; called by `verbs` for every write. What it dropped is returned, so that `fieldValidation` can refuse or warn.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import SpecError
from reconciler.sandbox.schema import ANY, Node, join_path

DEEPEST = 200  # levels of an object; nothing real comes near, and every walk over it stays within the stack
_BEYOND_INTEGERS = 1 << 63
_Path = tuple[str | int, ...]
_GO_NAMES = {"object": "object", "map": "object", "list": "array"}


@dataclass(slots=True)
class Decoded:
    """A decoded object: the value, the paths of the fields that the schema does not know, and the type mismatches."""

    value: Any
    unknown: list[str] = field(default_factory=list)
    mismatches: list[tuple[str, str, str]] = field(default_factory=list)  # path, expected, found


def decode(node: Node, value: Any) -> Decoded:
    """`value` as the schema knows it, defaults filled in; `value` itself is left as it was."""
    decoded = Decoded(None)
    decoded.value = _decode(node, value, (), decoded)
    fill_defaults(node, decoded.value)
    return decoded


def prune(node: Node, value: Any) -> Decoded:
    """Like `decode` without defaults: what an apply configuration means."""
    decoded = Decoded(None)
    decoded.value = _decode(node, value, (), decoded)
    return decoded


def _decode(node: Node, value: Any, path: _Path, decoded: Decoded) -> Any:
    if len(path) > DEEPEST:
        raise SpecError("TooDeep", f"the object is nested more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        if node.shape in ("list", "scalar"):
            decoded.mismatches.append((join_path(path), _expected(node), "object"))
            return value
        return _decode_object(node, value, path, decoded)
    if isinstance(value, list):
        if node.shape in ("object", "map", "scalar"):
            decoded.mismatches.append((join_path(path), _expected(node), "array"))
            return value
        elements = node.elements or ANY
        return [
            _decode(elements, _zero(elements) if element is None else element, (*path, index), decoded)
            for index, element in enumerate(value)
        ]
    return _decode_scalar(node, value, path, decoded)


def _zero(node: Node) -> Any:
    """What null in a list means: nothing of the type, as a typed server reads it; null where null may stand."""
    if not node.typed or node.nullable:
        return None
    return {"object": {}, "map": {}, "list": []}.get(
        node.shape, {"string": "", "integer": 0, "boolean": False}.get(node.type)
    )


def _decode_object(node: Node, value: dict[str, Any], path: _Path, decoded: Decoded) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, element in value.items():
        child = node.child(name)
        if child is None:
            decoded.unknown.append(join_path((*path, name)))
            continue
        if element is None and not child.nullable and child is not ANY and child.shape != "any":
            continue
        if child.typed and child.shape in ("map", "list") and not element and isinstance(element, (dict, list)):
            continue
        kept[name] = _decode(child, element, (*path, name), decoded)
    return kept


def _decode_scalar(node: Node, value: Any, path: _Path, decoded: Decoded) -> Any:
    if value is None or node.shape == "any":
        return value
    found = _type_of(value)
    if found in ("integer", "number") and abs(value) >= _BEYOND_INTEGERS:
        found = "number"
    elif found == "number" and node.type == "integer" and value.is_integer():
        return int(value)
    if node.raw.get("format") == "quantity":
        if found in ("integer", "number"):
            return str(value)
        if found == "string":
            return value
    elif node.raw.get("x-kubernetes-int-or-string"):
        if found in ("integer", "string"):
            return value
    elif found == node.type or (node.type == "number" and found == "integer"):
        return value
    decoded.mismatches.append((join_path(path), _expected(node), found))
    return value


def _expected(node: Node) -> str:
    return _GO_NAMES.get(node.shape, node.type or "integer or string")


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "string"


def fill_defaults(node: Node, value: Any) -> None:
    """Fill the defaults of absent fields in place, parents before children."""
    if isinstance(value, dict):
        for name, child in node.properties.items():
            if child.has_default and value.get(name) is None:
                value[name] = copy.deepcopy(child.default)
            if name in value:
                fill_defaults(child, value[name])
        if node.values is not None:
            for name, element in value.items():
                if name not in node.properties:
                    fill_defaults(node.values, element)
    elif isinstance(value, list) and node.elements is not None:
        for element in value:
            fill_defaults(node.elements, element)
