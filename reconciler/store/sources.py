"""Where specs come from, as a whole: how the last look at each source went, its commits, and requests to look again.

Written by `engine.workspace` with what it loads and by `reconciler sync`; read by the daemon several times a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from reconciler.model.commit import Commit
from reconciler.store.database import Database
from reconciler.store.tables import commits, problems, sources


@dataclass(frozen=True, slots=True)
class SourceState:
    """How a look at a source went. owner: its prefix. message: why what was read may be old.

    handled: token of the request that this look answers, "" for none.
    """

    owner: str
    commit: Commit | None = None
    readable: bool = True
    message: str = ""
    handled: str = ""


def write(database: Database, connection: Connection, state: SourceState) -> None:
    """Store how the last look went, and the commit that it was at."""
    values: dict[str, Any] = {
        "read_at": database.now(connection),
        "revision": state.commit.id if state.commit is not None else "",
        "readable": int(state.readable),
        "message": state.message,
    }
    if state.handled:
        values["handled_at"] = state.handled
    database.upsert(connection, sources, {"owner": state.owner[:512]}, values)
    if state.commit is not None:
        known = state.commit
        facts = {"author": known.author[:255], "subject": known.subject[:255], "at": known.at}
        database.upsert(connection, commits, {"id": known.id}, facts)


def write_problems(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store what is wrong with the specs now, in place of what was."""
    connection.execute(delete(problems))
    if rows:
        connection.execute(insert(problems), [dict(row) for row in rows])


def request(connection: Connection, token: str) -> int:
    """Ask whoever looks after a source to look at it now. Returns how many sources there are."""
    return connection.execute(update(sources).values(requested_at=token)).rowcount


def requested(connection: Connection) -> dict[str, str]:
    """Tokens that were not answered yet, by source."""
    waiting = select(sources.c.owner, sources.c.requested_at).where(
        sources.c.requested_at > "", sources.c.requested_at != sources.c.handled_at
    )
    return {row.owner: row.requested_at for row in connection.execute(waiting)}


def answered(connection: Connection, token: str) -> SourceState | None:
    """How the look went that answers a request; None before it did."""
    path = sources.outerjoin(commits, commits.c.id == sources.c.revision)
    chosen = select(sources, commits.c.author, commits.c.subject, commits.c.at).select_from(path)
    row = connection.execute(chosen.where(sources.c.handled_at == token)).first()
    if row is None:
        return None
    commit = Commit(row.revision, row.author or "", row.subject or "", row.at or 0.0) if row.revision else None
    return SourceState(row.owner, commit, bool(row.readable), row.message, token)
