"""Value checks of a schema (required, enum, bounds, patterns, combinations), as causes in Kubernetes' own words.

Pure. Called by `verbs` after decoding: for custom resources with all keywords of structural schemas, for built-in types
with what the derived schemas say. CEL rules (`x-kubernetes-validations`) are not evaluated.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.sandbox.schema import Node, element_key, join_path

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason of an Invalid status: reason (FieldValueRequired …), message, field (`spec.replicas`)."""

    reason: str
    message: str
    field: str

    def sentence(self) -> str:
        """`spec.replicas: Required value`, the form used inside the status message."""
        return f"{self.field}: {self.message}"


def required(path: str, detail: str = "") -> Cause:
    """The cause of a field that must be there."""
    return Cause("FieldValueRequired", f"Required value{': ' + detail if detail else ''}", path)


def invalid(path: str, value: Any, detail: str) -> Cause:
    """The cause of a field whose value cannot be."""
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}", path)


def unsupported(path: str, value: Any, supported: list[Any]) -> Cause:
    """The cause of a value outside an enumeration."""
    choices = ", ".join(shown(choice) for choice in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {choices}", path)


def duplicate(path: str, value: Any) -> Cause:
    """The cause of a second element with the same identity."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", path)


def shown(value: Any) -> str:
    """`value` as JSON, shortened."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"


def check(node: Node, value: Any, path: _Path = ()) -> Iterator[Cause]:
    """Every cause that `value` gives under `node`, in document order."""
    raw = node.raw
    where = join_path(path)
    if value is None:
        if not node.nullable and node.shape != "any":
            yield invalid(where, None, f"{where} in body must be of type {node.type}: null")
        return
    if "enum" in raw and value not in raw["enum"]:
        yield unsupported(where, value, raw["enum"])
    if isinstance(value, dict):
        yield from _check_object(node, value, path)
    elif isinstance(value, list):
        yield from _check_list(node, value, path)
    elif isinstance(value, str):
        yield from _check_string(raw, value, where)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _check_number(raw, value, where)
    if "allOf" in raw or "anyOf" in raw or "oneOf" in raw or "not" in raw:
        yield from _check_combinations(raw, value, where)


def _check_object(node: Node, value: dict[str, Any], path: _Path) -> Iterator[Cause]:
    for name in node.required:
        if name not in value:
            yield required(join_path((*path, name)))
    where = join_path(path)
    yield from _check_count(node.raw, len(value), where, ("minProperties", "maxProperties", "properties"))
    for name, element in value.items():
        child = node.child(name)
        if child is not None and child.shape != "any":
            yield from check(child, element, (*path, name))


def _check_list(node: Node, value: list[Any], path: _Path) -> Iterator[Cause]:
    where = join_path(path)
    yield from _check_count(node.raw, len(value), where, ("minItems", "maxItems", "items"))
    if node.list_kind in ("map", "set"):
        seen: set[str] = set()
        for index, element in enumerate(value):
            key = json.dumps(element_key(node, element), sort_keys=True)
            if key in seen:
                named = dict(zip(node.keys, element_key(node, element) or (), strict=False))
                yield duplicate(join_path((*path, index)), named or element)
            seen.add(key)
    elif node.raw.get("uniqueItems") and len({json.dumps(one, sort_keys=True) for one in value}) != len(value):
        yield invalid(where, value, f"{where} in body shouldn't contain duplicates")
    if node.elements is not None and node.elements.shape != "any":
        for index, element in enumerate(value):
            yield from check(node.elements, element, (*path, index))


def _check_count(raw: Mapping[str, Any], count: int, where: str, words: tuple[str, str, str]) -> Iterator[Cause]:
    least, most, what = words
    if least in raw and count < raw[least]:
        yield invalid(where, count, f"{where} in body should have at least {raw[least]} {what}")
    if most in raw and count > raw[most]:
        yield Cause("FieldValueTooMany", f"Too many: {count}: must have at most {raw[most]} {what}", where)


def _check_string(raw: Mapping[str, Any], value: str, where: str) -> Iterator[Cause]:
    if "minLength" in raw and len(value) < raw["minLength"]:
        yield invalid(where, value, f"{where} in body should be at least {raw['minLength']} chars long")
    if "maxLength" in raw and len(value) > raw["maxLength"]:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {raw['maxLength']} bytes", where)
    pattern = raw.get("pattern")
    if pattern and not _matches(pattern, value):
        yield invalid(where, value, f"{where} in body should match '{pattern}'")
    if raw.get("format") == "date-time" and value and not _RFC3339.match(value):
        yield invalid(where, value, f"{where} in body must be of type datetime: {shown(value)}")


_RFC3339 = re.compile(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")


def _matches(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or bool(compiled.is_valid(value))


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    """A validator of the pattern by an engine whose time is bounded by the text's length, as the API server's is.

    None for a pattern that only RE2 understands: it cannot be judged here.
    """
    import jsonschema_rs  # noqa: PLC0415 - costs 0.2 s, only definitions with patterns need it

    try:
        options = jsonschema_rs.RegexOptions()
        return jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=options)
    except ValueError:
        return None


def _check_number(raw: Mapping[str, Any], value: float, where: str) -> Iterator[Cause]:
    low, high = raw.get("minimum"), raw.get("maximum")
    if low is not None and (value < low or (raw.get("exclusiveMinimum") and value == low)):
        bound = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(where, value, f"{where} in body should be {bound} {low}")
    if high is not None and (value > high or (raw.get("exclusiveMaximum") and value == high)):
        bound = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(where, value, f"{where} in body should be {bound} {high}")
    step = raw.get("multipleOf")
    if step and (value / step) != int(value / step):
        yield invalid(where, value, f"{where} in body should be a multiple of {step}")


def _check_combinations(raw: Mapping[str, Any], value: Any, where: str) -> Iterator[Cause]:
    if any(not _accepts(sub, value) for sub in raw.get("allOf", ())):
        yield invalid(where, value, f"{where} in body must validate all the schemas (allOf)")
    if "anyOf" in raw and not any(_accepts(sub, value) for sub in raw["anyOf"]):
        yield invalid(where, value, f"{where} in body must validate at least one schema (anyOf)")
    if "oneOf" in raw and sum(_accepts(sub, value) for sub in raw["oneOf"]) != 1:
        yield invalid(where, value, f"{where} in body must validate one and only one schema (oneOf)")
    if "not" in raw and _accepts(raw["not"], value):
        yield invalid(where, value, f"{where} in body must not validate the schema (not)")


_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "number": (int, float),
    "integer": (int,),
}


def _accepts(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value-only sub-schema (inside allOf, anyOf, oneOf, not) accepts `value`."""
    kinds = _JSON_TYPES.get(str(schema.get("type", "")))
    if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, dict):
        if any(name not in value for name in schema.get("required", ())):
            return False
        properties = schema.get("properties", {})
        if any(not _accepts(sub, value[name]) for name, sub in properties.items() if name in value):
            return False
        plain = next(_check_count(schema, len(value), "", ("minProperties", "maxProperties", "")), None)
    elif isinstance(value, list):
        elements = schema.get("items")
        if elements and any(not _accepts(elements, one) for one in value):
            return False
        plain = next(_check_count(schema, len(value), "", ("minItems", "maxItems", "")), None)
    elif isinstance(value, str):
        plain = next(_check_string(schema, value, ""), None)
    elif isinstance(value, bool) or value is None:
        plain = None
    else:
        plain = next(_check_number(schema, value, ""), None)
    return plain is None and next(_check_combinations(schema, value, ""), None) is None
