"""A kind's own tables as it reads them, in plain SQL: the half of `Context.records` that a dry run needs.

Built by `engine.context` and by whoever asks a kind what its records say. `kind_records` is the half that writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from reconciler.errors import TerminalError
from reconciler.store.database import Database
from reconciler.store.reading import quoted, rows

if TYPE_CHECKING:
    from reconciler.store.reading import Readable

Keys = Mapping[str, Sequence[str]]
"""The tables of a kind, each with the columns of its primary key."""


class KindRows:
    """Rows of a kind's tables as plain dicts; whatever would write is refused.

    connection: an open transaction to read in, instead of one for each call.
    """

    def __init__(self, database: Database, keys: Keys, connection: Readable | None = None) -> None:
        self._database = database
        self._keys = keys
        self._open = connection

    def get(self, table: str, **key: Any) -> dict[str, Any] | None:
        """The one row with these column values, or None."""
        found = self.list(table, **key)
        return found[0] if found else None

    def list(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """All rows with these column values, in primary key order."""
        order = self._key_of(table)
        with self._reading() as connection:
            name = quoted(connection, table)
            columns = {column: f"{name}.{quoted(connection, column)}" for column in (*where, *order)}
            bound = {f"value_{place}": value for place, value in enumerate(where.values()) if value is not None}
            compared = [
                f"{columns[column]} IS NULL" if value is None else f"{columns[column]} = :value_{place}"
                for place, (column, value) in enumerate(where.items())
            ]
            chosen = f"SELECT * FROM {name}"  # noqa: S608 - names are quoted, values are bound
            if compared:
                chosen += f" WHERE {' AND '.join(compared)}"
            if order:
                chosen += f" ORDER BY {', '.join(columns[column] for column in order)}"
            return [dict(row) for row in rows(connection, chosen, **bound)]

    def transaction(self) -> AbstractContextManager[KindRows]:
        """Raises TerminalError, as all that follow: this is for reading."""
        _refuse()

    def put(self, table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Raises TerminalError."""
        _refuse()

    def delete(self, table: str, **key: Any) -> None:
        """Raises TerminalError."""
        _refuse()

    def allocate(self, table: str, column: str, candidates: Iterable[int], **scope: Any) -> int:
        """Raises TerminalError."""
        _refuse()

    def _key_of(self, table: str) -> Sequence[str]:
        try:
            return self._keys[table]
        except KeyError:
            raise TerminalError("UnknownTable", f"this kind declares no table {table}") from None

    @contextmanager
    def _reading(self) -> Iterator[Readable]:
        if self._open is not None:
            yield self._open
            return
        with self._database.reading() as connection:
            yield connection


def _refuse() -> NoReturn:
    raise TerminalError("ReadOnly", "observe may not write records")
