"""Deployments → ReplicaSets → Pods → running on a Node, as far as a cluster without a kubelet can. Called by
`controllers`.

Each function looks at the state as it is and makes the writes that bring it one step on; the events of those writes
bring the next step. Nothing is executed: a Pod with a Node is declared running and ready.
"""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from reconciler.sandbox import allocation, deletion, selectors
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.deletion import DeleteOptions
from reconciler.sandbox.objects import now, random_suffix
from reconciler.sandbox.resources import NODES, PODS, REPLICA_SETS, ResourceType
from reconciler.sandbox.state import Stored

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
Value = dict[str, Any]


def _owned(cluster: Cluster, owner: Stored, resource_type: ResourceType) -> list[Stored]:
    found = cluster.state.dependents(owner.uid)
    return [one for one in found if one.key.resource == resource_type.resource and not _is_going(one)]


def _is_going(stored: Stored) -> bool:
    return "deletionTimestamp" in stored.value["metadata"]


def _reference(owner: Stored) -> Value:
    return {
        "apiVersion": owner.value["apiVersion"],
        "kind": owner.value["kind"],
        "name": owner.key.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _update(cluster: Cluster, stored: Stored, value: Value) -> Stored:
    """Write when something changed."""
    return stored if value == stored.value else cluster.state.write(stored.key, value)


def _remove(cluster: Cluster, resource_type: ResourceType, stored: Stored) -> None:
    deletion.delete_object(cluster, resource_type, stored, DeleteOptions())


# --- Deployments ----------------------------------------------------------------------------------------------------


def sync_deployment(cluster: Cluster, deployment: Stored) -> None:
    """One ReplicaSet for the current template at full size, older ones at zero once the new one is ready."""
    if _is_going(deployment):
        return
    spec = deployment.value["spec"]
    sets = _owned(cluster, deployment, REPLICA_SETS)
    current = next((one for one in sets if _template(one.value) == spec["template"]), None)
    older = [one for one in sets if one is not current]
    wanted = int(spec.get("replicas", 1))
    recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
    if not spec.get("paused"):
        if current is None and recreate and any(_replicas(one) for one in older):
            older = [_scale(cluster, one, 0) for one in older]
        elif current is None:
            current = _create_set(cluster, deployment, sets, wanted)
        elif _replicas(current) != wanted:
            current = _scale(cluster, current, wanted)
        if current is not None:
            current = _renew_revision(cluster, current, older)
        if current is not None and _ready(current) >= wanted:
            older = [_scale(cluster, one, 0) for one in older]
            _forget_history(cluster, older, int(spec.get("revisionHistoryLimit", 10)))
    elif current is not None and _replicas(current) != wanted:
        current = _scale(cluster, current, wanted)
    _report_deployment(cluster, deployment, current, older)


def _template(value: Value) -> Value:
    template: Value = copy.deepcopy(value["spec"]["template"])
    template["metadata"]["labels"].pop(HASH_LABEL, None)
    return template


def _replicas(stored: Stored) -> int:
    return int(stored.value["spec"].get("replicas", 1))


def _ready(stored: Stored) -> int:
    status = stored.value.get("status") or {}
    current = status.get("observedGeneration") == stored.value["metadata"].get("generation")
    return int(status.get("readyReplicas", 0)) if current else 0


def _scale(cluster: Cluster, stored: Stored, replicas: int) -> Stored:
    if _replicas(stored) == replicas:
        return stored
    value = stored.copy()
    value["spec"]["replicas"] = replicas
    value["metadata"]["generation"] = int(value["metadata"].get("generation", 0)) + 1
    return cluster.state.write(stored.key, value)


def _revision(stored: Stored) -> int:
    written = str((stored.value["metadata"].get("annotations") or {}).get(REVISION, "0"))
    return int(written) if written.isdigit() else 0


def _create_set(cluster: Cluster, deployment: Stored, sets: list[Stored], replicas: int) -> Stored:
    spec = deployment.value["spec"]
    digest = hashlib.sha256(json.dumps([spec["template"], deployment.uid], sort_keys=True).encode()).hexdigest()[:10]
    template = copy.deepcopy(spec["template"])
    template["metadata"]["labels"][HASH_LABEL] = digest
    selector = copy.deepcopy(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = digest
    key = REPLICA_SETS.key(deployment.key.namespace, f"{deployment.key.name}-{digest}")
    revision = max((_revision(one) for one in sets), default=0) + 1
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
            "annotations": {REVISION: str(revision)},
            "ownerReferences": [_reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
        "status": {"replicas": 0},
    }
    return cluster.state.write(key, value)


def _renew_revision(cluster: Cluster, current: Stored, older: list[Stored]) -> Stored:
    """A template that is used again counts as the newest revision."""
    newest = max((_revision(one) for one in older), default=0)
    if _revision(current) > newest:
        return current
    value = current.copy()
    value["metadata"].setdefault("annotations", {})[REVISION] = str(newest + 1)
    return cluster.state.write(current.key, value)


def _forget_history(cluster: Cluster, older: list[Stored], limit: int) -> None:
    empty = sorted((one for one in older if not (one.value.get("status") or {}).get("replicas")), key=_revision)
    for stored in empty[: max(len(empty) - limit, 0)]:
        _remove(cluster, REPLICA_SETS, stored)


def _report_deployment(cluster: Cluster, deployment: Stored, current: Stored | None, older: list[Stored]) -> None:
    value = deployment.copy()
    statuses = [one.value.get("status") or {} for one in [*older, *([current] if current else [])]]
    wanted = int(value["spec"].get("replicas", 1))
    updated = int(((current.value.get("status") if current else None) or {}).get("replicas", 0))
    ready = sum(int(one.get("readyReplicas", 0)) for one in statuses)
    total = sum(int(one.get("replicas", 0)) for one in statuses)
    status: Value = value.setdefault("status", {})
    counts = {"replicas": total, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready}
    counts["unavailableReplicas"] = max(wanted - ready, 0)
    for name, count in counts.items():
        status.pop(name, None)
        if count:
            status[name] = count
    status["observedGeneration"] = value["metadata"].get("generation", 1)
    complete = updated == wanted == total == ready
    _set_condition(
        status,
        ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if ready >= wanted
        else ("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    )
    name = current.key.name if current else ""
    _set_condition(
        status,
        ("Progressing", "True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.')
        if complete
        else ("Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.'),
    )
    if current is not None:
        value["metadata"].setdefault("annotations", {})[REVISION] = str(_revision(current))
    _update(cluster, deployment, value)


def _set_condition(status: Value, wanted: tuple[str, str, str, str]) -> None:
    kind, word, reason, message = wanted
    conditions: list[Value] = status.setdefault("conditions", [])
    found = next((one for one in conditions if one["type"] == kind), None)
    if found is None:
        found = {"type": kind}
        conditions.append(found)
    if (found.get("status"), found.get("reason"), found.get("message")) == (word, reason, message):
        return
    if found.get("status") != word:
        found["lastTransitionTime"] = now()
    found.update(status=word, reason=reason, message=message, lastUpdateTime=now())


# --- ReplicaSets ----------------------------------------------------------------------------------------------------


def sync_replica_set(cluster: Cluster, replica_set: Stored) -> None:
    """As many Pods as it wants, and their count in its status."""
    if _is_going(replica_set):
        return
    pods = [one for one in _owned(cluster, replica_set, PODS) if _phase(one) not in ("Failed", "Succeeded")]
    wanted = _replicas(replica_set)
    for _ in range(wanted - len(pods)):
        pods.append(_create_pod(cluster, replica_set))
    surplus = sorted(pods, key=lambda one: (_is_ready(one), one.revision))[: max(len(pods) - wanted, 0)]
    for pod in surplus:
        _remove(cluster, PODS, pod)
    left = [one for one in pods if one not in surplus]
    value = replica_set.copy()
    ready = sum(_is_ready(one) for one in left)
    status: Value = {"replicas": len(left), "observedGeneration": value["metadata"].get("generation", 1)}
    if left:
        status["fullyLabeledReplicas"] = len(left)
    if ready:
        status |= {"readyReplicas": ready, "availableReplicas": ready}
    value["status"] = {**{key: one for key, one in value.get("status", {}).items() if key == "conditions"}, **status}
    _update(cluster, replica_set, value)


def _phase(stored: Stored) -> str:
    return str((stored.value.get("status") or {}).get("phase", ""))


def _is_ready(stored: Stored) -> bool:
    conditions = (stored.value.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _create_pod(cluster: Cluster, replica_set: Stored) -> Stored:
    template = copy.deepcopy(replica_set.value["spec"]["template"])
    metadata = template.get("metadata") or {}
    key = PODS.key(replica_set.key.namespace, f"{replica_set.key.name[:57]}-{random_suffix()}")
    kept = {name: metadata[name] for name in ("labels", "annotations", "finalizers") if name in metadata}
    spec = {
        "enableServiceLinks": True,
        "serviceAccountName": "default",
        "serviceAccount": "default",
        **template["spec"],
    }
    value = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": key.name,
            "generateName": f"{replica_set.key.name}-",
            "namespace": key.namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now(),
            **kept,
            "ownerReferences": [_reference(replica_set)],
        },
        "spec": spec,
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    }
    return cluster.state.write(key, value)


# --- Pods -----------------------------------------------------------------------------------------------------------


def sync_pod(cluster: Cluster, pod: Stored) -> None:
    """Bind a Pod to a Node and declare it running; a Pod whose Node is gone goes too."""
    if _is_going(pod):
        return
    name = pod.value["spec"].get("nodeName")
    if name:
        node = cluster.state.get(NODES.key("", name))
        if node is None:
            _remove(cluster, PODS, pod)
        elif not _runs(pod):
            _run(cluster, pod, node)
        return
    if _phase(pod) != "Pending" or pod.value["spec"].get("schedulingGates"):
        return
    fitting = [node for node in cluster.state.select(NODES.resource) if _fits(node.value, pod.value)]
    if not fitting:
        value = pod.copy()
        message = "no Node is ready, schedulable and matches the Pod's nodeSelector"
        _set_condition(value.setdefault("status", {}), ("PodScheduled", "False", "Unschedulable", message))
        _update(cluster, pod, value)
        return
    load = {node.key.name: 0 for node in fitting}
    for other in cluster.state.select(PODS.resource):
        bound = other.value["spec"].get("nodeName")
        if bound in load:
            load[bound] += 1
    _run(cluster, pod, min(fitting, key=lambda node: (load[node.key.name], node.key.name)))


def _fits(node: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    spec = node.get("spec") or {}
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    wanted = selectors.from_label_selector({"matchLabels": pod["spec"].get("nodeSelector")})
    return ready and not spec.get("unschedulable") and selectors.matches(wanted, node["metadata"].get("labels"))


def _runs(pod: Stored) -> bool:
    statuses = (pod.value.get("status") or {}).get("containerStatuses") or ()
    images = [one.get("image") for one in pod.value["spec"]["containers"]]
    return _phase(pod) != "Pending" and (not statuses or [one.get("image") for one in statuses] == images)


def _run(cluster: Cluster, pod: Stored, node: Stored) -> None:
    value = pod.copy()
    moment = now()
    value["spec"]["nodeName"] = node.key.name
    status: Value = value.setdefault("status", {})
    address = status.get("podIP") or allocation.pod_address(cluster.state)
    host = next((one["address"] for one in node.value["status"]["addresses"] if one["type"] == "InternalIP"), "")
    status.update(
        phase="Running",
        hostIP=host,
        hostIPs=[{"ip": host}],
        podIP=address,
        podIPs=[{"ip": address}],
        startTime=status.get("startTime") or moment,
        conditions=[
            {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": moment}
            for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        containerStatuses=[
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": "",
                "containerID": f"sandbox://{pod.uid}/{container['name']}",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": moment}},
                "lastState": {},
            }
            for container in value["spec"]["containers"]
        ],
    )
    cluster.state.write(pod.key, value)
