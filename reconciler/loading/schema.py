"""The JSON Schema of whole documents: envelope, life cycle and a kind's own `spec`; for the loader and `schema KIND`.

A kind's schema is taken as it is, with three exceptions: a field marked `x-secret` takes a reference to its value
instead of the value, an object with `properties` is closed unless it says otherwise, and `$ref`s follow the move.
`x-expected` beside a `pattern` says in words what it wants; it is what an error message shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from reconciler.kind import Kind
from reconciler.loading.marks import Extractor, compile_extractor
from reconciler.model.duration import PATTERN as DURATION_PATTERN
from reconciler.model.resource import API_VERSION, KIND_PATTERN, NAME_PATTERN

if TYPE_CHECKING:
    import jsonschema_rs

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MIN_INTERVAL = 1.0
_SPEC = "#/properties/spec"
_COMBINATORS = ("allOf", "anyOf", "oneOf", "if", "$ref", "$dynamicRef", "dependentSchemas")
_NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")  # keywords that hold schemas by name
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "propertyNames", "contains")
_CONDITIONS = ("if", "then", "else", "not")
_REFERENCE_PATTERN = KIND_PATTERN.removesuffix("$") + "/" + NAME_PATTERN.removeprefix("^")
_LABEL_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?{_LABEL_NAME}$"

METADATA_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "What the resource is called.",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {
            "type": "string",
            "description": "Unique among the resources of this kind.",
            "pattern": NAME_PATTERN,
            "x-expected": "a name: lower-case letters, digits and -, at most 63, first and last a letter or digit",
        },
        "labels": {
            "type": "object",
            "description": "Free keys and values to select resources by.",
            "maxProperties": 100,
            "propertyNames": {
                "maxLength": 317,
                "pattern": _LABEL_KEY,
                "x-expected": "a label key: up to 63 letters, digits, -, _ and ., after an optional `domain/`",
            },
            "additionalProperties": {
                "type": "string",
                "description": "Value of the label.",
                "pattern": rf"^({_LABEL_NAME})?$",
                "x-expected": "a label value: up to 63 letters, digits, -, _ and ., first and last a letter or digit",
            },
        },
    },
}

LIFECYCLE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "How the resource is looked after; the same for every kind.",
    "additionalProperties": False,
    "properties": {
        "state": {
            "enum": ["present", "absent"],
            "default": "present",
            "description": "Whether it shall exist.",
        },
        "dependsOn": {
            "type": "array",
            "description": "What has to be ready first, each as Kind/name.",
            "maxItems": 1000,
            "uniqueItems": True,
            "items": {
                "type": "string",
                "description": "Kind/name of another resource.",
                "pattern": _REFERENCE_PATTERN,
                "x-expected": "a reference: write Kind/name, for example Cluster/dev",
            },
        },
        "suspend": {"type": "boolean", "default": False, "description": "True: it is left alone, drift included."},
        "approval": {
            "enum": ["auto", "manual"],
            "default": "auto",
            "description": "manual: its changes wait for `reconciler approve`.",
        },
        "deletion": {
            "enum": ["delete", "orphan", "protect"],
            "default": "delete",
            "description": "What deleting it means: delete the live thing, leave it alone (orphan), refuse (protect).",
        },
        "replace": {
            "enum": ["forbid", "allow"],
            "default": "forbid",
            "description": "Whether a change of an immutable field may delete the live thing and create it anew.",
        },
        "mode": {
            "enum": ["enforce", "notify", "observe"],
            "default": "enforce",
            "description": "enforce: drift is corrected. notify: it is only reported. observe: nothing is changed.",
        },
        "ignore": {
            "type": "array",
            "description": "Fields left to others, for comparing and for applying.",
            "maxItems": 100,
            "items": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1000,
                "description": "Dotted path of a field, for example spec.replicas.",
            },
        },
        "interval": {
            "type": ["string", "number"],
            "default": "5m",
            "description": "How often drift is looked for: a duration such as 30s or 5m, or seconds. At least 1s.",
            "pattern": DURATION_PATTERN,
            "maxLength": 63,
            "minimum": MIN_INTERVAL,
            "x-expected": "a duration: write for example 30s, 5m or 1h30m",
        },
    },
}


def document_schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document of this kind, as `reconciler schema KIND` prints it."""
    spec = _adapted(dict(kind.schema), closes=True)
    spec.pop("$schema", None)
    spec.pop("$id", None)
    definitions = spec.pop("$defs", None)
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        "title": kind.name,
        "description": f"A resource of kind {kind.name}.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "Version of the document format."},
            "kind": {"const": kind.name, "description": "What the resource is."},
            "metadata": METADATA_SCHEMA,
            "lifecycle": LIFECYCLE_SCHEMA,
            "spec": spec,
        },
    }
    spec.setdefault("description", f"What is wanted of the {kind.name}.")
    if definitions:
        schema["$defs"] = definitions
    return schema


