"""Tasks: what was asked for through the API, so that whoever asked can follow it. Written with what was asked.

A row says only what was wanted and from when on; how it stands is read from the journal (`views.tasks`), so that
nothing about a task is lost with a process. Called by `web.writing`.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select

from reconciler.model.resource import ResourceRef
from reconciler.store.database import Database
from reconciler.store.tables import changes, tasks

KEEP = 10_000


def add(
    database: Database, connection: Connection, ref: ResourceRef, wanted: tuple[str, int], *, token: str, actor: str
) -> int:
    """Open a task in the caller's transaction; its id. The oldest beyond KEEP are dropped.

    wanted: what is to be done, and the generation that it is about. token: of the look that was requested with it, or
    "".
    """
    newest = select(func.coalesce(func.max(changes.c.id), 0))
    mine = newest.where(changes.c.kind == ref.kind, changes.c.name == ref.name)
    values = {
        "kind": ref.kind,
        "name": ref.name,
        "action": wanted[0],
        "generation": wanted[1],
        "after_change": connection.execute(mine).scalar_one(),
        "token": token,
        "actor": actor[:128],
        "at": database.now(connection),
    }
    added = connection.execute(insert(tasks).values(values)).inserted_primary_key
    assert added is not None
    connection.execute(delete(tasks).where(tasks.c.id <= added[0] - KEEP))
    return int(added[0])
