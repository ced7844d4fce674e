"""OpenAPI v2 (`/openapi/v2`), worked out from the documents of OpenAPI v3. Pure; called by `documents` when asked for.

Version 2 knows no combinations of schemas, no null and no media types of a body: what only these say is left out, as
API servers do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_REF3, _REF2 = "#/components/schemas/", "#/definitions/"
_DROPPED = frozenset({"allOf", "anyOf", "oneOf", "not", "nullable"})
_METHODS = ("get", "put", "post", "delete", "patch")
_JSON = ["application/json"]


def document(version: str, documents: Iterable[bytes]) -> dict[str, Any]:
    """The one document of a cluster of Kubernetes `version`. documents: every OpenAPI v3 document."""
    paths: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for encoded in documents:
        read = json.loads(encoded)
        for name, schema in read["components"]["schemas"].items():
            if name not in definitions:
                definitions[name] = _schema(schema)
        paths.update({path: _path(entry) for path, entry in read["paths"].items()})
    information = {"title": "Kubernetes", "version": f"v{version}"}
    return {"swagger": "2.0", "info": information, "paths": paths, "definitions": definitions}


def _schema(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_schema(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    written: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "$ref":
            written[name] = str(value).replace(_REF3, _REF2)
        elif name in ("properties", "definitions"):
            written[name] = {key: _schema(one) for key, one in value.items()}
        elif name in ("items", "additionalProperties"):
            written[name] = _schema(value)
        elif name not in _DROPPED:
            written[name] = value
    wrapped: list[Any] = schema.get("allOf") or []
    if len(wrapped) == 1 and "$ref" in wrapped[0]:
        written["$ref"] = str(wrapped[0]["$ref"]).replace(_REF3, _REF2)
    if schema.get("format") in ("quantity", "int-or-string"):
        written["type"] = "string"
    return written


def _path(entry: Mapping[str, Any]) -> dict[str, Any]:
    written: dict[str, Any] = {"parameters": [_parameter(one) for one in entry.get("parameters", ())]}
    for method in _METHODS:
        if method in entry:
            written[method] = _operation(entry[method])
    return written


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    content = operation["responses"]["200"]["content"]
    answer = {"schema": _schema(content["application/json"]["schema"])} if content else {}
    written = {key: value for key, value in operation.items() if key.startswith("x-")}
    written["parameters"] = [_parameter(one) for one in operation["parameters"]]
    written |= {"produces": _JSON, "responses": {"200": {"description": "OK", **answer}}}
    body = operation.get("requestBody")
    if body:
        media_types = list(body["content"])
        schema = _schema(body["content"][media_types[0]]["schema"])
        written["consumes"] = media_types
        written["parameters"].append({"name": "body", "in": "body", "required": True, "schema": schema})
    return written
