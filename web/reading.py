"""How the blueprints reach the store, and what every page is given beside its own values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from flask import current_app, render_template, request
from sqlalchemy import Connection
from werkzeug.exceptions import BadRequest

from reconciler.store import views
from reconciler.store.database import Database

EXTENSION = "reconciler"
RECORDS = "reconciler-records"
"""The tables of kinds that pages are made of as well."""


@contextmanager
def reading() -> Iterator[Connection]:
    """One consistent state of the store, for one request."""
    database = cast(Database, current_app.extensions[EXTENSION])
    with database.read() as connection:
        yield connection


@dataclass(frozen=True, slots=True)
class Frame:
    """What the frame of every page shows. token: of the state that it was made from. now: by the store's clock."""

    now: float
    token: str
    daemon: views.DaemonView

    @classmethod
    def of(cls, connection: Connection) -> Frame:
        """As seen by this connection."""
        database = cast(Database, current_app.extensions[EXTENSION])
        token = views.read_cursor(connection, current_app.extensions.get(RECORDS, ())).token
        return cls(database.now(connection), token, views.daemon_view(connection))


def render(connection: Connection, template: str, **values: Any) -> str:
    """A page: its own values and the frame."""
    frame = Frame.of(connection)
    return render_template(template, frame=frame, now=frame.now, **values)


def whole_number(name: str, default: int, highest: int) -> int:
    """A number of the query, from 0 to `highest`; larger ones count as that. Raises BadRequest for anything else."""
    text = request.args.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadRequest(f"{name} has to be a whole number, not {text[:80]!r}")
    return min(int(text), highest)
