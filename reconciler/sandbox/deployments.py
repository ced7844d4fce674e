"""Deployments: a ReplicaSet for each template, rolled out within maxSurge and maxUnavailable. Called by `controllers`.

Each call looks at the state as it is and brings it one step on; the events of its writes bring the next step, so a
rollout that a crash cut off goes on where it was.
"""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.last_applied import ANNOTATION as LAST_APPLIED
from reconciler.sandbox.objects import now
from reconciler.sandbox.ownership import (
    Value,
    claim,
    condition,
    count_changes,
    is_going,
    reference,
    remove,
    set_condition,
    update,
)
from reconciler.sandbox.resources import REPLICA_SETS
from reconciler.sandbox.rollouts import Size, plan_rollout, read_bounds
from reconciler.sandbox.state import Stored

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_NOT_COPIED = frozenset({LAST_APPLIED, REVISION})


def sync_deployment(cluster: Cluster, deployment: Stored) -> float | None:
    """Bring a Deployment one step on; after how many seconds to look again although nothing happened."""
    if is_going(deployment):
        return None
    spec = deployment.value["spec"]
    sets = [one for one in claim(cluster, deployment, REPLICA_SETS) if not is_going(one)]
    sets.sort(key=_revision)
    current = next((one for one in reversed(sets) if _template(one.value) == spec["template"]), None)
    older = [one for one in sets if one is not current]
    if spec.get("paused"):
        current, older = _resize_paused(cluster, deployment, current, older)
    elif (spec.get("strategy") or {}).get("type") == "Recreate":
        current, older = _recreate(cluster, deployment, current, older)
    else:
        current, older = _roll(cluster, deployment, current, older)
    if current is not None and not spec.get("paused"):
        current = _annotate(cluster, deployment, current, older)
        if _is_complete(deployment, current, older):
            _forget_history(cluster, older, int(spec.get("revisionHistoryLimit", 10)))
    return _report(cluster, deployment, current, older)


def _template(value: Value) -> Value:
    template: Value = copy.deepcopy(value["spec"]["template"])
    (template.get("metadata", {}).get("labels") or {}).pop(HASH_LABEL, None)
    return template


def _wanted(deployment: Stored) -> int:
    return int(deployment.value["spec"].get("replicas", 1))


def _size(replica_set: Stored) -> Size:
    """What a ReplicaSet wants and has; a status from before its last change counts for nothing new."""
    status = replica_set.value.get("status") or {}
    replicas = int(replica_set.value["spec"].get("replicas", 1))
    return Size(replicas, min(int(status.get("availableReplicas", 0)), replicas))


def _scale(cluster: Cluster, stored: Stored, replicas: int) -> Stored:
    if int(stored.value["spec"].get("replicas", 1)) == replicas:
        return stored
    value = stored.copy()
    value["spec"]["replicas"] = replicas
    count_changes(value)
    return cluster.state.write(stored.key, value)


def _revision(stored: Stored) -> int:
    written = str((stored.value["metadata"].get("annotations") or {}).get(REVISION, "0"))
    return int(written) if written.isascii() and written.isdigit() else 0


# --- ways to get there ----------------------------------------------------------------------------------------------


def _roll(
    cluster: Cluster, deployment: Stored, current: Stored | None, older: list[Stored]
) -> tuple[Stored | None, list[Stored]]:
    wanted = _wanted(deployment)
    if current is None:
        current = _create_set(cluster, deployment, older)
    bounds = read_bounds((deployment.value["spec"].get("strategy") or {}).get("rollingUpdate") or {}, wanted)
    planned, others = plan_rollout(wanted, bounds, _size(current), [_size(one) for one in older])
    older = [_scale(cluster, one, replicas) for one, replicas in zip(older, others, strict=True)]
    return _scale(cluster, current, planned), older


def _recreate(
    cluster: Cluster, deployment: Stored, current: Stored | None, older: list[Stored]
) -> tuple[Stored | None, list[Stored]]:
    older = [_scale(cluster, one, 0) for one in older]
    if any((one.value.get("status") or {}).get("replicas") for one in older):
        return current, older
    if current is None:
        current = _create_set(cluster, deployment, older)
    return _scale(cluster, current, _wanted(deployment)), older


def _resize_paused(
    cluster: Cluster, deployment: Stored, current: Stored | None, older: list[Stored]
) -> tuple[Stored | None, list[Stored]]:
    """A paused Deployment starts no rollout; a change of its size goes to the newest ReplicaSet that has Pods."""
    active = [one for one in [*older, *([current] if current else [])] if _size(one).replicas]
    target = active[-1] if active else current
    if target is None:
        return current, older
    rest = sum(_size(one).replicas for one in active if one is not target)
    scaled = _scale(cluster, target, max(_wanted(deployment) - rest, 0))
    if target is current:
        return scaled, older
    return current, [scaled if one is target else one for one in older]


