"""What is known of each resource: conditions, drift, suspension, requests. Written by `engine` and CLI."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, select, update

from reconciler.model.condition import Condition
from reconciler.model.digest import canonical_json
from reconciler.model.resource import ResourceRef, State
from reconciler.store.database import Database
from reconciler.store.keys import among
from reconciler.store.tables import approvals, statuses

UNCHANGED = object()
_ELSEWHERE = ("applied", "protected", "touched", "ready", "reason", "message")  # read with the resource, or not at all
_COLUMNS = tuple(column for column in statuses.c if column.name not in _ELSEWHERE)


@dataclass(frozen=True, slots=True)
class Status:
    """What is remembered of how a resource is doing. Times are seconds since the epoch."""

    ref: ResourceRef
    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0
    drift: tuple[tuple[str, Any, Any], ...] = ()
    pending: Mapping[str, Any] | None = None
    failures: int = 0
    last_run: int | None = None
    applied_at: float | None = None
    checked_at: float | None = None
    requested_at: str = ""
    handled_at: str = ""
    suspend: Mapping[str, Any] | None = None

    def condition(self, type_: str) -> Condition | None:
        """The condition of this type, or None."""
        return next((entry for entry in self.conditions if entry.type == type_), None)


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """What one pass found out about one resource. applied, pending: UNCHANGED leaves them as they are."""

    ref: ResourceRef
    conditions: tuple[Condition, ...]
    observed_generation: int
    drift: tuple[tuple[str, Any, Any], ...] = ()
    failures: int = 0
    checked_at: float | None = None
    handled_at: str = ""
    applied: State | object = UNCHANGED
    pending: Mapping[str, Any] | object | None = UNCHANGED
    protected: bool | None = None
    touched: bool | None = None


def load(connection: Connection, refs: Collection[ResourceRef] | None = None) -> dict[ResourceRef, Status]:
    """The statuses of some resources, or of all."""
    found: dict[ResourceRef, Status] = {}
    for row in _rows(connection, refs):
        status = _status(row)
        found[status.ref] = status
    return found


def write(connection: Connection, updates: Iterable[StatusUpdate], now: float) -> None:
    """Store the outcome of a pass: one statement for all that change the same columns."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for entry in updates:
        values = _values(entry, now)
        alike.setdefault(tuple(values), []).append({**values, "of_kind": entry.ref.kind, "of_name": entry.ref.name})
    chosen = (statuses.c.kind == bindparam("of_kind"), statuses.c.name == bindparam("of_name"))
    for rows in alike.values():
        connection.execute(update(statuses).where(*chosen), rows)


def mark_checked(connection: Connection, refs: Collection[ResourceRef], now: float) -> None:
    """Everything was as desired: just say when that was seen."""
    chosen = (statuses.c.kind == bindparam("of_kind"), statuses.c.name == bindparam("of_name"))
    rows = [{"of_kind": ref.kind, "of_name": ref.name, "checked_at": now} for ref in refs]
    if rows:
        connection.execute(update(statuses).where(*chosen), rows)


def request(connection: Connection, ref: ResourceRef, token: str) -> None:
    """Ask for a look now: handled when `handled_at` equals the token."""
    connection.execute(update(statuses).where(_is(ref)).values(requested_at=token))


def requested(connection: Connection) -> dict[ResourceRef, str]:
    """Resources whose request was not handled yet. Asked several times a second, so found through an index."""
    waiting = select(statuses.c.kind, statuses.c.name, statuses.c.requested_at).where(statuses.c.requested_at > "")
    rows = connection.execute(waiting.where(statuses.c.requested_at != statuses.c.handled_at))
    return {ResourceRef(row.kind, row.name): row.requested_at for row in rows}


def suspend(connection: Connection, ref: ResourceRef, reason: str, by: str, times: tuple[float, float | None]) -> None:
    """Leave a resource alone. times: since when, and until when (None: until it is resumed)."""
    values = {"suspend_reason": reason, "suspend_by": by, "suspend_since": times[0], "suspend_until": times[1]}
    connection.execute(update(statuses).where(_is(ref)).values(values))


