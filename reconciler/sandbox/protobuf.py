"""Reads bodies in Kubernetes' protobuf encoding, which kubectl's `create` subcommands send. Called by `requests`.

The field numbers are in protobuf_fields.json, the types come from the same components as everything else. A field that
is not in the table is refused with 415, never dropped. Answers are always JSON.
"""

from __future__ import annotations

import base64
import datetime
import functools
import json
from collections.abc import Iterator, Mapping
from importlib import resources as package_files
from typing import Any

from reconciler.sandbox import statuses

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_REF = "#/components/schemas/"

# Scalars whose zero value says something: they are sent only when they were set. All others are sent always.
_SET_WHEN_SENT = frozenset({
    "activeDeadlineSeconds",
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "backoffLimit",
    "backoffLimitPerIndex",
    "blockOwnerDeletion",
    "completions",
    "controller",
    "defaultMode",
    "deletionGracePeriodSeconds",
    "enableServiceLinks",
    "failedJobsHistoryLimit",
    "fsGroup",
    "gracePeriodSeconds",
    "hostUsers",
    "immutable",
    "manualSelector",
    "maxFailedIndexes",
    "minReplicas",
    "mode",
    "optional",
    "orphanDependents",
    "parallelism",
    "priority",
    "privileged",
    "progressDeadlineSeconds",
    "readOnlyRootFilesystem",
    "replicas",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "startingDeadlineSeconds",
    "storageClassName",
    "successfulJobsHistoryLimit",
    "suspend",
    "targetCPUUtilizationPercentage",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "ttlSecondsAfterFinished",
})  # fmt: skip


class _RefusedError(ValueError):
    """The bytes are no message that is understood in full."""


@functools.cache
def _numbers() -> Mapping[str, Mapping[int, str]]:
    """Field names by number, by message; a name with a star is a message whose fields belong to the one around it."""
    text = (package_files.files("reconciler.sandbox") / "protobuf_fields.json").read_text()
    return {message: {number: name for name, number in fields.items()} for message, fields in json.loads(text).items()}


def decode(body: bytes, component: str, components: Mapping[str, Any]) -> dict[str, Any]:
    """The object in a protobuf body, which follows the schema `component`. ApiError 415 when it is not one, or not one
    that is understood in full.
    """
    try:
        if not body.startswith(_MAGIC):
            raise _RefusedError("it does not start as a Kubernetes message")
        envelope = dict(_fields(body[len(_MAGIC) :]))
        kinds = dict(_fields(_bytes(envelope.get(1, b""))))
        api_version, kind = _bytes(kinds[1]).decode(), _bytes(kinds[2]).decode()
        value = _message(_bytes(envelope.get(2, b"")), kind, component, components)
    except (_RefusedError, KeyError, IndexError, UnicodeDecodeError, ValueError) as error:
        accepted = ["application/json", "application/yaml"]
        raise statuses.unsupported_media_type(f"{MEDIA_TYPE}: {error}", accepted) from error
    return {"apiVersion": api_version, "kind": kind, **value}


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise _RefusedError("a number is longer than 64 bits")


def _fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and raw value of every field, in order."""
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        if tag & 7 == 0:
            value, at = _varint(body, at)
            yield tag >> 3, value - (1 << 64) if value >> 63 else value
        elif tag & 7 == 2:
            size, at = _varint(body, at)
            if at + size > len(body):
                raise _RefusedError("a field is longer than the message")
            yield tag >> 3, body[at : at + size]
            at += size
        else:
            raise _RefusedError(f"wire type {tag & 7} is not used by the served types")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _RefusedError("a number stands where text is expected")
    return value


def _message(body: bytes, message: str, component: str, components: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of one message; component names the schema that they belong to."""
    numbers, properties = _numbers().get(message, {}), components[component].get("properties", {})
    value: dict[str, Any] = {}
    for number, raw in _fields(body):
        name = numbers.get(number)
        if name is None:
            raise _RefusedError(f"field {number} of {message} is not known here")
        if name.startswith("*"):
            value |= _message(_bytes(raw), name[1:], component, components)
            continue
        schema = properties[name]
        if schema.get("type") == "array":
            value.setdefault(name, []).append(_value(raw, schema["items"], components))
        elif schema.get("type") == "object" and "additionalProperties" in schema:
            entry = dict(_fields(_bytes(raw)))
            key = _bytes(entry.get(1, b"")).decode()
            value.setdefault(name, {})[key] = _value(entry.get(2, b""), schema["additionalProperties"], components)
        else:
            found = _value(raw, schema, components)
            if found or isinstance(found, dict) or name in _SET_WHEN_SENT:
                value[name] = found
    return value


def _value(raw: int | bytes, schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    wrapped = schema.get("allOf")
    reference = wrapped[0].get("$ref") if wrapped else schema.get("$ref")
    if reference:
        component = str(reference).removeprefix(_REF)
        return _message(_bytes(raw), component.rpartition(".")[2], component, components)
    if schema.get("x-kubernetes-int-or-string"):
        parts = dict(_fields(_bytes(raw)))
        return _bytes(parts.get(3, b"")).decode() if parts.get(1) else parts.get(2, 0)
    if schema.get("format") == "quantity":
        return _bytes(dict(_fields(_bytes(raw))).get(1, b"")).decode()
    if schema.get("format") == "date-time":
        return _time(_bytes(raw))
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return json.loads(_bytes(dict(_fields(_bytes(raw))).get(1, b"{}")))
    if isinstance(raw, int):
        return bool(raw) if schema.get("type") == "boolean" else raw
    return base64.b64encode(raw).decode() if schema.get("format") == "byte" else raw.decode()


def _time(raw: bytes) -> str:
    parts = dict(_fields(raw))
    seconds = parts.get(1)
    if not isinstance(seconds, int):
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
