"""OpenAPI schemas compiled into trees of `Node`, the shape that every other pure part walks.

One Node is one position of an object: what may stand there, how it merges, who may own it. `decoding` drops unknown
fields and fills defaults with it, `validation` checks values, `strategic` and `apply` merge, `fieldsets` computes
ownership.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Shape = Literal["object", "map", "list", "scalar", "any"]

_REF = "#/components/schemas/"


@dataclass(slots=True)
class Node:
    """One resolved position of a schema.

    shape: object (named fields) | map (free keys of one type) | list | scalar | any (unknown, merged by its own shape).
    list_kind: atomic | set | map, keys: identity of a list's elements (map). merge_key, patch_strategies: the same for
    strategic merge patch. preserve: unknown fields stay. typed: of a built-in type, where an empty list or map is none.
    """

    shape: Shape
    raw: Mapping[str, Any]
    type: str = ""
    properties: dict[str, Node] = field(default_factory=dict)
    values: Node | None = None
    elements: Node | None = None
    preserve: bool = False
    atomic: bool = False
    embedded: bool = False
    nullable: bool = False
    list_kind: str = "atomic"
    keys: tuple[str, ...] = ()
    merge_key: str = ""
    patch_strategies: frozenset[str] = frozenset()
    required: tuple[str, ...] = ()
    has_default: bool = False
    default: Any = None
    typed: bool = False

    def child(self, name: str) -> Node | None:
        """The node of field `name`; None when the schema does not know such a field."""
        found = self.properties.get(name)
        if found is not None:
            return found
        if self.values is not None:
            return self.values
        return ANY if self.preserve or self.shape == "any" else None

    def knows(self, name: str) -> bool:
        """Whether `name` is a declared field (not merely a tolerated one)."""
        return name in self.properties


ANY = Node("any", {}, preserve=True)


class Compiler:
    """Compiles the schemas of one set of components; each reference once, recursion included."""

    def __init__(self, components: Mapping[str, Mapping[str, Any]] | None = None, *, typed: bool = False) -> None:
        self._typed = typed
        self._components = components or {}
        self._by_reference: dict[str, Node] = {}

    def reference(self, name: str) -> Node:
        """The node of component `name` (`v1.Pod`). KeyError when there is none."""
        known = self._by_reference.get(name)
        if known is not None:
            return known
        node = Node("any", {})
        self._by_reference[name] = node
        self._fill(node, self._components[name])
        return node

    def compile(self, schema: Mapping[str, Any]) -> Node:
        """The node of an inline schema."""
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self.reference(reference.removeprefix(_REF))
        wrapped = schema.get("allOf")
        if wrapped and len(wrapped) == 1 and "$ref" in wrapped[0] and "type" not in schema:
            return _with_extras(self.compile(wrapped[0]), schema)
        node = Node("any", schema)
        self._fill(node, schema)
        return node

    def _fill(self, node: Node, schema: Mapping[str, Any]) -> None:
        node.raw = schema
        node.typed = self._typed
        node.type = str(schema.get("type", ""))
        node.nullable = bool(schema.get("nullable"))
        node.preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        node.embedded = bool(schema.get("x-kubernetes-embedded-resource"))
        node.atomic = schema.get("x-kubernetes-map-type") == "atomic"
        node.patch_strategies = _strategies(schema)
        node.required = tuple(schema.get("required", ()))
        node.has_default = "default" in schema
        node.default = schema.get("default")
        if node.type == "object" or "properties" in schema:
            self._fill_object(node, schema)
        elif node.type == "array":
            self._fill_list(node, schema)
        elif node.type or schema.get("x-kubernetes-int-or-string") or schema.get("format") == "quantity":
            node.shape = "scalar"
        else:
            node.shape, node.preserve = "any", True

    def _fill_object(self, node: Node, schema: Mapping[str, Any]) -> None:
        node.shape = "object"
        node.properties = {name: self.compile(sub) for name, sub in schema.get("properties", {}).items()}
        if node.embedded:
            node.properties.setdefault("apiVersion", _STRING)
            node.properties.setdefault("kind", _STRING)
            metadata = node.properties.get("metadata")
            if metadata is None or not metadata.properties:
                node.properties["metadata"] = ANY
        extra = schema.get("additionalProperties")
        if isinstance(extra, Mapping):
            node.shape, node.values = "map", self.compile(extra)
        elif extra is True:
            node.shape, node.values = "map", ANY
        elif not node.properties and node.preserve:
            node.shape = "any"

    def _fill_list(self, node: Node, schema: Mapping[str, Any]) -> None:
        node.shape = "list"
        elements = schema.get("items")
        node.elements = self.compile(elements) if isinstance(elements, Mapping) else ANY
        node.list_kind = str(schema.get("x-kubernetes-list-type", "atomic"))
        node.keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        node.merge_key = str(schema.get("x-kubernetes-patch-merge-key", ""))
        if node.list_kind == "map" and not node.keys:
            node.list_kind = "atomic"


_STRING = Node("scalar", {"type": "string"}, type="string")


def _strategies(schema: Mapping[str, Any]) -> frozenset[str]:
    written = str(schema.get("x-kubernetes-patch-strategy", ""))
    return frozenset(written.split(",")) if written else frozenset()


def _with_extras(node: Node, schema: Mapping[str, Any]) -> Node:
    return replace(
        node,
        patch_strategies=_strategies(schema) or node.patch_strategies,
        atomic=node.atomic or schema.get("x-kubernetes-map-type") == "atomic",
        has_default="default" in schema,
        default=schema.get("default"),
    )


def with_identity(node: Node, metadata: Node) -> Node:
    """A custom resource's root: its schema with apiVersion, kind and the API's own metadata."""
    properties = {**node.properties, "apiVersion": _STRING, "kind": _STRING, "metadata": metadata}
    shape: Shape = "object" if node.shape == "any" else node.shape
    return replace(node, shape=shape, properties=properties)


def element_key(node: Node, element: Any) -> tuple[Any, ...] | None:
    """The identity of one element of an associative list; None when a key is missing and has no default."""
    if node.list_kind == "set":
        return (element,) if not isinstance(element, (dict, list)) else None
    if not isinstance(element, Mapping):
        return None
    found: list[Any] = []
    for key in node.keys:
        value = element.get(key)
        if value is None:
            child = node.elements.child(key) if node.elements else None
            value = child.default if child is not None and child.has_default else None
        if value is None and key not in element and len(node.keys) == 1:
            return None
        found.append(value)
    return tuple(found)


def join_path(path: Sequence[str | int]) -> str:
    """`("spec", "containers", 0, "name")` → `spec.containers[0].name`, as Kubernetes writes field paths."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            written += f".{part}" if written else part
    return written
