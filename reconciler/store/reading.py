"""Reading in plain SQL: the one way of asking that needs no SQLAlchemy, so that a dry run starts fast.

Statements are written for both dialects that we keep a store in, with `:name` for values; rows are mappings. An SQLite
file is asked through the driver itself, on connections that cannot write; what SQLAlchemy has open, through that.
Used by `remembered`, `unfinished` and `kind_rows`; opened by `Database.reading`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from reconciler.errors import DatabaseError
from reconciler.model.resource import ResourceRef

if TYPE_CHECKING:
    from sqlalchemy import Connection, TextClause

Row = Mapping[str, Any]
"""A row by column name."""
_KEPT = 8


class FileConnection:
    """One consistent state of an SQLite file."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver

    def rows(self, statement: str, values: Mapping[str, Any]) -> list[Row]:
        """What a statement finds."""
        found: list[Any] = self._driver.execute(statement, values).fetchall()
        return found

    def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name", {"name": name}))


Readable: TypeAlias = "FileConnection | Connection"
"""What can be read from: a connection of `Database.reading`, or one of SQLAlchemy's, as part of its transaction."""


class FileReaders:
    """Connections that read one SQLite file. busy_timeout: seconds that they wait for a lock. Safe between threads."""

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    @contextmanager
    def reading(self) -> Iterator[FileConnection]:
        """A connection for as long as the block lasts. Raises DatabaseError with what SQLite says."""
        try:
            driver = self._taken()
            try:
                driver.execute("BEGIN")
                yield FileConnection(driver)
            finally:
                self._give_back(driver)
        except sqlite3.Error as error:
            if "locked" in str(error):
                wait = f"{self._busy_timeout:g} s"
                raise DatabaseError("DatabaseLocked", f"{self._path} could not be read for {wait}: {error}") from error
            raise DatabaseError("DatabaseError", f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close what nobody reads from now; the others when they are given back."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def _taken(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        driver = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",  # never makes a file
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        driver.row_factory = sqlite3.Row
        driver.execute("PRAGMA query_only=ON")
        return driver

    def _give_back(self, driver: sqlite3.Connection) -> None:
        driver.rollback()
        if self._is_closed or len(self._idle) >= _KEPT:
            driver.close()
        else:
            self._idle.append(driver)


def rows(connection: Readable, statement: str, **values: Any) -> list[Row]:
    """What a statement finds, by column name. values: of its `:name`s."""
    if isinstance(connection, FileConnection):
        return connection.rows(statement, values)
    return [dict(row) for row in connection.execute(_prepared(statement), values).mappings()]


def has_table(connection: Readable, name: str) -> bool:
    """Whether there is a table of this name."""
    if isinstance(connection, FileConnection):
        return connection.has_table(name)
    from sqlalchemy import inspect  # noqa: PLC0415 - whoever made the connection has loaded it

    return bool(inspect(connection).has_table(name))


def quoted(connection: Readable, name: str) -> str:
    """A table's or a column's name, as this database quotes names."""
    if isinstance(connection, FileConnection):
        return '"' + name.replace('"', '""') + '"'
    return connection.dialect.identifier_preparer.quote_identifier(name)


@lru_cache(maxsize=1024)
def _prepared(statement: str) -> TextClause:
    from sqlalchemy import text  # noqa: PLC0415 - likewise

    return text(statement)


def by_kind(refs: Collection[ResourceRef], at_once: int) -> Iterator[tuple[str, list[str]]]:
    """A kind and at most so many of its names at a time: what one statement asks for.

    A row value in a list, `(kind, name) IN (…)`, would say the same, but SQLite answers it by reading the whole table.
    """
    names: dict[str, list[str]] = {}
    for kind, name in sorted(refs):
        names.setdefault(kind, []).append(name)
    for kind, all_of_kind in names.items():
        for start in range(0, len(all_of_kind), at_once):
            yield kind, all_of_kind[start : start + at_once]


def listed(name: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """`:name_0, :name_1 …` for an `IN (…)`, and the values for it. values: at least one.

    Filled up with the last one to a power of two, so that there are few different statements to be prepared and kept.
    """
    length = 1 << (len(values) - 1).bit_length()
    bound = {f"{name}_{place}": values[min(place, len(values) - 1)] for place in range(length)}
    return ", ".join(f":{one}" for one in bound), bound
