"""What was made for a cluster outside of it: the table `cluster_attachments`. Called by attachments and by looking.

A row outlives the document, the spec's field and, where something could not be removed, the cluster's own row: as long
as it stands, we made something that may still be there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.kind import Context, Records

TABLE = "cluster_attachments"
_ERROR_LENGTH = 4000

Made = Mapping[str, Any]


def read(records: Records, cluster: str, field: str) -> Made | None:
    """What was noted of one attachment of a cluster, None for nothing."""
    row = records.get(TABLE, cluster=cluster, field=field)
    return None if row is None else _made(row)


def of_cluster(records: Records, cluster: str) -> dict[str, Made]:
    """What was noted for a cluster, by field."""
    return _by(records.list(TABLE, cluster=cluster), "field")


def of_field(records: Records, field: str) -> dict[str, Made]:
    """What was noted of one attachment, by cluster, also of clusters that are gone."""
    return _by(records.list(TABLE, field=field), "cluster")


def facts(records: Records) -> dict[str, dict[str, str]]:
    """By cluster and field, what people may want to know: why it failed the last time, else what was made."""
    told: dict[str, dict[str, str]] = {}
    for row in records.list(TABLE):
        plain = {name: value for name, value in (_made(row) or {}).items() if isinstance(value, str | int)}
        shown = ", ".join(f"{name} {value}" for name, value in plain.items())
        told.setdefault(row["cluster"], {})[row["field"]] = f"failed: {row['error']}" if row["error"] else shown
    return told


def note(context: Context, cluster: str, field: str, state: Made) -> None:
    """Note what is about to be made, or what there is now. state: plain data, without secrets."""
    with context.records.transaction() as records:
        put(records, (cluster, field), state, context.now())


def put(records: Records, place: tuple[str, str], state: Made, now: float) -> None:
    """`note` inside a transaction that is open. place: cluster and field."""
    key = {"cluster": place[0], "field": place[1]}
    records.put(TABLE, key, {"state": json.dumps(state, sort_keys=True), "error": None, "updated_at": now})


def forget(context: Context, cluster: str, field: str) -> None:
    """It was seen to be gone."""
    with context.records.transaction() as records:
        records.delete(TABLE, cluster=cluster, field=field)


def fail(context: Context, cluster: str, field: str, message: str | None) -> None:
    """Why it could not be made or removed; None once it could. Nothing is written where that is known."""
    with context.records.transaction() as records:
        row = records.get(TABLE, cluster=cluster, field=field)
        known = row["error"] if row is not None else None
        if message != known:
            values = {"error": message and message[-_ERROR_LENGTH:], "updated_at": context.now()}
            records.put(TABLE, {"cluster": cluster, "field": field}, values)
        if message is None and row is not None and row["state"] is None:
            records.delete(TABLE, cluster=cluster, field=field)


def _by(rows: list[dict[str, Any]], column: str) -> dict[str, Made]:
    found = {row[column]: _made(row) for row in rows}
    return {name: state for name, state in found.items() if state is not None}


def _made(row: Mapping[str, Any]) -> Made | None:
    state: Made | None = json.loads(row["state"]) if row["state"] else None
    return state
