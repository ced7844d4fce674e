"""CustomResourceDefinitions: checked, established, turned into served types and compiled schemas.

Pure but for `Registry.replace_group_resource`; called by `writes` for definitions and by `cluster` on load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.sandbox.objects import is_dns_label, now
from reconciler.sandbox.resource_types import ResourceType, ScalePaths, version_priority
from reconciler.sandbox.schema import ANY, Compiler, Node, with_identity
from reconciler.sandbox.validation import Cause, invalid, required

_TYPES = ("object", "array", "string", "integer", "number", "boolean")
CEL = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Column:
    """One additional printer column: name, type, the JSON path, and whether only `-o wide` shows it."""

    name: str
    type: str
    path: str
    wide: bool = False
    description: str = ""


def default_names(value: dict[str, Any]) -> None:
    """Fill singular and listKind in place, and forget a status that a client sent."""
    names = (value.get("spec") or {}).get("names")
    if isinstance(names, dict) and isinstance(names.get("kind"), str):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")


def check_definition(value: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with a definition."""
    spec = value.get("spec") or {}
    names = spec.get("names") or {}
    expected = f"{names.get('plural')}.{spec.get('group')}"
    if value["metadata"].get("name") != expected:
        yield invalid("metadata.name", value["metadata"].get("name"), 'must be spec.names.plural+"."+spec.group')
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        yield invalid("spec.scope", spec.get("scope"), 'must be "Cluster" or "Namespaced"')
    for field in ("plural", "singular"):
        if not is_dns_label(str(names.get(field, ""))):
            yield invalid(f"spec.names.{field}", names.get(field), "a DNS-1035 label is needed")
    if "." not in str(spec.get("group", "")):
        yield invalid("spec.group", spec.get("group"), "should be a domain with at least one dot")
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid("spec.versions", None, "must have exactly one version marked as storage version")
    if len({version.get("name") for version in versions}) != len(versions):
        yield invalid("spec.versions", None, "must contain unique version names")
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}].schema.openAPIV3Schema"
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not isinstance(schema, Mapping):
            yield required(path, "schemas are required")
            continue
        if schema.get("type") != "object":
            yield invalid(f"{path}.type", schema.get("type"), "must be object at the root")
        yield from _check_structural(schema, path)


def _check_structural(schema: Any, path: str) -> Iterator[Cause]:
    if not isinstance(schema, Mapping):
        yield invalid(path, schema, "must be an object")
        return
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    kind = schema.get("type")
    if kind is None and not free:
        yield required(f"{path}.type", "must not be empty for specified object fields")
    elif kind is not None and kind not in _TYPES:
        yield invalid(f"{path}.type", kind, f"must be one of {', '.join(_TYPES)}")
    if kind == "array" and not isinstance(schema.get("items"), Mapping):
        yield required(f"{path}.items", "must be specified")
    if schema.get("x-kubernetes-list-type") == "map" and not schema.get("x-kubernetes-list-map-keys"):
        yield required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
    if isinstance(schema.get("items"), Mapping):
        yield from _check_structural(schema["items"], f"{path}.items")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _check_structural(schema["additionalProperties"], f"{path}.additionalProperties")
    for name, sub in (schema.get("properties") or {}).items():
        if name == "metadata" and path.endswith("openAPIV3Schema"):
            continue
        yield from _check_structural(sub, f"{path}.properties[{name}]")


def uses_cel(schema: Any) -> bool:
    """Whether a schema has CEL rules anywhere: the sandbox keeps them and does not evaluate them."""
    if isinstance(schema, Mapping):
        return CEL in schema or any(uses_cel(sub) for sub in schema.values())
    return isinstance(schema, list) and any(uses_cel(sub) for sub in schema)


def establish(value: dict[str, Any]) -> None:
    """Write the status of an accepted definition in place: names accepted, established, stored versions."""
    names, versions = value["spec"]["names"], value["spec"]["versions"]
    status = value.setdefault("status", {})
    status["acceptedNames"] = names
    storage = next(version["name"] for version in versions if version.get("storage"))
    stored = status.setdefault("storedVersions", [])
    if storage not in stored:
        stored.append(storage)
    if not status.get("conditions"):
        moment = now()
        status["conditions"] = [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", moment),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", moment),
        ]


def _condition(kind: str, reason: str, message: str, moment: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": moment}


def served_types(value: Mapping[str, Any]) -> list[ResourceType]:
    """The types that a definition adds, one a served version."""
    spec = value["spec"]
    names = spec["names"]
    found: list[ResourceType] = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        found.append(
            ResourceType(
                group=spec["group"],
                version=version["name"],
                kind=names["kind"],
                plural=names["plural"],
                component=component_name(spec["group"], version["name"], names["kind"]),
                namespaced=spec["scope"] == "Namespaced",
                singular=names.get("singular", ""),
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                status="status" in subresources,
                scale=_scale_paths(subresources.get("scale")),
                field_labels=frozenset(one["jsonPath"].lstrip(".") for one in version.get("selectableFields") or ()),
                generation=True,
                unconditional=False,
                resets_status="status" in subresources,
                custom=True,
                columns=tuple(_columns(version)),
            )
        )
    return sorted(found, key=lambda one: version_priority(one.version))


def component_name(group: str, version: str, kind: str) -> str:
    """`example.com`, `v1`, `Widget` → `com.example.v1.Widget`."""
    return ".".join([*reversed(group.split(".")), version, kind])


def _scale_paths(scale: Mapping[str, Any] | None) -> ScalePaths | None:
    if scale is None:
        return None
    return ScalePaths(
        spec=str(scale.get("specReplicasPath", "")).lstrip("."),
        status=str(scale.get("statusReplicasPath", "")).lstrip("."),
        selector=str(scale.get("labelSelectorPath", "")).lstrip("."),
    )


def _columns(version: Mapping[str, Any]) -> Iterator[Column]:
    for one in version.get("additionalPrinterColumns") or ():
        wide = int(one.get("priority", 0)) > 0
        yield Column(one["name"], one["type"], one["jsonPath"], wide, str(one.get("description", "")))


def schema_of(value: Mapping[str, Any], version: str) -> Mapping[str, Any]:
    """The OpenAPI schema of one version of a definition."""
    for one in value["spec"]["versions"]:
        if one["name"] == version:
            schema: Mapping[str, Any] = one["schema"]["openAPIV3Schema"]
            return schema
    return {}


def compile_version(value: Mapping[str, Any], version: str, built_in: Compiler) -> Node:
    """The compiled schema of one version, with the API's own metadata at its root."""
    spec = value["spec"]
    node = Compiler().compile(schema_of(value, version))
    if spec.get("preserveUnknownFields"):
        node = ANY
    return with_identity(node, built_in.reference("v1.ObjectMeta"))
