"""Deleting objects: preconditions, finalizers, propagation. Called by `api`, `writes` and `controllers`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.sandbox import statuses
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.objects import now
from reconciler.sandbox.resource_types import Key, ResourceType
from reconciler.sandbox.resources import DEFINITIONS, NAMESPACES
from reconciler.sandbox.state import Stored

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_POLICIES = ("Orphan", "Background", "Foreground")
_PROTECTED = ("default", "kube-system", "kube-public")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a DELETE asks for: propagation Orphan | Background | Foreground, preconditions "" when not given."""

    propagation: str = "Background"
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


def read_options(body: Any, query: Mapping[str, str], *, dry_run: bool) -> DeleteOptions:
    """DeleteOptions of a request's body and query. ApiError 400, 422."""
    options = body if isinstance(body, Mapping) else {}
    if options.get("kind", "DeleteOptions") != "DeleteOptions":
        raise statuses.bad_request(f"the body of a DELETE is a DeleteOptions, not a {options.get('kind')}")
    propagation = query.get("propagationPolicy") or options.get("propagationPolicy")
    orphan = query.get("orphanDependents", options.get("orphanDependents"))
    if propagation is None:
        propagation = "Orphan" if str(orphan).lower() == "true" else "Background"
    if propagation not in _POLICIES:
        message = f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{propagation}"'
        raise statuses.unprocessable(f'{message}: supported values: "Foreground", "Background", "Orphan", "nil"')
    preconditions = options.get("preconditions") or {}
    return DeleteOptions(
        propagation=propagation,
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
        dry_run=dry_run or options.get("dryRun") == ["All"],
    )


def delete_object(
    cluster: Cluster, resource_type: ResourceType, live: Stored, options: DeleteOptions
) -> tuple[dict[str, Any], bool]:
    """Delete, or begin to: the last version of the object and whether it is gone. ApiError 403, 409."""
    metadata = live.value["metadata"]
    _check_preconditions(resource_type, metadata, options)
    if resource_type.resource == NAMESPACES.resource and metadata["name"] in _PROTECTED:
        raise statuses.forbidden("namespaces", metadata["name"], "this namespace may not be deleted")
    value = live.copy()
    finalizers = list(value["metadata"].get("finalizers") or ())
    if "deletionTimestamp" not in metadata:
        finalizers = _with_policy(cluster, resource_type, live, finalizers, options)
    if not finalizers and not _held_namespace(resource_type, value):
        return (value if options.dry_run else remove(cluster, live.key).value), True
    if "deletionTimestamp" in metadata:
        return value, False
    value["metadata"]["deletionTimestamp"] = now()
    value["metadata"]["deletionGracePeriodSeconds"] = 0
    if finalizers:
        value["metadata"]["finalizers"] = finalizers
    if resource_type.generation:
        value["metadata"]["generation"] = int(metadata.get("generation", 0)) + 1
    if resource_type.resource == NAMESPACES.resource:
        value.setdefault("status", {})["phase"] = "Terminating"
    if not options.dry_run:
        value = cluster.state.write(live.key, value).value
    return value, False


def _check_preconditions(resource_type: ResourceType, metadata: Mapping[str, Any], options: DeleteOptions) -> None:
    for wanted, found, word in (
        (options.uid, metadata["uid"], "UID"),
        (options.resource_version, metadata["resourceVersion"], "ResourceVersion"),
    ):
        if wanted and wanted != found:
            why = f"Precondition failed: {word} in precondition: {wanted}, {word} in object meta: {found}"
            raise statuses.conflict(resource_type.qualified, metadata["name"], why)


def _with_policy(
    cluster: Cluster, resource_type: ResourceType, live: Stored, finalizers: list[str], options: DeleteOptions
) -> list[str]:
    kept = [one for one in finalizers if one not in (FOREGROUND, ORPHAN)]
    if resource_type.resource == DEFINITIONS.resource and CLEANUP not in kept:
        kept.append(CLEANUP)
    if options.propagation == "Background" or not cluster.state.dependents(live.uid):
        return kept
    return [*kept, FOREGROUND if options.propagation == "Foreground" else ORPHAN]


def _held_namespace(resource_type: ResourceType, value: Mapping[str, Any]) -> bool:
    return resource_type.resource == NAMESPACES.resource and bool((value.get("spec") or {}).get("finalizers"))


def is_finished(value: Mapping[str, Any]) -> bool:
    """Whether an object that is being deleted has nothing left that holds it."""
    metadata = value["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    return value.get("kind") != "Namespace" or not (value.get("spec") or {}).get("finalizers")


def remove(cluster: Cluster, key: Key) -> Stored:
    """Take an object out of the cluster at once; its last version."""
    removed = cluster.state.delete(key)
    if key.resource == DEFINITIONS.resource:
        cluster.withdraw_definition(removed.value)
    return removed
