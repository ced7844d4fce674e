"""Every write of an object: create, replace, the four kinds of patch. Called by `api`; what it commits, `state` makes
durable.

All writes walk the same way: understand the body, keep what a client may not change, fill defaults, check, account
for field ownership, and write only when something changed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.errors import SpecError
from reconciler.sandbox import admission, allocation, builtin_rules, deletion, objects, statuses
from reconciler.sandbox.apply import ApplyConflictError
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.conversion import to_stored, to_version
from reconciler.sandbox.decoding import prune
from reconciler.sandbox.last_applied import apply_after_client_side
from reconciler.sandbox.managed import Actor, track_update
from reconciler.sandbox.patches import PatchError, json_patch, merge_patch
from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.resources import DEFINITIONS, NAMESPACES, SERVICES
from reconciler.sandbox.schema import Node
from reconciler.sandbox.state import Stored
from reconciler.sandbox.strategic import strategic_merge
from reconciler.sandbox.targets import Target, WriteOptions, Written
from reconciler.sandbox.validation import Cause

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class _Draft:
    """An understood object on its way into the store. managed_fields: None when they follow from what changed."""

    value: dict[str, Any]
    warnings: list[str]
    managed_fields: list[dict[str, Any]] | None = None


def create(cluster: Cluster, target: Target, body: Any, options: WriteOptions) -> Written:
    """POST: a new object. ApiError 400, 404 (namespace), 409, 422."""
    body = objects.check_identity(target.type, body, target.namespace, target.name)
    admission.check_place(cluster, target)
    warnings: list[str] = []
    value = admission.decoded(cluster, target.type, body, options, warnings)
    return _store_new(cluster, target, _Draft(value, warnings), options)


def _store_new(
    cluster: Cluster,
    target: Target,
    draft: _Draft,
    options: WriteOptions,
) -> Written:
    value, warnings, managed_fields = draft.value, draft.warnings, draft.managed_fields
    resource_type = target.type
    objects.check_generate_name(value.get("metadata") or {})
    objects.start_metadata(resource_type, value, target.namespace)
    if resource_type.resets_status:
        value.pop("status", None)
    if resource_type.resource in builtin_rules.INITIAL_STATUS:
        value["status"] = copy.deepcopy(builtin_rules.INITIAL_STATUS[resource_type.resource])
    admission.fill_dependent_defaults(resource_type, value)
    admission.check_value(cluster, resource_type, None, value)
    key = resource_type.key(target.namespace, value["metadata"]["name"])
    existing = cluster.state.get(key)
    if existing is not None:
        is_going = "deletionTimestamp" in existing.value["metadata"]
        raise statuses.already_exists(target.resource, key.name, is_going=is_going)
    if resource_type.resource == SERVICES.resource:
        allocation.allocate_service(cluster.state, None, value)
    if managed_fields is None:
        actor = _actor(target, options, "Update")
        managed_fields = track_update(cluster.node(resource_type), None, _without_status(resource_type, value), actor)
    value["metadata"]["managedFields"] = managed_fields
    admission.establish(cluster, resource_type, value, options, warnings)
    if options.dry_run:
        return Written(value, True, warnings)
    stored = cluster.state.write(key, admission.check_storable(to_stored(resource_type, value)))
    if resource_type.resource == DEFINITIONS.resource:
        cluster.serve_definition(stored.value)
    return Written(stored.value, True, warnings)


def _without_status(resource_type: ResourceType, value: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key != "status"} if resource_type.status else value


def _actor(target: Target, options: WriteOptions, operation: str) -> Actor:
    return Actor(options.manager, operation, target.type.api_version, target.subresource, objects.now())


def replace_object(cluster: Cluster, target: Target, body: Any, options: WriteOptions) -> Written:
    """PUT: another version of an existing object. ApiError 404, 409 on a stale resourceVersion, 422."""
    body = objects.check_identity(target.type, body, target.namespace, target.name)
    live = find(cluster, target)
    metadata = body.get("metadata") or {}
    if not metadata.get("resourceVersion") and not target.type.unconditional:
        cause = Cause(
            "FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion"
        )
        raise statuses.invalid((target.type.group, target.type.kind), target.name, [cause])
    warnings: list[str] = []
    value = admission.decoded(cluster, target.type, body, options, warnings)
    return _store_update(cluster, target, live, _Draft(value, warnings), options)


def find(cluster: Cluster, target: Target) -> Stored:
    """The stored object that `target` names. ApiError 404."""
    stored = cluster.state.get(target.type.key(target.namespace, target.name))
    if stored is None:
        raise statuses.not_found(target.resource, target.name)
    return stored


def patch_object(cluster: Cluster, target: Target, media_type: str, body: Any, options: WriteOptions) -> Written:
    """PATCH with a JSON, merge or strategic merge patch. ApiError 404, 409, 415, 422."""
    live = find(cluster, target)
    base = to_version(target.type, live.copy())
    patched = patched_value(cluster.node(target.type), media_type, base, body)
    patched = objects.check_identity(target.type, patched, target.namespace, target.name)
    warnings: list[str] = []
    value = admission.decoded(cluster, target.type, patched, options, warnings)
    return _store_update(cluster, target, live, _Draft(value, warnings), options)


def patched_value(node: Node, media_type: str, base: Any, body: Any) -> Any:
    """`base` after a JSON, merge or strategic merge patch. ApiError 400, 413, 422."""
    try:
        if media_type == JSON_PATCH:
            return json_patch(base, body)
        return merge_patch(base, body) if media_type == MERGE_PATCH else strategic_merge(node, base, body)
    except PatchError as error:
        if error.reason == "PatchTooLarge":
            raise statuses.ApiError(413, "RequestEntityTooLarge", error.message, {}) from error
        if error.reason == "BadPatch":
            raise statuses.bad_request(error.message) from error
        raise statuses.unprocessable(
            f"the server rejected our request due to an error in our request: {error.message}"
        ) from error


def apply_object(cluster: Cluster, target: Target, body: Any, options: WriteOptions) -> Written:
    """PATCH with an apply configuration: creates or changes. ApiError 400, 404, 409 naming fields, 422."""
    body = objects.check_identity(target.type, body, target.namespace, target.name)
    metadata = body.get("metadata") or {}
    if metadata.get("managedFields"):
        raise statuses.bad_request("metadata.managedFields must be nil")
    live = cluster.state.get(target.type.key(target.namespace, target.name))
    if live is None:
        if target.subresource:
            raise statuses.not_found(target.resource, target.name)
        if metadata.get("resourceVersion"):
            raise statuses.conflict(target.resource, target.name)
        admission.check_place(cluster, target)
    node = cluster.node(target.type)
    configuration = _configuration(cluster, target, body)
    base = None if live is None else to_version(target.type, live.copy())
    actor = _actor(target, options, "Apply")
    try:
        applied = apply_after_client_side(node, base, configuration, actor, force=options.force)
    except ApplyConflictError as error:
        raise statuses.apply_conflict(error.message, error.causes) from error
    except SpecError as error:
        raise _untyped(target, error.message) from error
    value = {"apiVersion": target.type.api_version, "kind": target.type.kind, **applied.value}
    warnings: list[str] = []
    value = admission.decoded(cluster, target.type, value, replace(options, validation="Ignore"), warnings)
    if live is None:
        value.setdefault("metadata", {})["name"] = target.name
        return _store_new(cluster, target, _Draft(value, warnings, applied.managed_fields), options)
    for name in ("resourceVersion", "uid"):
        if metadata.get(name):
            value["metadata"][name] = metadata[name]
    return _store_update(cluster, target, live, _Draft(value, warnings, applied.managed_fields), options)


def _untyped(target: Target, why: str) -> statuses.ApiError:
    """The configuration does not fit the schema: the API answers this with 500 and no reason."""
    kind = f"{target.type.api_version}, Kind={target.type.kind}"
    place = f"{target.namespace}/{target.name}" if target.type.namespaced else f"/{target.name}"
    return statuses.ApiError(500, "", f"failed to create typed patch object ({place}; {kind}): {why}")


def _configuration(cluster: Cluster, target: Target, body: dict[str, Any]) -> dict[str, Any]:
    pruned = prune(cluster.node(target.type), body)
    if pruned.unknown:
        raise _untyped(target, "\n".join(f".{path}: field not declared in schema" for path in pruned.unknown))
    if pruned.mismatches:
        raise _untyped(
            target, "\n".join(f".{path}: expected {wanted}, got {found}" for path, wanted, found in pruned.mismatches)
        )
    configuration: dict[str, Any] = pruned.value
    if target.type.resource == "/secrets":
        builtin_rules.DEFAULTS["/secrets"](configuration)
    if not target.type.status:
        return configuration
    if target.subresource == "status":
        kept = ("apiVersion", "kind", "status")
        return {key: part for key, part in configuration.items() if key in kept}
    return {key: part for key, part in configuration.items() if key != "status"}


def _store_update(
    cluster: Cluster,
    target: Target,
    live: Stored,
    draft: _Draft,
    options: WriteOptions,
) -> Written:
    value, warnings, managed_fields = draft.value, draft.warnings, draft.managed_fields
    resource_type, before = target.type, to_version(target.type, live.copy())
    _check_preconditions(target, before, value)
    value = _keep_what_stays(target, before, value)
    if target.subresource != "status":
        admission.fill_dependent_defaults(resource_type, value)
    admission.check_value(cluster, resource_type, before, value)
    if resource_type.resource == SERVICES.resource:
        allocation.allocate_service(cluster.state, before, value)
    if managed_fields is None:
        managed_fields = track_update(cluster.node(resource_type), before, value, _actor(target, options, "Update"))
    value["metadata"].pop("managedFields", None)
    if managed_fields:
        value["metadata"]["managedFields"] = managed_fields
    if target.subresource != "status":
        admission.establish(cluster, resource_type, value, options, warnings)
    _count_generation(resource_type, before, value)
    value["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
    value = to_stored(resource_type, value, live.value["apiVersion"])
    if options.dry_run or _same_but_times(live.value, value):
        return Written(value if options.dry_run else live.value, False, warnings)
    if deletion.is_finished(value):
        return Written(deletion.remove(cluster, live.key).value, False, warnings)
    stored = cluster.state.write(live.key, admission.check_storable(value))
    if resource_type.resource == DEFINITIONS.resource:
        cluster.serve_definition(stored.value)
    return Written(stored.value, False, warnings)


def _check_preconditions(target: Target, before: dict[str, Any], value: dict[str, Any]) -> None:
    metadata = value.get("metadata") or {}
    wanted = metadata.get("resourceVersion")
    if wanted and wanted != before["metadata"]["resourceVersion"]:
        raise statuses.conflict(target.resource, target.name)
    uid = metadata.get("uid")
    if uid and uid != before["metadata"]["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before['metadata']['uid']}"
        raise statuses.conflict(target.resource, target.name, why)


def _keep_what_stays(target: Target, before: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    if target.subresource == "status":
        status = {"status": value["status"]} if "status" in value else {}
        return {**before, "metadata": dict(before["metadata"]), **status}
    objects.keep_metadata(before, value)
    if target.type.status:
        value.pop("status", None)
        if "status" in before:
            value["status"] = before["status"]
    if target.type.resource == NAMESPACES.resource:
        value["spec"] = before.get("spec", {})
    if "deletionTimestamp" in before["metadata"]:
        added = set(value["metadata"].get("finalizers") or ()) - set(before["metadata"].get("finalizers") or ())
        if added:
            message = "Forbidden: no new finalizers can be added if the object is being deleted"
            cause = Cause("FieldValueForbidden", message, "metadata.finalizers")
            raise statuses.invalid((target.type.group, target.type.kind), target.name, [cause])
    return value


def _count_generation(resource_type: ResourceType, before: Mapping[str, Any], value: dict[str, Any]) -> None:
    if not resource_type.generation:
        return
    apart = {"metadata", "apiVersion", "kind"} | ({"status"} if resource_type.status else set())

    def counted(one: Mapping[str, Any]) -> dict[str, Any]:
        return {key: part for key, part in one.items() if key not in apart}

    generation = int(before["metadata"].get("generation", 0))
    value["metadata"]["generation"] = generation + (counted(before) != counted(value))


def _same_but_times(live: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Whether a write would change nothing but the times in managedFields."""

    def timeless(one: Mapping[str, Any]) -> dict[str, Any]:
        metadata = dict(one["metadata"])
        entries = [
            {key: part for key, part in entry.items() if key != "time"} for entry in metadata.pop("managedFields", ())
        ]
        metadata["managedFields"] = sorted(
            entries, key=lambda entry: (entry["operation"], entry["manager"], str(entry))
        )
        return {**one, "metadata": metadata}

    return timeless(live) == timeless(value)
