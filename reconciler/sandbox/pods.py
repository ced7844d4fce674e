"""Pods: made from a template, bound to a Node, declared running, and, those of Jobs, finished. Called by `controllers`
and by the controllers of workloads.

Nothing is executed: a Pod with a Node is running and ready because nothing is there that could fail. A Pod of a Job
ends at once, with the exit code that its annotation EXIT_CODE names (0 without).
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.sandbox import allocation, selectors
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.objects import now
from reconciler.sandbox.ownership import (
    Value,
    condition,
    controller_of,
    is_going,
    reference,
    remove,
    set_condition,
    update,
)
from reconciler.sandbox.resources import NODES, PODS
from reconciler.sandbox.state import Change, Stored

EXIT_CODE = "sandbox.reconciler.dev/exit-code"
FINISHED = ("Failed", "Succeeded")
BATCH = 100  # Pods made in one step, so that a large wish does not keep everybody else waiting
MOST_PODS = 5000  # in one cluster; a wish beyond is not fulfilled


def phase(stored: Stored) -> str:
    """status.phase."""
    return str((stored.value.get("status") or {}).get("phase", ""))


def is_ready(stored: Stored) -> bool:
    """Whether its condition Ready is true."""
    found = condition(stored.value.get("status"), "Ready")
    return found is not None and found.get("status") == "True"


@dataclass(frozen=True, slots=True)
class PodWish:
    """What a controller adds to its template for one Pod."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: Sequence[str] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    generate_name: str = ""


def make_pods(cluster: Cluster, owner: Stored, template: Mapping[str, Any], wishes: Sequence[PodWish]) -> list[Stored]:
    """Make Pods of a template, in one transaction: at most BATCH now (the events of these bring the next step), none
    beyond MOST_PODS.
    """
    room = max(MOST_PODS - cluster.state.count(PODS.resource), 0)
    changes = [_pod(owner, template, wish) for wish in wishes[: min(room, BATCH)]]
    return cluster.state.commit(changes) if changes else []


def _pod(owner: Stored, template: Mapping[str, Any], wish: PodWish) -> Change:
    template = copy.deepcopy(dict(template))
    given = template.get("metadata") or {}
    key = PODS.key(owner.key.namespace, wish.name)
    metadata: Value = {
        "name": key.name,
        "namespace": key.namespace,
        "uid": str(uuid.uuid4()),
        "creationTimestamp": now(),
        "labels": {**(given.get("labels") or {}), **wish.labels},
        "annotations": {**(given.get("annotations") or {}), **wish.annotations},
        "finalizers": [*(given.get("finalizers") or ()), *wish.finalizers],
        "generateName": wish.generate_name,
        "ownerReferences": [reference(owner)],
    }
    account = {"serviceAccountName": "default", "serviceAccount": "default"}
    spec = {"enableServiceLinks": True, **account, **template["spec"], **wish.spec}
    value = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {name: one for name, one in metadata.items() if one},
        "spec": spec,
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    }
    return Change(key, value)


def sync_pod(cluster: Cluster, pod: Stored) -> None:
    """Bring a Pod one step on: bound and running, then, of a Job, finished; one whose Node is gone goes too."""
    if is_going(pod) or phase(pod) in FINISHED:
        return
    name = pod.value["spec"].get("nodeName")
    if name:
        node = cluster.state.get(NODES.key("", name))
        if node is None:
            remove(cluster, PODS, pod)
        elif not _runs(pod):
            _run(cluster, pod, node)
        elif (controller_of(pod.value) or {}).get("kind") == "Job":
            _finish(cluster, pod)
        return
    if phase(pod) != "Pending" or pod.value["spec"].get("schedulingGates"):
        return
    fitting = [node for node in cluster.state.select(NODES.resource) if fits(node.value, pod.value["spec"])]
    fitting = [node for node in fitting if not (node.value.get("spec") or {}).get("unschedulable")]
    if not fitting:
        value = pod.copy()
        message = "no Node is ready, schedulable and matches the Pod's nodeSelector"
        set_condition(value.setdefault("status", {}), ("PodScheduled", "False", "Unschedulable", message))
        update(cluster, pod, value)
        return
    load = {node.key.name: 0 for node in fitting}
    for other in cluster.state.select(PODS.resource):
        bound = other.value["spec"].get("nodeName")
        if bound in load and phase(other) not in FINISHED:
            load[bound] += 1
    _run(cluster, pod, min(fitting, key=lambda node: (load[node.key.name], node.key.name)))


def fits(node: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether a Node is ready and has the labels that a Pod's nodeSelector names."""
    ready = condition(node.get("status"), "Ready")
    wanted = selectors.from_label_selector({"matchLabels": spec.get("nodeSelector")})
    is_up = ready is not None and ready.get("status") == "True"
    return is_up and selectors.matches(wanted, node["metadata"].get("labels"))


def _runs(pod: Stored) -> bool:
    statuses = (pod.value.get("status") or {}).get("containerStatuses") or ()
    images = [one.get("image") for one in pod.value["spec"]["containers"]]
    return phase(pod) != "Pending" and (not statuses or [one.get("image") for one in statuses] == images)


def _run(cluster: Cluster, pod: Stored, node: Stored) -> None:
    value = pod.copy()
    moment = now()
    value["spec"]["nodeName"] = node.key.name
    status: Value = value.setdefault("status", {})
    address = status.get("podIP") or allocation.pod_address(cluster.state)
    addresses = (node.value.get("status") or {}).get("addresses") or ()
    host = next((one["address"] for one in addresses if one.get("type") == "InternalIP"), "")
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
            _container_status(pod, container, {"running": {"startedAt": moment}})
            for container in value["spec"]["containers"]
        ],
    )
    cluster.state.write(pod.key, value)


def _container_status(pod: Stored, container: Mapping[str, Any], state: Value) -> Value:
    runs = "running" in state
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "containerID": f"sandbox://{pod.uid}/{container['name']}",
        "ready": runs,
        "started": runs,
        "restartCount": 0,
        "state": state,
        "lastState": {},
    }


def _finish(cluster: Cluster, pod: Stored) -> None:
    """End the containers of a Pod with the exit code that it asks for."""
    value = pod.copy()
    written = str((value["metadata"].get("annotations") or {}).get(EXIT_CODE, "0"))
    code = int(written) if written.isascii() and written.isdigit() and len(written) < 4 else 1
    ended = {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": now()}
    status: Value = value["status"]
    status["phase"] = "Failed" if code else "Succeeded"
    why = "PodFailed" if code else "PodCompleted"
    for kind in ("Ready", "ContainersReady"):
        set_condition(status, (kind, "False", why, ""))
    started = {"startedAt": status["startTime"]} if "startTime" in status else {}
    containers = value["spec"]["containers"]
    status["containerStatuses"] = [
        _container_status(pod, one, {"terminated": {**started, **ended}}) for one in containers
    ]
    cluster.state.write(pod.key, value)
