"""OpenAPI v3: the index and one document per group and version, from the derived components and from custom
definitions.

Pure; called by `api`, which keeps the result until the registry changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.sandbox import custom_resources
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.state import encode

_REF = "#/components/schemas/"
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
)
_STRATEGIC = "application/strategic-merge-patch+json"


def documents(cluster: Cluster) -> dict[str, bytes]:
    """Document by path (`api/v1`, `apis/apps/v1`)."""
    found: dict[str, bytes] = {}
    for group, versions in cluster.registry.group_versions().items():
        for version in versions:
            place = f"apis/{group}/{version}" if group else f"api/{version}"
            found[place] = encode(_document(cluster, place, cluster.registry.of(group, version)))
    return found


def index(found: Mapping[str, bytes]) -> dict[str, Any]:
    """/openapi/v3: where each document is, with a hash so that clients may keep it."""
    return {
        "paths": {
            place: {"serverRelativeURL": f"/openapi/v3/{place}?hash={hashlib.sha256(body).hexdigest()[:32].upper()}"}
            for place, body in found.items()
        }
    }


def _document(cluster: Cluster, place: str, types: list[ResourceType]) -> dict[str, Any]:
    components: dict[str, Any] = {}
    for one in types:
        components[one.component] = _component(cluster, one)
        if not one.is_question:
            components[f"{one.component}List"] = _list_component(one)
    wanted = [*_references(list(components.values())), f"{_REF}v1.Scale", f"{_REF}v1.DeleteOptions"]
    _add_referenced(components, wanted, cluster.catalog.components)
    paths: dict[str, Any] = {}
    for one in types:
        paths.update(_paths(place, one))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": f"v{cluster.version}"},
        "paths": paths,
        "components": {"schemas": components},
    }


def _component(cluster: Cluster, one: ResourceType) -> dict[str, Any]:
    kinds = {"x-kubernetes-group-version-kind": [_kind(one)]}
    if not one.custom:
        return {**cluster.catalog.components[one.component], **kinds}
    schema = dict(custom_resources.schema_of(cluster.definition(one), one.version))
    identity = {
        "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
        "kind": {"type": "string", "description": "The type of this object."},
        "metadata": {"allOf": [{"$ref": f"{_REF}v1.ObjectMeta"}], "description": "Standard object metadata."},
    }
    schema["properties"] = {**schema.get("properties", {}), **identity}
    return {**schema, **kinds}


def _list_component(one: ResourceType) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "items": {"type": "array", "items": {"$ref": _REF + one.component}},
        },
        "x-kubernetes-group-version-kind": [{**_kind(one), "kind": f"{one.kind}List"}],
    }


def _kind(one: ResourceType) -> dict[str, str]:
    return {"group": one.group, "version": one.version, "kind": one.kind}


def _references(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference
        for below in value.values():
            yield from _references(below)
    elif isinstance(value, list):
        for below in value:
            yield from _references(below)


def _add_referenced(components: dict[str, Any], wanted: Iterable[str], known: Mapping[str, Any]) -> None:
    for reference in wanted:
        name = reference.removeprefix(_REF)
        if name not in components and name in known:
            components[name] = known[name]
            _add_referenced(components, _references(known[name]), known)


def _paths(place: str, one: ResourceType) -> dict[str, Any]:
    scope = "/namespaces/{namespace}" if one.namespaced else ""
    collection = f"/{place}{scope}/{one.plural}"
    single = f"{collection}/{{name}}"
    path_parameters = [_parameter("namespace", "path")] if one.namespaced else []
    listed = [_parameter(name) for name in ("labelSelector", "fieldSelector", "limit", "continue", "watch")]
    if one.is_question:
        return {
            collection: {"post": _operation(one, "post", _write_parameters(), one.component, [("*/*", one.component)])}
        }
    paths: dict[str, Any] = {
        collection: {
            "parameters": path_parameters,
            "get": _operation(one, "list", listed, f"{one.component}List"),
            "post": _operation(one, "post", _write_parameters(), one.component, [("*/*", one.component)]),
            "delete": _operation(one, "deletecollection", listed, ""),
        },
        single: _single(one, path_parameters, one.component),
    }
    paths[single]["delete"] = _operation(one, "delete", [_parameter("dryRun"), _parameter("propagationPolicy")], "")
    if one.namespaced:
        paths[f"/{place}/{one.plural}"] = {"get": _operation(one, "list", listed, f"{one.component}List")}
    if one.status:
        paths[f"{single}/status"] = _single(one, path_parameters, one.component)
    if one.scale is not None:
        paths[f"{single}/scale"] = _single(one, path_parameters, "v1.Scale")
    return paths


def _single(one: ResourceType, path_parameters: list[dict[str, Any]], component: str) -> dict[str, Any]:
    patches = [*_PATCH_TYPES] if one.custom else [*_PATCH_TYPES, _STRATEGIC]
    return {
        "parameters": [*path_parameters, _parameter("name", "path")],
        "get": _operation(one, "get", [], component),
        "put": _operation(one, "put", _write_parameters(), component, [("*/*", component)]),
        "patch": _operation(
            one, "patch", [*_write_parameters(), _parameter("force")], component, [(kind, "") for kind in patches]
        ),
    }


def _write_parameters() -> list[dict[str, Any]]:
    return [_parameter(name) for name in ("dryRun", "fieldManager", "fieldValidation")]


def _parameter(name: str, place: str = "query") -> dict[str, Any]:
    kind = {"limit": "integer", "watch": "boolean", "force": "boolean"}.get(name, "string")
    return {"name": name, "in": place, "schema": {"type": kind}, **({"required": True} if place == "path" else {})}


def _operation(
    one: ResourceType,
    action: str,
    parameters: list[dict[str, Any]],
    answer: str,
    bodies: Iterable[tuple[str, str]] = (),
) -> dict[str, Any]:
    shown = {"application/json": {"schema": {"$ref": _REF + answer}}} if answer else {}
    operation: dict[str, Any] = {
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": shown}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _kind(one),
    }
    content = {kind: {"schema": {"$ref": _REF + name} if name else {"type": "object"}} for kind, name in bodies}
    if content:
        operation["requestBody"] = {"content": content, "required": True}
    return operation
