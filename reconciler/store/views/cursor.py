"""Whether anything that people see has changed: what the live page's one tail asks four times a second.

On SQLite a kept connection's `PRAGMA data_version` says for microseconds whether anybody wrote at all; only then is the
Cursor read. It leaves out what changes all the time and shows nothing: renewed leases, and when all was well again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Table, func, select
from sqlalchemy.exc import DBAPIError

from reconciler.errors import DatabaseError
from reconciler.model.result import StepOutcome
from reconciler.store.database import Database
from reconciler.store.tables import approvals, changes, events, problems, resources, runs, sources, statuses, steps
from reconciler.store.tables import step_logs as logs


class Cursor(NamedTuple):
    """A state of the store as far as it is shown. Equal cursors: nothing to tell. event: the newest event's id."""

    event: int
    rest: tuple[Any, ...]

    @property
    def token(self) -> str:
        """A short text that differs where cursors differ: what a page carries to know whether it is old."""
        return f"{self.event}-{hashlib.sha256(repr(self.rest).encode()).hexdigest()[:12]}"


class Tail:
    """Watches one database from one thread at a time. `close()` gives its connection back.

    records: tables of kinds that count as well, each with a column `updated_at`. Raises DatabaseError when the database
    does not answer; a new Tail may try again.
    """

    def __init__(self, database: Database, records: Sequence[Table] = ()) -> None:
        self._records = records
        try:
            self._connection = database.engine.connect()
        except DBAPIError as error:
            raise DatabaseError("DatabaseError", str(error.orig)) from error
        self._is_sqlite = database.engine.dialect.name == "sqlite"
        self._version: int | None = None
        self._cursor: Cursor | None = None

    def poll(self) -> Cursor | None:
        """The new cursor when anything shown has changed since the last call (the first always), else None."""
        try:
            if not self._was_written():
                return None
            found = read_cursor(self._connection, self._records)
        except DBAPIError as error:
            raise DatabaseError("DatabaseError", str(error.orig)) from error
        finally:
            self._connection.rollback()
        if found == self._cursor:
            return None
        self._cursor = found
        return found

    def close(self) -> None:
        """Stop watching."""
        self._connection.close()

    def _was_written(self) -> bool:
        if not self._is_sqlite:
            return True
        version = int(self._connection.exec_driver_sql("PRAGMA data_version").scalar_one())
        moved, self._version = version != self._version, version
        return moved


def read_cursor(connection: Connection, records: Sequence[Table] = ()) -> Cursor:
    """The cursor of the state that this connection sees. Maxima of keys, and one narrow look at every status.

    records: tables of kinds that count as well, each with a column `updated_at`.
    """
    newest = [_newest(table.c.id) for table in (events, runs, changes, steps, logs, problems)]
    ids = [connection.execute(chosen).scalar_one() for chosen in newest]
    open_steps = select(func.count(), func.sum(steps.c.progress), func.max(steps.c.note))
    running = open_steps.where(
        steps.c.outcome == StepOutcome.OPEN.value,
        steps.c.change_id.in_(
            select(changes.c.id).join(runs, runs.c.id == changes.c.run_id).where(runs.c.state == "running")
        ),
    )
    looks = (
        running,
        select(func.count()).where(runs.c.state == "running"),
        select(func.count(), func.max(resources.c.updated_at), func.max(resources.c.vanished_at)).select_from(
            resources
        ),
        select(
            func.sum(statuses.c.observed_generation),
            func.sum(statuses.c.failures),
            func.count(statuses.c.pending),
            func.max(statuses.c.applied_at),
            func.sum(statuses.c.suspend_since),
            func.sum(statuses.c.suspend_until),
        ),
        select(statuses.c.ready, statuses.c.reason, func.count()).group_by(statuses.c.ready, statuses.c.reason),
        select(func.count()).select_from(approvals),
        select(sources.c.owner, sources.c.readable, sources.c.revision).order_by(sources.c.owner),
        *(select(func.count(), func.max(table.c.updated_at)).select_from(table) for table in records),
    )
    seen = tuple(tuple(tuple(row) for row in connection.execute(chosen)) for chosen in looks)
    return Cursor(int(ids[0]), (tuple(ids), *seen))


def _newest(column: Any) -> Select[Any]:
    return select(func.coalesce(func.max(column), 0))
