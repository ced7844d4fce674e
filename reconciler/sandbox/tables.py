"""Objects as the rows that `kubectl get` prints (`Accept: …;as=Table`). Pure; called by `rendering`.

One table per built-in type in `_TABLES`, the additional printer columns of a custom type, else name and age.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.sandbox import json_paths, resources
from reconciler.sandbox.resources import ResourceType

Value = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """One column: its title, how to read it, and whether only `-o wide` shows it."""

    name: str
    read: Callable[[Value], Any]
    type: str = "string"
    format: str = ""
    wide: bool = False


def human_age(seconds: float) -> str:
    """A duration with one or two units, as kubectl writes ages."""
    whole = max(int(seconds), 0)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


def age_of(timestamp: Any) -> str:
    """How long ago an RFC 3339 time was."""
    if not isinstance(timestamp, str) or not timestamp:
        return "<unknown>"
    try:
        then = datetime.datetime.fromisoformat(timestamp)
    except ValueError:
        return "<invalid>"
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return human_age((datetime.datetime.now(datetime.UTC) - then).total_seconds())


def _at(path: str, default: Any = "") -> Callable[[Value], Any]:
    parts = path.split(".")

    def read(value: Value) -> Any:
        found: Any = value
        for part in parts:
            found = found.get(part) if isinstance(found, Mapping) else None
        return default if found is None else found

    return read


def _count(*paths: str) -> Callable[[Value], int]:
    return lambda value: sum(len(_at(path, ())(value)) for path in paths)


_NAME = Cell("Name", _at("metadata.name"), format="name")
_AGE = Cell("Age", lambda value: age_of(_at("metadata.creationTimestamp")(value)))
_NONE = "<none>"


def _statuses(value: Value) -> list[Value]:
    return list(_at("status.containerStatuses", ())(value))


def _pod_ready(value: Value) -> str:
    return f"{sum(bool(one.get('ready')) for one in _statuses(value))}/{len(_at('spec.containers', ())(value))}"


def _pod_status(value: Value) -> str:
    if "deletionTimestamp" in value["metadata"]:
        return "Terminating"
    for one in _statuses(value):
        waiting = _at("state.waiting.reason")(one)
        if waiting:
            return str(waiting)
    return str(_at("status.reason")(value) or _at("status.phase", "Unknown")(value))


def _node_status(value: Value) -> str:
    ready = json_paths.find(value, '.status.conditions[?(@.type=="Ready")].status')
    word = "Ready" if ready == ["True"] else "NotReady" if ready == ["False"] else "Unknown"
    return f"{word},SchedulingDisabled" if _at("spec.unschedulable")(value) else word


def _node_roles(value: Value) -> str:
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in _at("metadata.labels", {})(value) if key.startswith(prefix))
    return ",".join(roles) or _NONE


def _node_address(kind: str) -> Callable[[Value], str]:
    def read(value: Value) -> str:
        found = json_paths.find(value, f'.status.addresses[?(@.type=="{kind}")].address')
        return str(found[0]) if found else _NONE

    return read


def _service_ports(value: Value) -> str:
    written = []
    for port in _at("spec.ports", ())(value):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        written.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(written) or _NONE


def _service_external(value: Value) -> str:
    if _at("spec.type")(value) == "ExternalName":
        return str(_at("spec.externalName")(value))
    addresses = list(_at("spec.externalIPs", ())(value))
    addresses += [one.get("ip") or one.get("hostname") or "" for one in _at("status.loadBalancer.ingress", ())(value)]
    return ",".join(addresses) or ("<pending>" if _at("spec.type")(value) == "LoadBalancer" else _NONE)


def _selector(path: str) -> Callable[[Value], str]:
    def read(value: Value) -> str:
        pairs = _at(path, {})(value)
        return ",".join(f"{key}={one}" for key, one in sorted(pairs.items())) or _NONE

    return read


def _containers(field: str) -> Callable[[Value], str]:
    return lambda value: ",".join(str(one.get(field, "")) for one in _at("spec.template.spec.containers", ())(value))


def _endpoints(value: Value) -> str:
    written = []
    for subset in _at("subsets", ())(value):
        for address in subset.get("addresses") or ():
            written += [f"{address.get('ip')}:{port.get('port')}" for port in subset.get("ports") or ({"port": ""},)]
    return ",".join(written[:3]) + (f" + {len(written) - 3} more..." if len(written) > 3 else "") or _NONE


_WORKLOAD_WIDE = (
    Cell("Containers", _containers("name"), wide=True),
    Cell("Images", _containers("image"), wide=True),
    Cell("Selector", _selector("spec.selector.matchLabels"), wide=True),
)

_TABLES: Mapping[str, Sequence[Cell]] = {
    resources.NAMESPACES.resource: (_NAME, Cell("Status", _at("status.phase")), _AGE),
    resources.NODES.resource: (
        _NAME,
        Cell("Status", _node_status),
        Cell("Roles", _node_roles),
        _AGE,
        Cell("Version", _at("status.nodeInfo.kubeletVersion")),
        Cell("Internal-IP", _node_address("InternalIP"), wide=True),
        Cell("External-IP", _node_address("ExternalIP"), wide=True),
        Cell("OS-Image", _at("status.nodeInfo.osImage", "<unknown>"), wide=True),
        Cell("Kernel-Version", _at("status.nodeInfo.kernelVersion", "<unknown>"), wide=True),
        Cell("Container-Runtime", _at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), wide=True),
    ),
    resources.PODS.resource: (
        _NAME,
        Cell("Ready", _pod_ready),
        Cell("Status", _pod_status),
        Cell("Restarts", lambda value: str(sum(int(one.get("restartCount", 0)) for one in _statuses(value)))),
        _AGE,
        Cell("IP", _at("status.podIP", _NONE), wide=True),
        Cell("Node", _at("spec.nodeName", _NONE), wide=True),
        Cell("Nominated Node", _at("status.nominatedNodeName", _NONE), wide=True),
        Cell("Readiness Gates", lambda _: _NONE, wide=True),
    ),
    resources.DEPLOYMENTS.resource: (
        _NAME,
        Cell("Ready", lambda value: f"{_at('status.readyReplicas', 0)(value)}/{_at('spec.replicas', 0)(value)}"),
        Cell("Up-to-date", _at("status.updatedReplicas", 0), "integer"),
        Cell("Available", _at("status.availableReplicas", 0), "integer"),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    resources.REPLICA_SETS.resource: (
        _NAME,
        Cell("Desired", _at("spec.replicas", 0), "integer"),
        Cell("Current", _at("status.replicas", 0), "integer"),
        Cell("Ready", _at("status.readyReplicas", 0), "integer"),
        _AGE,
        *_WORKLOAD_WIDE,
    ),
    resources.SERVICES.resource: (
        _NAME,
        Cell("Type", _at("spec.type")),
        Cell("Cluster-IP", _at("spec.clusterIP", _NONE)),
        Cell("External-IP", _service_external),
        Cell("Port(s)", _service_ports),
        _AGE,
        Cell("Selector", _selector("spec.selector"), wide=True),
    ),
    resources.CONFIG_MAPS.resource: (_NAME, Cell("Data", _count("data", "binaryData"), "integer"), _AGE),
    resources.SECRETS.resource: (_NAME, Cell("Type", _at("type")), Cell("Data", _count("data"), "integer"), _AGE),
    resources.SERVICE_ACCOUNTS.resource: (_NAME, Cell("Secrets", _count("secrets"), "integer"), _AGE),
    resources.ENDPOINTS.resource: (_NAME, Cell("Endpoints", _endpoints), _AGE),
    resources.EVENTS.resource: (
        Cell("Last Seen", lambda value: age_of(_at("lastTimestamp")(value) or _at("eventTime")(value))),
        Cell("Type", _at("type")),
        Cell("Reason", _at("reason")),
        Cell(
            "Object",
            lambda value: f"{str(_at('involvedObject.kind')(value)).lower()}/{_at('involvedObject.name')(value)}",
        ),
        Cell("Message", _at("message")),
    ),
    resources.VOLUME_CLAIMS.resource: (
        _NAME,
        Cell("Status", _at("status.phase")),
        Cell("Volume", _at("spec.volumeName")),
        Cell("Capacity", _at("status.capacity.storage")),
        Cell("Access Modes", lambda value: ",".join(_at("spec.accessModes", ())(value))),
        Cell("StorageClass", _at("spec.storageClassName")),
        _AGE,
    ),
    resources.DEFINITIONS.resource: (_NAME, Cell("Created At", _at("metadata.creationTimestamp"))),
}


def cells_of(resource_type: ResourceType) -> Sequence[Cell]:
    """The columns of a type."""
    if not resource_type.columns:
        return _TABLES.get(resource_type.resource, (_NAME, _AGE))
    custom = [Cell(one.name, _custom(one.path, one.type), one.type, wide=one.wide) for one in resource_type.columns]
    return (_NAME, *custom)


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
