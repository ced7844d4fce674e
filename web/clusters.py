"""Clusters as the API shows them: what is wanted of each and what its record says. For `clusters_api`, `older_api`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from reconciler.kinds.cluster.tables import clusters
from reconciler.model.resource import ResourceRef
from reconciler.store.tables import resources, statuses
from reconciler.store.views.base import View

KIND = "Cluster"
PORTS = {"node_port": "nodePort", "pf_port": "pfPort", "http_port": "httpPort", "https_port": "httpsPort"}


@dataclass(frozen=True, slots=True)
class ClusterView(View):
    """A cluster. Ports, address and actual_state are what was recorded; None or `unknown` before that.

    desired_state: present or absent. running: whether it shall run. ready: True, False or Unknown. owner: who may
    change what is wanted. nodes_ready: as last verified, None where it is not known to be so now.
    """

    name: str
    provider: str
    cluster_subnet: str | None
    node_port: int | None
    pf_port: int | None
    http_port: int | None
    https_port: int | None
    server_ip: str | None
    desired_state: str
    actual_state: str
    status: str
    running: bool
    role: str
    ready: str
    reason: str
    message: str
    reconcile_error: str | None
    nodes_ready: int | None
    nodes_total: int | None
    owner: str
    generation: int
    last_reconciled_at: float | None
    created_at: float | None
    updated_at: float | None

    def to_older_json(self) -> dict[str, Any]:
        """The same with the names of fields that the predecessor used."""
        return {name: getattr(self, name) for name in self.__slots__}


def list_clusters(connection: Connection) -> list[ClusterView]:
    """Every cluster that somebody wants, or that is still recorded, by name."""
    wanted = {row["name"]: row for row in _wanted(connection)}
    recorded = {row["name"]: dict(row) for row in connection.execute(select(clusters)).mappings()}
    names = sorted(wanted.keys() | recorded.keys())
    return [_view(name, wanted.get(name, {}), recorded.get(name, {})) for name in names]


def cluster(connection: Connection, name: str) -> ClusterView | None:
    """One cluster, or None."""
    wanted = next(iter(_wanted(connection, name)), {})
    row = connection.execute(select(clusters).where(clusters.c.name == name)).mappings().one_or_none()
    recorded = dict(row) if row is not None else {}
    return _view(name, wanted, recorded) if wanted or recorded else None


def ref_of(name: str) -> ResourceRef:
    """The reference of a cluster. Raises SpecError for what no cluster can be called."""
    return ResourceRef.parse(f"{KIND}/{name}")


def _wanted(connection: Connection, name: str | None = None) -> list[Mapping[str, Any]]:
    same = (resources.c.kind == statuses.c.kind) & (resources.c.name == statuses.c.name)
    columns = (
        *(resources.c[column] for column in ("name", "owner", "lifecycle", "spec", "generation", "vanished_at")),
        *(resources.c[column] for column in ("created_at", "updated_at")),
        *(statuses.c[column] for column in ("ready", "reason", "message", "applied", "checked_at")),
    )
    chosen = select(*columns).select_from(resources.outerjoin(statuses, same)).where(resources.c.kind == KIND)
    if name is not None:
        chosen = chosen.where(resources.c.name == name)
    return [dict(row) for row in connection.execute(chosen).mappings()]


def _view(name: str, wanted: Mapping[str, Any], recorded: Mapping[str, Any]) -> ClusterView:
    spec: Mapping[str, Any] = json.loads(wanted["spec"]) if wanted else {}
    lifecycle: Mapping[str, Any] = json.loads(wanted["lifecycle"]) if wanted else {}
    applied: Mapping[str, Any] = json.loads(wanted["applied"]) if wanted.get("applied") else {}
    ports = {column: _port(column, port, spec, recorded) for column, port in PORTS.items()}
    actual = str(recorded.get("actual_state") or "unknown")
    is_ready = wanted.get("ready") == "True"
    return ClusterView(
        name=name,
        provider=str(recorded.get("provider") or spec.get("provider", "sandbox")),
        cluster_subnet=recorded.get("subnet") or spec.get("subnet"),
        **ports,
        server_ip=recorded.get("server_ip"),
        desired_state=str(lifecycle.get("state") or recorded.get("desired_state") or "present"),
        actual_state=actual,
        status=actual,
        running=bool(spec.get("running", True)),
        role=str(recorded.get("role") or spec.get("role", "business")),
        ready=str(wanted.get("ready") or "Unknown"),
        reason=str(wanted.get("reason") or ""),
        message=str(wanted.get("message") or ""),
        reconcile_error=recorded.get("reconcile_error"),
        nodes_ready=applied.get("ready", {}).get("nodes") if is_ready else None,
        nodes_total=_total(recorded),
        owner=str(wanted.get("owner") or ""),
        generation=int(wanted.get("generation") or 0),
        last_reconciled_at=recorded.get("last_reconciled_at"),
        created_at=recorded.get("created_at") or wanted.get("created_at"),
        updated_at=recorded.get("updated_at") or wanted.get("updated_at"),
    )


def _port(column: str, port: str, spec: Mapping[str, Any], recorded: Mapping[str, Any]) -> int | None:
    found = recorded.get(column)
    if found is None:
        found = spec.get("ports", {}).get(port)
    return None if found is None else int(found)


def _total(recorded: Mapping[str, Any]) -> int | None:
    servers = recorded.get("servers")
    return None if servers is None else int(servers) + int(recorded.get("agents") or 0)