def _create_set(cluster: Cluster, deployment: Stored, sets: Sequence[Stored]) -> Stored:
    spec = deployment.value["spec"]
    key, digest = _free_name(cluster, deployment)
    template = copy.deepcopy(spec["template"])
    template["metadata"]["labels"][HASH_LABEL] = digest
    selector = copy.deepcopy(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = digest
    value = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now(),
            "generation": 1,
            "labels": template["metadata"]["labels"],
            "annotations": {REVISION: str(max((_revision(one) for one in sets), default=0) + 1)},
            "ownerReferences": [reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
        "status": {"replicas": 0},
    }
    return cluster.state.write(key, value)


def _free_name(cluster: Cluster, deployment: Stored) -> tuple[Any, str]:
    """A key for the ReplicaSet of the current template that nobody has; the same for the same state."""
    seed, attempt = [deployment.value["spec"]["template"], deployment.uid], 0
    while True:
        digest = hashlib.sha256(json.dumps([*seed, attempt], sort_keys=True).encode()).hexdigest()[:10]
        key = REPLICA_SETS.key(deployment.key.namespace, f"{deployment.key.name[:242]}-{digest}")
        if cluster.state.get(key) is None:
            return key, digest
        attempt += 1


def _annotate(cluster: Cluster, deployment: Stored, current: Stored, older: Sequence[Stored]) -> Stored:
    """The Deployment's annotations on its ReplicaSet; a template that is used again counts as the newest revision."""
    newest = max((_revision(one) for one in older), default=0)
    value = current.copy()
    annotations = value["metadata"].setdefault("annotations", {})
    given = deployment.value["metadata"].get("annotations") or {}
    annotations.update({key: one for key, one in given.items() if key not in _NOT_COPIED})
    annotations[REVISION] = str(max(_revision(current), newest + 1))
    return update(cluster, current, value)


def _forget_history(cluster: Cluster, older: Sequence[Stored], limit: int) -> None:
    empty = [one for one in older if not _size(one).replicas and not (one.value.get("status") or {}).get("replicas")]
    for stored in sorted(empty, key=_revision)[: max(len(empty) - limit, 0)]:
        remove(cluster, REPLICA_SETS, stored)


# --- status ---------------------------------------------------------------------------------------------------------


def _counts(deployment: Stored, current: Stored | None, older: Sequence[Stored]) -> dict[str, int]:
    statuses = [one.value.get("status") or {} for one in [*older, *([current] if current else [])]]
    ready = sum(int(one.get("readyReplicas", 0)) for one in statuses)
    updated = (current.value.get("status") or {}).get("replicas", 0) if current else 0
    return {
        "replicas": sum(int(one.get("replicas", 0)) for one in statuses),
        "updatedReplicas": int(updated),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(_wanted(deployment) - ready, 0),
    }


def _is_complete(deployment: Stored, current: Stored | None, older: Sequence[Stored]) -> bool:
    counts, wanted = _counts(deployment, current, older), _wanted(deployment)
    return all(counts[name] == wanted for name in ("replicas", "updatedReplicas", "availableReplicas"))


def _report(cluster: Cluster, deployment: Stored, current: Stored | None, older: Sequence[Stored]) -> float | None:
    value = deployment.copy()
    spec, status = value["spec"], value.setdefault("status", {})
    before = {name: status.pop(name, 0) for name in _counts(deployment, current, older)}
    counts = _counts(deployment, current, older)
    status.update({name: count for name, count in counts.items() if count})
    status["observedGeneration"] = value["metadata"].get("generation", 1)
    bounds = read_bounds((spec.get("strategy") or {}).get("rollingUpdate") or {}, _wanted(deployment))
    least = _wanted(deployment) - bounds.unavailable
    up = counts["availableReplicas"] >= least
    _note(status, ("Available", *(_AVAILABLE if up else _UNAVAILABLE)))
    left = _report_progress(status, spec, current, (before != counts, _is_complete(deployment, current, older)))
    if current is not None and not spec.get("paused"):
        value["metadata"].setdefault("annotations", {})[REVISION] = str(_revision(current))
    update(cluster, deployment, value)
    return left


_AVAILABLE = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
_UNAVAILABLE = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")


def _note(status: Value, wanted: tuple[str, str, str, str]) -> None:
    set_condition(status, wanted, "lastUpdateTime")


def _report_progress(
    status: Value, spec: Mapping[str, Any], current: Stored | None, seen: tuple[bool, bool]
) -> float | None:
    """The condition Progressing; seconds until its deadline is over. seen: whether counts moved, whether it is done."""
    moved, complete = seen
    name = current.key.name if current else ""
    if spec.get("paused"):
        _note(status, ("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"))
        return None
    if complete:
        done = f'ReplicaSet "{name}" has successfully progressed.'
        _note(status, ("Progressing", "True", "NewReplicaSetAvailable", done))
        return None
    found = condition(status, "Progressing")
    going_on = ("Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
    if found is None or moved or found.get("reason") not in ("ReplicaSetUpdated", "ProgressDeadlineExceeded"):
        _note(status, going_on)
        found = condition(status, "Progressing") or {}
        found["lastUpdateTime"] = now()
    deadline = float(spec.get("progressDeadlineSeconds", 600))
    left = deadline - _seconds_since(str(found.get("lastUpdateTime", "")))
    if left <= 0:
        late = f'ReplicaSet "{name}" has timed out progressing.'
        _note(status, ("Progressing", "False", "ProgressDeadlineExceeded", late))
        return None
    return left + 1


def _seconds_since(moment: str) -> float:
    try:
        then = datetime.datetime.fromisoformat(moment)
    except ValueError:
        return 0.0
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()
