"""`/api/v2/openapi.json`: every route of the API for programs, made of the application's own route table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, current_app
from werkzeug.routing import Rule

from reconciler import __version__
from reconciler.loading.schema import document_schema
from web.answers import writer

blueprint = Blueprint("openapi", __name__)
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
_SECURITY: list[dict[str, list[str]]] = [{"token": []}]
_KINDS = ("Cluster", "Project", "ApplicationSet")
_OLDER_PROJECT: dict[str, Any] = {
    "type": "object",
    "description": "A project as the predecessor took it.",
    "required": ["name", "repository"],
    "properties": {
        "name": {"type": "string"},
        "slug": {"type": "string"},
        "description": {"type": "string"},
        "cluster": {"type": "string", "description": "Left out: the only business cluster."},
        "repository": {
            "type": "object",
            "required": ["provider"],
            "properties": {
                "provider": {"enum": ["github", "gitlab", "generic"]},
                "name": {"type": "string"},
                "visibility": {"enum": ["private", "internal", "public"]},
                "url": {"type": "string"},
                "apiUrl": {"type": "string"},
                "defaultBranch": {"type": "string"},
                "auth": {"type": "object"},
            },
        },
    },
}
_BODIES: dict[str, Any] = {
    "clusters.create": {"$ref": "#/components/schemas/Cluster"},
    "projects.create": {"anyOf": [{"$ref": "#/components/schemas/Project"}, _OLDER_PROJECT]},
    "applicationsets.create": {"$ref": "#/components/schemas/ApplicationSet"},
    "tasks.approve": {"type": "object", "properties": {"fingerprint": {"type": "string"}}},
    "tasks.suspend": {
        "type": "object",
        "required": ["reason"],
        "properties": {"reason": {"type": "string"}, "until": {"type": "string"}},
    },
}


@blueprint.get("/api/v2/openapi.json")
def document() -> dict[str, Any]:
    """The description, in the form of OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(current_app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.rule.startswith("/api/"):
            path = _PARAMETER.sub(lambda match: f"{{{match[2]}}}", rule.rule)
            paths.setdefault(path, {}).update(_operations(rule))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Reconciler", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**{kind: _document(kind) for kind in _KINDS}, "Error": _ERROR, "Accepted": _ACCEPTED},
        },
    }


_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["reason", "message"],
    "properties": {
        "reason": {"type": "string"},
        "message": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string", "description": "JSON pointer into the body."},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
_ACCEPTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "taskId": {"type": "integer"},
        "resource": {"type": "string"},
        "state": {"type": "string"},
        "message": {"type": "string"},
    },
}


def _operations(rule: Rule) -> Iterator[tuple[str, Any]]:
    view = current_app.view_functions[rule.endpoint]
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if converter == "int" else "string"},
        }
        for converter, name in _PARAMETER.findall(rule.rule)
    ]
    for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
        operation: dict[str, Any] = {
            "operationId": f"{method.lower()}_{rule.endpoint.replace('.', '_')}",
            "summary": (view.__doc__ or "").strip().splitlines()[0],
            "responses": _responses(rule, is_write=method != "GET"),
        }
        if parameters:
            operation["parameters"] = parameters
        if method != "GET":
            operation["security"] = _SECURITY
        if rule.endpoint in _BODIES:
            operation["requestBody"] = {"content": {"application/json": {"schema": _BODIES[rule.endpoint]}}}
        yield method.lower(), operation


def _responses(rule: Rule, *, is_write: bool) -> dict[str, Any]:
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    if not is_write:
        return {"200": {"description": "What was asked for."}, "default": {"description": "An error.", **error}}
    accepted = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}}}
    is_older = rule.endpoint.startswith("older.")
    done = {"description": "Written down; Location is the task.", **({} if is_older else accepted)}
    return {"202": done, "default": {"description": "Refused.", **error}}


def _document(kind: str) -> dict[str, Any]:
    """The document of a kind as the API takes it: what is always the same may be left out."""
    schema = document_schema(writer().runtime.kinds[kind])
    schema = {name: value for name, value in schema.items() if name != "$schema"}
    rooted: dict[str, Any] = _rooted({**schema, "required": ["metadata"]}, f"#/components/schemas/{kind}")
    return rooted


def _rooted(schema: Any, root: str) -> Any:
    """The schema with its references leading to where it stands now."""
    if isinstance(schema, dict):
        return {
            name: f"{root}{value[1:]}"
            if name == "$ref" and isinstance(value, str) and value.startswith("#")
            else _rooted(value, root)
            for name, value in schema.items()
        }
    return [_rooted(member, root) for member in schema] if isinstance(schema, list) else schema
