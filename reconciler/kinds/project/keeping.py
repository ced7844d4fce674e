"""What was seen of projects, kept in `gitops_resources`, and told to people.

Called by the kind; keeping happens in the transaction that stores the outcome of a look.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.kind import Records
from reconciler.kinds.project import rows
from reconciler.model.observation import Observation

_MAX_REVISION = 255
_MAX_REASON = 255


def keep(records: Records, observation: Observation) -> None:
    """Write the status of each Flux object that was seen into its row, where it differs."""
    seen = observation.facts.get("objects")
    if not seen:
        return
    there = {rows.key_of(row): row for row in records.list(rows.RESOURCES, project_id=observation.facts["id"])}
    for one in seen:
        row = there.get(tuple(one["key"]))
        if row is not None:
            changed = {name: value for name, value in _columns(one).items() if row[name] != value}
            if changed:
                records.put(rows.RESOURCES, {"id": row["id"]}, {**changed, **_stamps(changed, observation.observed_at)})


def facts(records: Records) -> dict[str, dict[str, Any]]:
    """By resource, what the records say of each project: words and plain values."""
    groups = {table: _by_project(records, table) for table in (rows.ENVIRONMENTS, rows.RESOURCES, rows.STEPS)}
    return {
        row["resource"]: _facts(row, {table: group.get(row["id"], []) for table, group in groups.items()})
        for row in records.list(rows.PROJECTS)
        if row["resource"] is not None
    }


def _columns(one: Mapping[str, Any]) -> dict[str, Any]:
    failed = one["status"] == "failed"
    return {
        "status": one["status"],
        "status_reason": one["reason"][:_MAX_REASON],
        "status_message": one["message"],
        "error_message": one["message"] if failed else None,
        "last_applied_revision": _revision(one["applied"]),
        "last_attempted_revision": _revision(one["attempted"]),
    }


def _revision(text: Any) -> str | None:
    return text[:_MAX_REVISION] if isinstance(text, str) and text else None


def _stamps(changed: Mapping[str, Any], at: float) -> dict[str, float]:
    columns = {
        "last_applied_revision": "last_applied_at",
        "last_attempted_revision": "last_attempted_at",
        "status": "last_status_update_at",
        "status_message": "last_status_update_at",
    }
    return {stamp: at for name, stamp in columns.items() if name in changed} | {"updated_at": at}


def _by_project(records: Records, table: str) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in records.list(table):
        groups.setdefault(row["project_id"], []).append(row)
    return groups


def _facts(project: rows.Row, parts: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    objects = parts[rows.RESOURCES]
    by_environment = {row["environment_id"]: row for row in objects if row["environment_id"] is not None}
    sources = [row for row in objects if row["type"] == "git-repository"]
    environments = sorted(parts[rows.ENVIRONMENTS], key=lambda row: row["sequence"])
    found = {
        "id": project["id"],
        "slug": project["slug"],
        "status": project["status"],
        "progress": project["progress"],
        "namespace": project["namespace"],
        "repositories": [_object(row) for row in sources],
        "environments": [_environment(row, by_environment.get(row["id"])) for row in environments],
        "steps": [_step(row) for row in sorted(parts[rows.STEPS], key=lambda row: row["sequence"])],
    }
    return found | ({"error": project["initialization_error"]} if project["initialization_error"] else {})


def _object(row: rows.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "cluster": row["cluster"],
        "namespace": row["namespace"],
        "name": row["name"],
        "status": row["status"],
        "reason": row["status_reason"] or "",
        "message": row["status_message"] or "",
        "revision": row["last_applied_revision"] or "",
    }


def _environment(row: rows.Row, kustomization: rows.Row | None) -> dict[str, Any]:
    required, approvals = rows.approvals_of(row)
    found = {
        "id": row["id"],
        "slug": row["slug"],
        "name": row["name"],
        "type": row["type"],
        "description": row["description"] or "",
        "approvalRequired": required,
        "minApprovals": approvals,
        "cluster": row["cluster"],
        "path": row["path"],
        "targetNamespace": row["namespace"],
    }
    return found | ({"flux": _object(kustomization)} if kustomization is not None else {})


def _step(row: rows.Row) -> dict[str, Any]:
    return {
        "step": row["step"],
        "name": row["display_name_en"] or row["display_name"],
        "displayName": row["display_name"],
        "status": row["status"],
        "progress": row["progress"],
        "duration": row["duration"],
        "error": row["error"] or "",
    }
