"""Events: what happened, for people. Written with what they tell of, read by CLI, page and API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, func, insert, select

from reconciler.model.resource import ResourceRef
from reconciler.store.tables import events

KEEP = 50_000
EventType = Literal["normal", "warning", "alarm"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event. type: alarm is what must be seen by somebody. ref: None for what concerns no single resource."""

    type: EventType
    reason: str
    message: str
    ref: ResourceRef | None = None
    actor: str = ""
    run_id: int | None = None
    id: int = 0
    at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As printed by `reconciler events -o json` and sent to the page."""
        return {
            "id": self.id,
            "at": self.at,
            "type": self.type,
            "resource": str(self.ref) if self.ref else None,
            "reason": self.reason,
            "message": self.message,
            "actor": self.actor,
            "run": self.run_id,
        }


def add(connection: Connection, now: float, happened: Iterable[Event]) -> None:
    """Write events in the caller's transaction, through the driver's own executemany."""
    rows = [
        {
            "at": now,
            "type": event.type,
            "kind": event.ref.kind if event.ref else "",
            "name": event.ref.name if event.ref else "",
            "reason": event.reason,
            "message": event.message,
            "actor": event.actor,
            "run_id": event.run_id,
        }
        for event in happened
    ]
    if rows:
        connection.execute(insert(events), rows)


def listed(connection: Connection, *, ref: ResourceRef | None = None, after: int = 0, limit: int = 200) -> list[Event]:
    """The newest `limit` events after id `after`, oldest first."""
    chosen = select(events).where(events.c.id > after)
    if ref is not None:
        chosen = chosen.where(events.c.kind == ref.kind, events.c.name == ref.name)
    rows = connection.execute(chosen.order_by(events.c.id.desc()).limit(limit)).all()
    return [event_of(row) for row in reversed(rows)]


def event_of(row: Row[Any]) -> Event:
    """A row of the table as an event."""
    return Event(
        type=row.type,
        reason=row.reason,
        message=row.message,
        ref=ResourceRef(row.kind, row.name) if row.kind else None,
        actor=row.actor,
        run_id=row.run_id,
        id=row.id,
        at=row.at,
    )


def last_id(connection: Connection) -> int:
    """The id of the newest event, 0 when there is none: what a tail starts from."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def trim(connection: Connection, keep: int = KEEP) -> int:
    """Drop all but the newest `keep` events. Returns how many were dropped."""
    oldest = last_id(connection) - keep
    return connection.execute(delete(events).where(events.c.id <= oldest)).rowcount if oldest > 0 else 0
