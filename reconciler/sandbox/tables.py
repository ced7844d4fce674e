"""Objects as the rows that `kubectl get` prints (`Accept: …;as=Table`). Pure; called by `rendering`.

One table per built-in type in `_TABLES` and `workload_tables`; the additional printer columns of a custom type; else
name and age.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.sandbox import json_paths, resources
from reconciler.sandbox.cells import AGE, NAME, NONE, Cell, Value, age_of, at, count, selector
from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.workload_tables import WORKLOAD_TABLES


def _statuses(value: Value) -> list[Value]:
    return list(at("status.containerStatuses", ())(value))


def _pod_ready(value: Value) -> str:
    return f"{sum(bool(one.get('ready')) for one in _statuses(value))}/{len(at('spec.containers', ())(value))}"


def _pod_status(value: Value) -> str:
    if "deletionTimestamp" in value["metadata"]:
        return "Terminating"
    for one in _statuses(value):
        waiting = at("state.waiting.reason")(one) or at("state.terminated.reason")(one)
        if waiting:
            return str(waiting)
    return str(at("status.reason")(value) or at("status.phase", "Unknown")(value))


def _node_status(value: Value) -> str:
    ready = json_paths.find(value, '.status.conditions[?(@.type=="Ready")].status')
    word = "Ready" if ready == ["True"] else "NotReady" if ready == ["False"] else "Unknown"
    return f"{word},SchedulingDisabled" if at("spec.unschedulable")(value) else word


def _node_roles(value: Value) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in at("metadata.labels", {})(value) if key.startswith(prefix))
    return ",".join(roles) or NONE


def _node_address(kind: str) -> Callable[[Value], str]:
    def read(value: Value) -> str:
        found = json_paths.find(value, f'.status.addresses[?(@.type=="{kind}")].address')
        return str(found[0]) if found else NONE

    return read


def _service_ports(value: Value) -> str:
    written = []
    for port in at("spec.ports", ())(value):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        written.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(written) or NONE


def _service_external(value: Value) -> str:
    if at("spec.type")(value) == "ExternalName":
        return str(at("spec.externalName")(value))
    addresses = list(at("spec.externalIPs", ())(value))
    addresses += [one.get("ip") or one.get("hostname") or "" for one in at("status.loadBalancer.ingress", ())(value)]
    return ",".join(addresses) or ("<pending>" if at("spec.type")(value) == "LoadBalancer" else NONE)


def _endpoints(value: Value) -> str:
    written = []
    for subset in at("subsets", ())(value):
        for address in subset.get("addresses") or ():
            written += [f"{address.get('ip')}:{port.get('port')}" for port in subset.get("ports") or ({"port": ""},)]
    return ",".join(written[:3]) + (f" + {len(written) - 3} more..." if len(written) > 3 else "") or NONE


_TABLES: Mapping[str, Sequence[Cell]] = {
    **WORKLOAD_TABLES,
    resources.NAMESPACES.resource: (NAME, Cell("Status", at("status.phase")), AGE),
    resources.NODES.resource: (
        NAME,
        Cell("Status", _node_status),
        Cell("Roles", _node_roles),
        AGE,
        Cell("Version", at("status.nodeInfo.kubeletVersion")),
        Cell("Internal-IP", _node_address("InternalIP"), wide=True),
        Cell("External-IP", _node_address("ExternalIP"), wide=True),
        Cell("OS-Image", at("status.nodeInfo.osImage", "<unknown>"), wide=True),
        Cell("Kernel-Version", at("status.nodeInfo.kernelVersion", "<unknown>"), wide=True),
        Cell("Container-Runtime", at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), wide=True),
    ),
    resources.PODS.resource: (
        NAME,
        Cell("Ready", _pod_ready),
        Cell("Status", _pod_status),
        Cell("Restarts", lambda value: str(sum(int(one.get("restartCount", 0)) for one in _statuses(value)))),
        AGE,
        Cell("IP", at("status.podIP", NONE), wide=True),
        Cell("Node", at("spec.nodeName", NONE), wide=True),
        Cell("Nominated Node", at("status.nominatedNodeName", NONE), wide=True),
        Cell("Readiness Gates", lambda _: NONE, wide=True),
    ),
    resources.SERVICES.resource: (
        NAME,
        Cell("Type", at("spec.type")),
        Cell("Cluster-IP", at("spec.clusterIP", NONE)),
        Cell("External-IP", _service_external),
        Cell("Port(s)", _service_ports),
        AGE,
        Cell("Selector", selector("spec.selector"), wide=True),
    ),
    resources.CONFIG_MAPS.resource: (NAME, Cell("Data", count("data", "binaryData"), "integer"), AGE),
    resources.SECRETS.resource: (NAME, Cell("Type", at("type")), Cell("Data", count("data"), "integer"), AGE),
    resources.SERVICE_ACCOUNTS.resource: (NAME, Cell("Secrets", count("secrets"), "integer"), AGE),
    resources.ENDPOINTS.resource: (NAME, Cell("Endpoints", _endpoints), AGE),
    resources.EVENTS.resource: (
        Cell("Last Seen", lambda value: age_of(at("lastTimestamp")(value) or at("eventTime")(value))),
        Cell("Type", at("type")),
        Cell("Reason", at("reason")),
        Cell(
            "Object",
            lambda value: f"{str(at('involvedObject.kind')(value)).lower()}/{at('involvedObject.name')(value)}",
        ),
        Cell("Message", at("message")),
    ),
    resources.VOLUME_CLAIMS.resource: (
        NAME,
        Cell("Status", at("status.phase")),
        Cell("Volume", at("spec.volumeName")),
        Cell("Capacity", at("status.capacity.storage")),
        Cell("Access Modes", lambda value: ",".join(at("spec.accessModes", ())(value))),
        Cell("StorageClass", at("spec.storageClassName")),
        AGE,
    ),
    resources.DEFINITIONS.resource: (NAME, Cell("Created At", at("metadata.creationTimestamp"))),
}


def cells_of(resource_type: ResourceType) -> Sequence[Cell]:
    """The columns of a type."""
    if not resource_type.columns:
        return _TABLES.get(resource_type.resource, (NAME, AGE))
    custom = [Cell(one.name, _custom(one.path, one.type), one.type, wide=one.wide) for one in resource_type.columns]
    return (NAME, *custom)


def _custom(path: str, kind: str) -> Callable[[Value], Any]:
    def read(value: Value) -> Any:
        found = json_paths.find(value, path)
        if not found:
            return None
        if kind == "date":
            return age_of(found[0])
        first = found[0]
        if kind in ("integer", "number", "boolean"):
            return first
        return first if isinstance(first, str) else json.dumps(first, separators=(",", ":"))

    return read


def columns(resource_type: ResourceType) -> list[dict[str, Any]]:
    """columnDefinitions of a Table."""
    return [
        {
            "name": cell.name,
            "type": "string" if cell.type == "date" else cell.type,
            "format": cell.format,
            "description": cell.name,
            "priority": int(cell.wide),
        }
        for cell in cells_of(resource_type)
    ]


def row(resource_type: ResourceType, value: Value, shown: Value | None) -> dict[str, Any]:
    """One row of a Table; shown is what the row carries as its object."""
    return {"cells": [cell.read(value) for cell in cells_of(resource_type)], "object": shown}
