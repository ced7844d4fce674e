"""OpenAPI v2 in the protobuf encoding that kubectl asks for, which validates a `List` with it. Pure; called by
`documents`.

Only what such clients read is written: the definitions with their types, references and extensions, not the paths.
Field numbers are those of the messages Document, Schema and Any of openapi.v2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

# What is answered, and what clients ask for beside it: a name with an @ is none that a Content-Type may have.
MEDIA_TYPES = (
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
)


def encode_document(document: Mapping[str, Any]) -> bytes:
    """The message Document of an OpenAPI v2 document."""
    information = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    definitions = _named(document["definitions"])
    return _text(1, document["swagger"]) + _part(2, information) + _part(9, definitions)


def _named(schemas: Mapping[str, Any]) -> bytes:
    return b"".join(_part(1, _text(1, name) + _part(2, _schema(schema))) for name, schema in schemas.items())


def _schema(schema: Mapping[str, Any]) -> bytes:
    parts = [_text(number, schema[name]) for name, number in (("$ref", 1), ("format", 2)) if name in schema]
    if "description" in schema:
        parts.append(_text(4, schema["description"]))
    if "default" in schema:
        parts.append(_part(5, _any(schema["default"])))
    parts += [_text(19, name) for name in schema.get("required") or ()]
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping):
        parts.append(_part(21, _part(1, _schema(extra))))
    elif extra is True:
        parts.append(_part(21, b"\x10\x01"))
    if schema.get("type"):
        parts.append(_part(22, _text(1, schema["type"])))
    if isinstance(schema.get("items"), Mapping):
        parts.append(_part(23, _part(1, _schema(schema["items"]))))
    if "properties" in schema:
        parts.append(_part(25, _named(schema["properties"])))
    return b"".join([*parts, *_extensions(schema)])


def _extensions(schema: Mapping[str, Any]) -> Iterable[bytes]:
    for name, value in schema.items():
        if name.startswith("x-"):
            yield _part(31, _text(1, name) + _part(2, _any(value)))


def _any(value: Any) -> bytes:
    """A value as YAML text, which JSON is."""
    return _text(2, json.dumps(value))


def _text(number: int, value: Any) -> bytes:
    return _part(number, str(value).encode())


def _part(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
