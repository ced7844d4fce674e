"""From stored objects to answer bodies: JSON, Table, metadata only, watch events. Called by `api` and `watching`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.sandbox import statuses, tables
from reconciler.sandbox.conversion import to_version
from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.state import Stored, encode

JSON = "application/json"
_READABLE = ("application/json", "application/*", "*/*", "")


@dataclass(frozen=True, slots=True)
class Format:
    """What the client wants: shape object | table | metadata, and which object a table row carries."""

    shape: str = "object"
    group_version: str = "meta.k8s.io/v1"
    include: str = "Metadata"


PLAIN = Format()


def negotiate(accept: str, include: str) -> Format:
    """The first acceptable format of an Accept header. ApiError 406 when there is none."""
    for option in accept.split(","):
        parts = [part.strip() for part in option.split(";")]
        parameters = dict(part.partition("=")[::2] for part in parts[1:])
        if parts[0] not in _READABLE:
            continue
        wanted = parameters.get("as")
        group_version = f"{parameters.get('g', 'meta.k8s.io')}/{parameters.get('v', 'v1')}"
        if wanted is None:
            return PLAIN
        if group_version == "meta.k8s.io/v1" and wanted == "Table":
            return Format("table", group_version, include or "Metadata")
        if group_version == "meta.k8s.io/v1" and wanted in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Format("metadata", group_version)
    raise statuses.not_acceptable([JSON])


def object_bytes(resource_type: ResourceType, stored: Stored) -> bytes:
    """The JSON of one object in the version of `resource_type`."""
    if stored.value["apiVersion"] == resource_type.api_version:
        return stored.encoded
    return encode(to_version(resource_type, stored.value))


def render_object(resource_type: ResourceType, value: dict[str, Any], wanted: Format) -> bytes:
    """One object in the wanted shape."""
    if wanted.shape == "table":
        return encode(
            _table(resource_type, [value], wanted, {"resourceVersion": value["metadata"].get("resourceVersion", "")})
        )
    if wanted.shape == "metadata":
        return encode(_partial(value))
    return encode(to_version(resource_type, value))


def render_list(
    resource_type: ResourceType, found: Sequence[Stored], metadata: dict[str, Any], wanted: Format
) -> bytes:
    """A list in the wanted shape; plain lists are joined from the stored bytes."""
    if wanted.shape == "table":
        return encode(_table(resource_type, [one.value for one in found], wanted, metadata))
    if wanted.shape == "metadata":
        listed = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        return encode({**listed, "items": [_partial(one.value) for one in found]})
    head = encode({"kind": f"{resource_type.kind}List", "apiVersion": resource_type.api_version, "metadata": metadata})
    return b'%b,"items":[%b]}\n' % (head[:-1], b",".join(object_bytes(resource_type, one) for one in found))


def render_event(resource_type: ResourceType, kind: str, stored: Stored, wanted: Format) -> bytes:
    """One line of a watch."""
    if wanted.shape == "object":
        body = object_bytes(resource_type, stored)
    else:
        body = render_object(resource_type, stored.value, wanted)
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), body)


def render_error_event(error: statuses.ApiError) -> bytes:
    """The line that ends a watch that cannot go on."""
    return b'{"type":"ERROR","object":%b}\n' % encode(error.status())


def _table(
    resource_type: ResourceType, values: Sequence[dict[str, Any]], wanted: Format, metadata: dict[str, Any]
) -> dict[str, Any]:
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": tables.columns(resource_type),
        "rows": [tables.row(resource_type, value, _carried(value, wanted)) for value in values],
    }


def _carried(value: dict[str, Any], wanted: Format) -> dict[str, Any] | None:
    if wanted.include == "None":
        return None
    return value if wanted.include == "Object" else _partial(value)


def _partial(value: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]}
