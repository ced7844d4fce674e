"""Whether and in which form an object may be written: body understood, defaults filled, checked. Called by `writes`."""

from __future__ import annotations

from typing import Any

from reconciler.errors import SpecError
from reconciler.sandbox import builtin_rules, custom_resources, objects, statuses
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.decoding import Decoded, decode
from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.resources import DEFINITIONS, NAMESPACES
from reconciler.sandbox.state import encode
from reconciler.sandbox.targets import Target, WriteOptions
from reconciler.sandbox.validation import Cause, check


def check_place(cluster: Cluster, target: Target) -> None:
    """The namespace lives and the type is not going. ApiError 403, 404, 405."""
    if target.type.namespaced:
        namespace = cluster.state.get(NAMESPACES.key("", target.namespace))
        if namespace is None:
            raise statuses.not_found(NAMESPACES.qualified, target.namespace)
        if "deletionTimestamp" in namespace.value["metadata"]:
            why = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            cause = Cause(
                "NamespaceTerminating", f"namespace {target.namespace} is being terminated", "metadata.namespace"
            )
            raise statuses.forbidden(target.resource, target.name, why, [cause])
    if target.type.custom and "deletionTimestamp" in cluster.definition(target.type)["metadata"]:
        raise statuses.method_not_allowed()


def decoded(
    cluster: Cluster, resource_type: ResourceType, body: Any, options: WriteOptions, warnings: list[str]
) -> dict[str, Any]:
    """The body as the type knows it; unknown fields are refused, warned of or dropped. ApiError 400."""
    try:
        decoded = decode(cluster.node(resource_type), body)
    except SpecError as error:
        raise statuses.bad_request(error.message) from error
    if decoded.mismatches:
        path, expected, found = decoded.mismatches[0]
        raise statuses.bad_request(
            f"{_cannot(resource_type)}: json: cannot unmarshal {found} into Go struct field {path} of type {expected}"
        )
    _judge_unknown(resource_type, decoded, options, warnings)
    value: dict[str, Any] = decoded.value
    return value


def _cannot(resource_type: ResourceType) -> str:
    return f'{resource_type.kind} in version "{resource_type.version}" cannot be handled as a {resource_type.kind}'


def _judge_unknown(resource_type: ResourceType, decoded: Decoded, options: WriteOptions, warnings: list[str]) -> None:
    if not decoded.unknown or options.validation == "Ignore":
        return
    sentences = [f'unknown field "{path}"' for path in decoded.unknown]
    if options.validation == "Strict":
        joined = ", ".join(sentences)
        prefix = "" if resource_type.custom else f"{_cannot(resource_type)}: "
        raise statuses.bad_request(f"{prefix}strict decoding error: {joined}")
    warnings.extend(sentences)


def fill_dependent_defaults(resource_type: ResourceType, value: dict[str, Any]) -> None:
    """Fill in place the defaults that depend on other fields."""
    rule = builtin_rules.DEFAULTS.get(resource_type.resource)
    if rule is not None:
        rule(value)
    if resource_type.resource == DEFINITIONS.resource:
        custom_resources.default_names(value)


def check_value(
    cluster: Cluster, resource_type: ResourceType, live: dict[str, Any] | None, value: dict[str, Any]
) -> None:
    """Everything that can be wrong with `value` (over `live` when it is an update). ApiError 422 with all causes."""
    causes = list(objects.check_metadata(resource_type, value["metadata"]))
    checked = value if resource_type.custom else {key: part for key, part in value.items() if key != "status"}
    causes += list(check(cluster.node(resource_type), checked))
    if resource_type.resource in builtin_rules.CHECKS:
        causes += list(builtin_rules.CHECKS[resource_type.resource](value))
    if resource_type.resource == DEFINITIONS.resource and not causes:
        causes += list(custom_resources.check_definition(value))
    if live is not None and resource_type.resource in builtin_rules.UPDATE_CHECKS:
        causes += list(builtin_rules.UPDATE_CHECKS[resource_type.resource](live, value))
    if causes:
        unique = list(dict.fromkeys(causes))
        group_kind = (resource_type.group, resource_type.kind)
        raise statuses.invalid(group_kind, str(value["metadata"].get("name", "")), unique)


_LARGEST_OBJECT = 1536 * 1024


def check_storable(value: dict[str, Any]) -> dict[str, Any]:
    """`value`, which is not too large to be kept. ApiError 413."""
    if len(encode(value)) > _LARGEST_OBJECT:
        raise statuses.too_large(_LARGEST_OBJECT)
    return value


def establish(
    cluster: Cluster, resource_type: ResourceType, value: dict[str, Any], options: WriteOptions, warnings: list[str]
) -> None:
    """Write the status of a CustomResourceDefinition in place; other types stay as they are. ApiError 422."""
    if resource_type.resource != DEFINITIONS.resource:
        return
    spec = value["spec"]
    for other in cluster.registry:
        same_group = other.group == spec["group"]
        if same_group and other.kind == spec["names"]["kind"] and other.plural != spec["names"]["plural"]:
            field_path = "spec.names.kind"
            cause = Cause("FieldValueInvalid", f'Invalid value: "{other.kind}": is already in use', field_path)
            raise statuses.invalid((resource_type.group, resource_type.kind), value["metadata"]["name"], [cause])
    custom_resources.establish(value)
    if options.validation != "Ignore" and custom_resources.uses_cel(spec["versions"]):
        warnings.append("x-kubernetes-validations: CEL rules are kept but not evaluated by this server")
