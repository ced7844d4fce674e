"""The rules of `metadata`: names, identity, what the server writes itself. Pure; called by `writes` and `deletion`."""

from __future__ import annotations

import datetime
import re
import secrets
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.statuses import ApiError, bad_request
from reconciler.sandbox.validation import Cause, invalid, required

_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_QUALIFIED = re.compile(r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_ANNOTATIONS_LIMIT = 256 * 1024

_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with"
    " an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def now() -> str:
    """The time as Kubernetes writes it: UTC, whole seconds."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def random_suffix(length: int = 5) -> str:
    """Letters as `generateName` appends them."""
    return "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(length))


def is_dns_label(name: str) -> bool:
    """Whether `name` is an RFC 1123 label of at most 63 characters."""
    return len(name) <= 63 and _LABEL.match(name) is not None


def check_identity(resource_type: ResourceType, body: Any, namespace: str, name: str) -> dict[str, Any]:
    """The body, which is an object of this type, for this namespace and name. ApiError 400 when it is not.

    A body of a built-in type may leave apiVersion and kind to the path.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("metadata", {}), Mapping):
        raise bad_request("the object provided is unrecognized: it must be a JSON object with an object as metadata")
    if not resource_type.custom:
        body = {"apiVersion": resource_type.api_version, "kind": resource_type.kind, **body}
    api_version, kind = body.get("apiVersion"), body.get("kind")
    if not api_version or not kind:
        raise bad_request("Object 'Kind' is missing")
    if kind != resource_type.kind or api_version != resource_type.api_version:
        expected = f"{resource_type.api_version}, Kind={resource_type.kind}"
        raise bad_request(
            f"the object provided is of {api_version}, Kind={kind}, it does not match the expected {expected}"
        )
    metadata = body.get("metadata") or {}
    given = metadata.get("namespace")
    if resource_type.namespaced and given and given != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if name and metadata.get("name") and metadata["name"] != name:
        raise bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})")
    return dict(body)


def start_metadata(resource_type: ResourceType, value: dict[str, Any], namespace: str) -> None:
    """Give a new object its identity in place: name, namespace, uid, creationTimestamp, generation."""
    metadata = value.setdefault("metadata", {})
    for name in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        metadata.pop(name, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = str(metadata["generateName"])[:58] + random_suffix()
    if resource_type.namespaced:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = now()
    if resource_type.generation:
        metadata["generation"] = 1


def keep_metadata(live: Mapping[str, Any], value: dict[str, Any]) -> None:
    """Put back in place what an update can never change."""
    metadata = value.setdefault("metadata", {})
    kept = live["metadata"]
    for name in (
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "selfLink",
    ):
        if name in kept:
            metadata[name] = kept[name]
        else:
            metadata.pop(name, None)


def check_metadata(resource_type: ResourceType, metadata: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with names, labels, annotations and references."""
    name = metadata.get("name")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif resource_type.name_rule == "label" and not is_dns_label(name):
        yield invalid("metadata.name", name, _LABEL_RULE)
    elif len(name) > 253 or not _SUBDOMAIN.match(name):
        yield invalid("metadata.name", name, _SUBDOMAIN_RULE)
    for key, value in (metadata.get("labels") or {}).items():
        if not _is_qualified(key):
            yield invalid("metadata.labels", key, "name part must consist of alphanumeric characters, '-', '_' or '.'")
        if not _LABEL_VALUE.match(str(value)):
            yield invalid(
                "metadata.labels",
                value,
                "a valid label must be an empty string or consist of alphanumeric"
                " characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            )
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        if not _is_qualified(key.lower()):
            yield invalid(
                "metadata.annotations", key, "name part must consist of alphanumeric characters, '-', '_' or '.'"
            )
    if sum(len(key) + len(str(value)) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        yield Cause(
            "FieldValueTooLong", f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes", "metadata.annotations"
        )
    for index, reference in enumerate(metadata.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(field):
                yield required(f"metadata.ownerReferences[{index}].{field}", f"{field} must not be empty")


def _is_qualified(key: str) -> bool:
    prefix, _, name = key.rpartition("/")
    return len(prefix) <= 253 and len(name) <= 63 and _QUALIFIED.match(key) is not None


def check_generate_name(metadata: Mapping[str, Any]) -> None:
    """A create needs a name or a prefix for one; ApiError 422 in Kubernetes' words is left to `check_metadata`."""
    prefix = metadata.get("generateName")
    if prefix is not None and not isinstance(prefix, str):
        raise ApiError(400, "BadRequest", "metadata.generateName must be a string")