def resume(connection: Connection, ref: ResourceRef) -> bool:
    """End a suspension by hand. False when there was none."""
    values = {"suspend_reason": "", "suspend_by": "", "suspend_since": None, "suspend_until": None}
    chosen = update(statuses).where(_is(ref), statuses.c.suspend_since.is_not(None))
    return connection.execute(chosen.values(values)).rowcount == 1


def overdue_suspensions(connection: Connection, now: float) -> dict[ResourceRef, str]:
    """Suspensions by hand that outlived their time, each with a sentence that says so."""
    chosen = select(statuses.c.kind, statuses.c.name, statuses.c.suspend_reason, statuses.c.suspend_by)
    rows = connection.execute(chosen.where(statuses.c.suspend_until < now))
    return {
        ResourceRef(row.kind, row.name): f"suspended by {row.suspend_by} for longer than planned: {row.suspend_reason}"
        for row in rows
    }


def approve(database: Database, connection: Connection, ref: ResourceRef, fingerprint: str, actor: str) -> None:
    """Allow exactly the change with this fingerprint, once."""
    key = {"kind": ref.kind, "name": ref.name, "fingerprint": fingerprint}
    database.upsert(connection, approvals, key, {"actor": actor, "at": database.now(connection)})


def drop_approvals(connection: Connection, ref: ResourceRef) -> None:
    """Take approvals back: the resource is gone."""
    connection.execute(delete(approvals).where(approvals.c.kind == ref.kind, approvals.c.name == ref.name))


def _values(entry: StatusUpdate, now: float) -> dict[str, Any]:
    ready = next((condition for condition in entry.conditions if condition.type == "Ready"), None)
    values: dict[str, Any] = {
        "conditions": canonical_json([condition.to_json() for condition in entry.conditions]),
        "ready": ready.status if ready else "Unknown",
        "reason": ready.reason if ready else "",
        "message": ready.message if ready else "",
        "observed_generation": entry.observed_generation,
        "drift": json.dumps(entry.drift),
        "failures": entry.failures,
    }
    if entry.checked_at is not None:
        values["checked_at"] = entry.checked_at
    if entry.handled_at:
        values["handled_at"] = entry.handled_at
    if entry.applied is not UNCHANGED:
        values |= {"applied": None if entry.applied is None else canonical_json(entry.applied), "applied_at": now}
    if entry.pending is not UNCHANGED:
        values["pending"] = None if entry.pending is None else json.dumps(entry.pending)
    for name in ("protected", "touched"):
        flag = getattr(entry, name)
        if flag is not None:
            values[name] = int(flag)
    return values


@lru_cache(maxsize=4096)
def _conditions(text: str) -> tuple[Condition, ...]:
    """The stored conditions. What was written in one pass reads the same for most resources."""
    return tuple(Condition.from_json(entry) for entry in json.loads(text))


def _status(row: Row[Any]) -> Status:
    suspended = None
    if row.suspend_since is not None:
        suspended = {
            "reason": row.suspend_reason,
            "by": row.suspend_by,
            "since": row.suspend_since,
            "until": row.suspend_until,
        }
    return Status(
        ref=ResourceRef(row.kind, row.name),
        conditions=_conditions(row.conditions),
        observed_generation=row.observed_generation,
        drift=() if row.drift == "[]" else tuple((path, *values) for path, *values in json.loads(row.drift)),
        pending=json.loads(row.pending) if row.pending else None,
        failures=row.failures,
        last_run=row.last_run,
        applied_at=row.applied_at,
        checked_at=row.checked_at,
        requested_at=row.requested_at,
        handled_at=row.handled_at,
        suspend=suspended,
    )


def _rows(connection: Connection, refs: Collection[ResourceRef] | None) -> Iterable[Row[Any]]:
    if refs is None:
        yield from connection.execute(select(*_COLUMNS)).all()
        return
    for part in among(statuses, refs):
        yield from connection.execute(select(*_COLUMNS).where(part)).all()


def _is(ref: ResourceRef) -> Any:
    return and_(statuses.c.kind == ref.kind, statuses.c.name == ref.name)
