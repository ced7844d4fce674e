"""What rows want of clusters that no document names: rows that were imported, taken over, or written by SQL.

Such a row is desired state and record in one. What a person decides stands in the predecessor's columns (provider,
subnet, ports, desired_state) and in role, environment and description; whatever else is there was seen or given, and
is not wanted. Called by `ClusterKind`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.errors import BlockedError, UsageError
from reconciler.kind import Records, Wanted
from reconciler.kinds.cluster import made, rows
from reconciler.kinds.cluster.ports import grants_of
from reconciler.kinds.cluster.providers import providers
from reconciler.model.resource import API_VERSION

_SHOWN = ("subnet", "server_ip", "register_portainer", "haproxy_route")


def documents(records: Records) -> Iterator[dict[str, Any]]:
    """A document for each row that wants its cluster by itself."""
    for row in records.list(rows.TABLE, desired_by="row"):
        lifecycle = {"lifecycle": {"state": "absent"}} if row["desired_state"] == "absent" else {}
        yield {
            "apiVersion": API_VERSION,
            "kind": "Cluster",
            "metadata": {"name": row["name"]},
            **lifecycle,
            "spec": _spec(row),
        }


def want(records: Records, name: str, state: Wanted) -> None:
    """Write `desired_state`. A management cluster is never wanted to be absent."""
    row = rows.read(records, name)
    if row is None or row["desired_by"] != "row":
        raise UsageError("NoSuchRecord", f"no record wants a cluster {name}")
    if state == "absent" and row["role"] == "management":
        raise BlockedError("Protected", f"{name} is a management cluster: it is not deleted")
    if row["desired_state"] == "absent" and state != "absent":
        raise BlockedError("BeingDeleted", f"Cluster/{name} is being deleted")
    records.put(rows.TABLE, {"name": name}, {"desired_state": state})


def facts(records: Records) -> dict[str, dict[str, Any]]:
    """What rows say that people may want to know: ports, what was imported, and what was made outside of it."""
    attached = made.facts(records)
    return {row["name"]: _facts(row) | attached.get(row["name"], {}) for row in records.list(rows.TABLE)}


def _spec(row: rows.Row) -> dict[str, Any]:
    spec: dict[str, Any] = {"provider": row["provider"], "role": row["role"]}
    optional = {"subnet": row["subnet"], "environment": row["environment"], "description": row["description"]}
    spec |= {name: value for name, value in optional.items() if value}
    if ports := rows.wished_ports(row):
        spec["ports"] = ports
    if row["haproxy_route"] == 0:
        spec["route"] = {"enabled": False}
    return spec | ({"running": False} if row["desired_state"] == "stopped" else {})


def _facts(row: rows.Row) -> dict[str, Any]:
    granted: Mapping[str, Any] = grants_of(json.loads(row["granted_ports"]))
    found: dict[str, Any] = {"state": row["actual_state"]}
    provider = providers().get(row["provider"])
    if provider is not None and not provider.has_nodes:
        found["workloads"] = "none: a control plane without nodes"
    for name, port in rows.ports_of(row).items():
        one = granted.get(name)
        is_another = one is not None and one.given == port and one.is_another
        found[name] = f"{port} ({one.asked} was taken)" if is_another and one is not None else port
    found |= {_camel(name): row[name] for name in _SHOWN if row[name] is not None}
    return {
        name: bool(value) if name in ("registerPortainer", "haproxyRoute") else value for name, value in found.items()
    }


def _camel(column: str) -> str:
    first, *others = column.split("_")
    return first + "".join(one.capitalize() for one in others)
