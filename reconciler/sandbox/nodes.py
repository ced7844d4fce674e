"""The objects that a new cluster starts with: its namespaces and its Nodes. Pure; called by `service`."""

from __future__ import annotations

import re
import uuid
from typing import Any

from reconciler.sandbox.objects import now
from reconciler.sandbox.resources import NAMESPACES, NODES
from reconciler.sandbox.state import Change, ClusterState
from reconciler.sandbox.storage import ClusterRow

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def namespace_object(name: str, uid: str = "") -> dict[str, Any]:
    """An active Namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": uid or str(uuid.uuid4()),
            "creationTimestamp": now(),
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def node_names(row: ClusterRow) -> list[str]:
    """`NAME-server-0` …, `NAME-agent-0` …"""
    servers = [f"{row.name}-server-{index}" for index in range(row.servers)]
    return servers + [f"{row.name}-agent-{index}" for index in range(row.agents)]


def node_object(row: ClusterRow, name: str, number: int) -> dict[str, Any]:
    """A Node that is ready from the start: nothing runs on it that could fail."""
    moment = now()
    labels = {"kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    if name.startswith(f"{row.name}-server-"):
        labels["node-role.kubernetes.io/control-plane"] = "true"
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": moment, "labels": labels},
        "spec": {"podCIDR": f"10.42.{number}.0/24", "providerID": f"sandbox://{row.name}/{name}"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": f"10.41.0.{number + 1}"},
                {"type": "Hostname", "address": name},
            ],
            "allocatable": capacity,
            "capacity": capacity,
            "conditions": [
                _condition("MemoryPressure", "False", "KubeletHasSufficientMemory", moment),
                _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", moment),
                _condition("PIDPressure", "False", "KubeletHasSufficientPID", moment),
                _condition("Ready", "True", "KubeletReady", moment),
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "sandbox://0",
                "kernelVersion": "sandbox",
                "kubeProxyVersion": f"v{row.version}",
                "kubeletVersion": f"v{row.version}",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "sandbox (no workload runs here)",
                "systemUUID": "",
            },
        },
    }


def _condition(kind: str, status: str, reason: str, moment: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }


def ensure_nodes(state: ClusterState, row: ClusterRow) -> None:
    """Add the Nodes that are missing, remove those that are too many; Nodes that others made stay."""
    wanted = node_names(row)
    ours = re.compile(rf"^{re.escape(row.name)}-(server|agent)-\d+$")
    found = {stored.key.name for stored in state.select(NODES.resource)}
    changes = [
        Change(NODES.key("", name), node_object(row, name, number))
        for number, name in enumerate(wanted)
        if name not in found
    ]
    changes += [Change(NODES.key("", name), None) for name in sorted(found) if ours.match(name) and name not in wanted]
    if changes:
        state.commit(changes)


def first_changes(row: ClusterRow) -> list[Change]:
    """The system namespaces; kube-system carries the cluster's uid."""
    return [
        Change(NAMESPACES.key("", name), namespace_object(name, row.uid if name == "kube-system" else ""))
        for name in SYSTEM_NAMESPACES
    ]
