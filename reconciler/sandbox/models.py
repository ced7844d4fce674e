"""Derives OpenAPI component schemas from the models of the installed `kubernetes` client.

Run as a child process (`python -m reconciler.sandbox.models FILE`) by `catalog`, so that the server itself never
carries the client's modules; the result is plain JSON. Both generations of the client are understood: the pydantic
models (required fields, descriptions) and the older classes with `openapi_types` and `attribute_map` (required fields
are those whose setter refuses None).
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from reconciler.sandbox import schema_facts

_LIST = re.compile(r"^(?:list|List)\[(.+)\]$")
_DICT = re.compile(r"^(?:dict\(str, |Dict\[str, )(.+)[)\]]$")
_SCALARS: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "double"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "bytes": {"type": "string", "format": "byte"},
    "object": {},
}


def component_name(model: str) -> str:
    """`V1Pod` → `v1.Pod`; the prefixes that only keep Python names apart are dropped."""
    matched = re.match(r"^(?:Core|Apiextensions)?V(\d+(?:alpha\d+|beta\d+)?)(.+)$", model)
    return f"v{matched[1].lower()}.{matched[2]}" if matched else model


class Derivation:
    """Collects the component of every model that is reachable from the roots."""

    def __init__(self, models: Any) -> None:
        self._models = models
        self.components: dict[str, dict[str, Any]] = {}

    def add(self, model: str) -> None:
        """Add `model` and everything that it refers to. AttributeError when the client has no such model."""
        name = component_name(model)
        if name in self.components:
            return
        component: dict[str, Any] = {"type": "object"}
        self.components[name] = component
        cls = getattr(self._models, model)
        short = name.rpartition(".")[2]
        if short in schema_facts.ATOMIC_TYPES:
            component["x-kubernetes-map-type"] = "atomic"
        required = sorted(
            cls.attribute_map[attribute] for attribute in cls.openapi_types if _is_required(cls, attribute)
        )
        if required:
            component["required"] = required
        component["properties"] = {
            cls.attribute_map[attribute]: self._field(short, cls, attribute) for attribute in cls.openapi_types
        }

    def _field(self, owner: str, cls: Any, attribute: str) -> dict[str, Any]:
        field = cls.attribute_map[attribute]
        path = f"{owner}.{field}"
        schema = self._type(cls.openapi_types[attribute])
        if path in schema_facts.QUANTITIES:
            _mark_quantity(schema)
        elif path in schema_facts.INT_OR_STRINGS:
            schema = {"x-kubernetes-int-or-string": True, "format": "int-or-string"}
        elif path in schema_facts.FREE_OBJECTS:
            schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        extras: dict[str, Any] = {}
        if schema.get("type") == "array":
            fact = schema_facts.LISTS.get(path)
            extras = fact.extensions() if fact else {"x-kubernetes-list-type": "atomic"}
        if path in schema_facts.ATOMIC_FIELDS:
            extras["x-kubernetes-map-type"] = "atomic"
        if path in schema_facts.RETAIN_KEYS_FIELDS:
            extras["x-kubernetes-patch-strategy"] = "retainKeys"
        defaults = schema_facts.DEFAULTS.get(owner, {})
        if field in defaults:
            extras["default"] = defaults[field]
        description = _description(cls, attribute)
        if description:
            extras["description"] = description
        if extras and "$ref" in schema:
            return {"allOf": [schema], **extras}
        return {**schema, **extras}

    def _type(self, written: str) -> dict[str, Any]:
        if matched := _LIST.match(written):
            return {"type": "array", "items": self._type(matched[1])}
        if matched := _DICT.match(written):
            return {"type": "object", "additionalProperties": self._type(matched[1])}
        if written in _SCALARS:
            return dict(_SCALARS[written])
        self.add(written)
        return {"$ref": f"#/components/schemas/{component_name(written)}"}


def _mark_quantity(schema: dict[str, Any]) -> None:
    target = schema.get("additionalProperties", schema)
    target.clear()
    target.update({"oneOf": [{"type": "string"}, {"type": "number"}], "format": "quantity"})


def _pydantic_field(cls: Any, attribute: str) -> Any:
    """The pydantic field behind `attribute`, None for a class of the older generation."""
    fields = getattr(cls, "model_fields", None)
    if fields is None:
        return None
    if attribute in fields:
        return fields[attribute]
    wire = cls.attribute_map[attribute]
    return next(field for name, field in fields.items() if wire in (name, field.serialization_alias))


def _is_required(cls: Any, attribute: str) -> bool:
    field = _pydantic_field(cls, attribute)
    if field is not None:
        return bool(field.is_required())
    setter = getattr(getattr(cls, attribute), "fset", None)
    if setter is None:
        return False
    probe = object.__new__(cls)
    probe.local_vars_configuration = _CheckingConfiguration()
    try:
        setter(probe, None)
    except ValueError:
        return True
    return False


class _CheckingConfiguration:
    """What the setters of the older models look at before they refuse None."""

    client_side_validation = True


def _description(cls: Any, attribute: str) -> str:
    field = _pydantic_field(cls, attribute)
    if field is not None:
        return str(field.description or "")
    documentation = (getattr(cls, attribute).__doc__ or "").split("# noqa")[0]
    return " ".join(documentation.partition("\n")[2].split())


def derive(roots: list[str]) -> dict[str, dict[str, Any]]:
    """Component schemas by name (`v1.Pod`) of `roots` (Python model names) and all that they need."""
    import kubernetes.client.models as models  # noqa: PLC0415 - costs 0.3 s and 40 MB, only this function needs it

    derivation = Derivation(models)
    for root in roots:
        derivation.add(root)
    return derivation.components


def main(arguments: list[str]) -> int:
    """Write the components of the models named after FILE to FILE, whole or not at all."""
    target = Path(arguments[0])
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    partial.write_text(json.dumps(derive(arguments[1:]), separators=(",", ":")))
    partial.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
