"""Events, newest first, for paging backwards: `/activity`. A tail goes forward with `store.events.listed`."""

from __future__ import annotations

from sqlalchemy import Connection, select

from reconciler.model.resource import ResourceRef
from reconciler.store.events import Event, event_of
from reconciler.store.tables import events


def list_events(
    connection: Connection,
    *,
    limit: int,
    before: int | None = None,
    types: tuple[str, ...] = (),
    since: float | None = None,
    ref: ResourceRef | None = None,
) -> list[Event]:
    """The newest `limit` events, newest first. before: only smaller ids. types: only these. since: not older."""
    chosen = select(events).order_by(events.c.id.desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(events.c.id < before)
    if types:
        chosen = chosen.where(events.c.type.in_(types))
    if since is not None:
        chosen = chosen.where(events.c.at >= since)
    if ref is not None:
        chosen = chosen.where(events.c.kind == ref.kind, events.c.name == ref.name)
    return [event_of(row) for row in connection.execute(chosen)]
