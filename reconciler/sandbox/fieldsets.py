"""Sets of field paths: what `metadata.managedFields` says a field owner holds. Pure; used by `apply` and `managed`.

A path is a tuple of elements in the notation of FieldsV1: `f:NAME` (a field), `k:{"name":"web"}` (an element of a list
by its keys), `v:"x"` (an element of a set). A set of fields is a frozenset of paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.errors import SpecError
from reconciler.sandbox.schema import ANY, Node, element_key

Path = tuple[str, ...]
FieldSet = frozenset[Path]


class _Container:
    """The value that stands for "a container is here", equal only to itself."""

    def __repr__(self) -> str:
        return "CONTAINER"


CONTAINER: Final = _Container()


def flatten(node: Node, value: Any, *, maps: bool = False) -> dict[Path, Any]:
    """Path → value of every field that can be owned: scalars, atomic values, list elements (CONTAINER).

    maps: also the non-empty maps themselves, as updates (not applies) own them.
    """
    found: dict[Path, Any] = {}
    _walk(node, value, (), found, maps)
    return found


def is_granular(node: Node, value: Any) -> bool:
    """Whether parts of `value` can have owners of their own."""
    if node.atomic:
        return False
    if isinstance(value, dict):
        return True
    return isinstance(value, list) and node.list_kind in ("map", "set")


def _walk(node: Node, value: Any, path: Path, found: dict[Path, Any], maps: bool) -> None:
    if path and not is_granular(node, value):
        found[path] = value
    elif isinstance(value, dict):
        if path and not value:
            found[path] = value
        elif path and maps and node.shape in ("map", "any"):
            found[path] = CONTAINER
        for name, element in value.items():
            _walk(node.child(name) or ANY, element, (*path, f"f:{name}"), found, maps)
    elif isinstance(value, list):
        for element in value:
            step = element_step(node, element)
            if node.list_kind == "set" or step is None:
                found[(*path, step or f"v:{_compact(element)}")] = element
                continue
            found[(*path, step)] = CONTAINER
            _walk(node.elements or ANY, element, (*path, step), found, maps)


def element_step(node: Node, element: Any) -> str | None:
    """The path element of one element of an associative list; None when it has no identity."""
    key = element_key(node, element)
    if key is None:
        return None
    if node.list_kind == "set":
        return f"v:{_compact(element)}"
    return f"k:{_compact(dict(zip(node.keys, key, strict=True)))}"


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def with_ancestors(paths: Iterable[Path]) -> set[Path]:
    """`paths` and every path above them."""
    found: set[Path] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = path[:-1]
    return found


def encode(fields: Iterable[Path]) -> dict[str, Any]:
    """A set of fields as FieldsV1: nested objects, `.` marks an owned field that has owned fields below it."""
    members = set(fields)
    root: dict[str, Any] = {}
    inner = {path[:length] for path in members for length in range(1, len(path))}
    for path in sorted(members):
        place = root
        for element in path:
            place = place.setdefault(element, {})
        if path in inner:
            place["."] = {}
    return root


def decode(fields_v1: Any) -> FieldSet:
    """The inverse of `encode`. SpecError when it is not FieldsV1."""
    return frozenset(_decode(fields_v1, ()))


def _decode(fields: Any, path: Path) -> Iterator[Path]:
    if not isinstance(fields, Mapping):
        raise SpecError("BadManagedFields", "fieldsV1 is made of nested objects")
    if path and (not fields or "." in fields):
        yield path
    for element, below in fields.items():
        if element == ".":
            continue
        if element[:2] not in ("f:", "k:", "v:", "i:"):
            raise SpecError("BadManagedFields", f"{element!r} is no element of a field path")
        yield from _decode(below, (*path, element))


def readable(path: Path) -> str:
    """`.spec.containers[name="web"].image`, as conflicts name a field."""
    written = ""
    for element in path:
        kind, rest = element[:2], element[2:]
        if kind == "f:":
            written += f".{rest}"
        elif kind == "k:":
            pairs = json.loads(rest).items()
            written += "[" + ",".join(f"{key}={_compact(value)}" for key, value in pairs) + "]"
        else:
            written += f"[={rest}]" if kind == "v:" else f"[{rest}]"
    return written
