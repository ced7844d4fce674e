"""The scale subresource: a Scale made from an object's own fields, and written back into it. Called by `api`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.sandbox import statuses, writes
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.conversion import to_version
from reconciler.sandbox.resource_types import ScalePaths
from reconciler.sandbox.targets import Target, WriteOptions, Written


def read_scale(cluster: Cluster, target: Target) -> dict[str, Any]:
    """The Scale of an object. ApiError 404."""
    return _scale_of(target, writes.find(cluster, target).value)


def _paths(target: Target) -> ScalePaths:
    if target.type.scale is None:
        raise statuses.no_such_path()
    return target.type.scale


def _scale_of(target: Target, value: Mapping[str, Any]) -> dict[str, Any]:
    paths = _paths(target)
    metadata = value["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    scale: dict[str, Any] = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": _at(value, paths.spec) or 0},
        "status": {"replicas": _at(value, paths.status) or 0},
    }
    selector = _at(value, paths.selector) if paths.selector else None
    if isinstance(selector, Mapping):
        pairs = (selector.get("matchLabels") or {}).items()
        scale["status"]["selector"] = ",".join(f"{key}={one}" for key, one in sorted(pairs))
    elif selector:
        scale["status"]["selector"] = str(selector)
    return scale


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def write_scale(
    cluster: Cluster, target: Target, change: Callable[[dict[str, Any]], Any], options: WriteOptions
) -> Written:
    """Set the replicas that `change(current Scale)` gives. ApiError 400, 404, 409, 422."""
    live = writes.find(cluster, target)
    wanted = change(_scale_of(target, live.value))
    if not isinstance(wanted, Mapping) or wanted.get("kind") != "Scale":
        raise statuses.bad_request("the object provided is no autoscaling/v1 Scale")
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise statuses.bad_request(f"spec.replicas: {replicas!r} is no number of replicas")
    value = live.copy()
    version = (wanted.get("metadata") or {}).get("resourceVersion")
    if version:
        value["metadata"]["resourceVersion"] = version
    *above, last = _paths(target).spec.split(".")
    place = value
    for part in above:
        place = place.setdefault(part, {})
    place[last] = replicas
    written = writes.replace_object(cluster, target, to_version(target.type, value), options)
    return Written(_scale_of(target, written.value), False, written.warnings)
