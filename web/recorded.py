"""What the records of kinds say of their resources (`kind.TellsFacts`), for pages and the API. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from flask import current_app
from sqlalchemy import Connection

from reconciler.kind import TellsFacts
from reconciler.store.database import Database
from reconciler.store.kind_rows import Keys, KindRows
from web.answers import WRITER
from web.reading import EXTENSION

if TYPE_CHECKING:
    from sqlalchemy import Table

    from reconciler.kinds import Kinds
    from web.writing import Writer

_KNOWN = "reconciler-kinds"


@dataclass(frozen=True, slots=True)
class _Known:
    """The kinds, and the primary keys of each one's tables."""

    kinds: Kinds
    keys: Mapping[str, Keys]


def facts_of(connection: Connection, kind: str) -> Mapping[str, Mapping[str, Any]]:
    """By name, what records say of the resources of a kind: words and plain values. Empty where it says nothing."""
    teller = _known().kinds.offering(TellsFacts).get(kind)
    return teller.facts(records_of(connection, kind)) if teller is not None else {}


def records_of(connection: Connection, kind: str) -> KindRows:
    """The tables of a kind, to read, as this connection sees them."""
    database = cast(Database, current_app.extensions[EXTENSION])
    return KindRows(database, _known().keys.get(kind, {}), connection)


def shown_records(writer: Writer) -> tuple[Table, ...]:
    """The tables out of which facts are made and that say when they changed: a page is old once one of them has."""
    tables = (table for own in writer.runtime.tables.values() for table in own.values())
    return tuple(table for table in tables if "updated_at" in table.c)


def _known() -> _Known:
    """The kinds of the daemon that serves this, or those that come with the program where nothing is written."""
    found = current_app.extensions.get(_KNOWN)
    if found is None:
        found = current_app.extensions[_KNOWN] = _find()
    return cast(_Known, found)


def _find() -> _Known:
    writer = cast("Writer | None", current_app.extensions.get(WRITER))
    if writer is not None:
        return _Known(writer.runtime.kinds, writer.runtime.keys)
    from reconciler.engine.wiring import KindKeys  # noqa: PLC0415 - only a page apart from a daemon has to look
    from reconciler.kinds import discover  # noqa: PLC0415 - likewise

    kinds = discover()
    return _Known(kinds, KindKeys(kinds))