def _adapted(schema: Any, *, closes: bool) -> Any:
    """A kind's (sub)schema as it stands in the document's. closes: it alone describes its value."""
    if not isinstance(schema, Mapping):
        return schema
    if schema.get("x-secret") is True:
        return _secret_reference(schema)
    adapted = {keyword: _adapted_keyword(keyword, value, closes) for keyword, value in schema.items()}
    has_word = {"additionalProperties", "unevaluatedProperties", "patternProperties"} & adapted.keys()
    if closes and "properties" in adapted and not has_word:
        is_combined = any(keyword in adapted for keyword in _COMBINATORS)
        adapted["unevaluatedProperties" if is_combined else "additionalProperties"] = False
    return adapted


def _adapted_keyword(keyword: str, value: Any, closes: bool) -> Any:
    if keyword == "$ref" and isinstance(value, str):
        if value == "#" or (value.startswith("#/") and not value.startswith("#/$defs/")):
            return _SPEC + value[1:]
        return value
    if keyword in _NAMED and isinstance(value, Mapping):
        is_closing = closes and keyword in ("properties", "patternProperties")
        return {name: _adapted(member, closes=is_closing) for name, member in value.items()}
    if keyword in _LISTS and isinstance(value, list | tuple):
        return [_adapted(member, closes=closes and keyword == "prefixItems") for member in value]
    if keyword in _SINGLE:
        return _adapted(value, closes=closes)
    return _adapted(value, closes=False) if keyword in _CONDITIONS else value


def _secret_reference(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a reference to a secret, in place of the secret's own."""
    kept = {keyword: value for keyword, value in schema.items() if keyword in ("title", "description", "deprecated")}
    kept |= {keyword: value for keyword, value in schema.items() if keyword.startswith("x-")}
    sources = {
        "fromEnv": ("Name of the environment variable that holds the value.", 1000),
        "fromFile": ("File that holds the value: absolute, ~, or a name in an allowed folder.", 4096),
    }
    return kept | {
        "oneOf": [
            {
                "type": "object",
                "description": f"Where the secret stands. {text}",
                "required": [source],
                "additionalProperties": False,
                "properties": {
                    source: {"type": "string", "minLength": 1, "maxLength": longest, "description": text},
                },
            }
            for source, (text, longest) in sources.items()
        ]
    }


def kind_schema(kind: Kind) -> KindSchema:
    """The compiled schema of a kind: the same one each time, unless the kind cannot be hashed."""
    try:
        return _kept(kind)  # type: ignore[arg-type]  # whether it can be hashed is just being tried
    except TypeError:
        return KindSchema(kind)


@lru_cache(maxsize=256)
def _kept(kind: Kind) -> KindSchema:
    return KindSchema(kind)


class KindSchema:
    """A kind with its document schema, compiled when first used."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    @cached_property
    def schema(self) -> dict[str, Any]:
        """See `document_schema`."""
        return document_schema(self.kind)

    @cached_property
    def validator(self) -> jsonschema_rs.Draft202012Validator:
        """The compiled validator. Raises ValueError when the kind's schema itself is wrong."""
        import jsonschema_rs  # noqa: PLC0415  # 20 ms that printing a schema does not need

        return jsonschema_rs.Draft202012Validator(self.schema, offline=True)

    @cached_property
    def extractor(self) -> Extractor | None:
        """Finds the marked fields of a spec; None when the kind has none."""
        return compile_extractor(self.schema, _SPEC)
