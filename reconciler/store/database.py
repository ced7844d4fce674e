"""One database: connections, transactions, the clock, upserts. Everything in `store` goes through it.

SQLite runs in WAL mode: readers never wait, writers take the write lock at BEGIN IMMEDIATE and wait for it at most
`busy_timeout`. A thread lock in front of it makes the writers of one process queue instead of polling each other out;
what a writer waited there is taken off what it may wait for other processes. There is one store: an address that is of
no use is an error, and nothing else is opened in its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.store.reading import FileConnection, FileReaders

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

    from reconciler.store.sql import SqlEngine

BUSY_TIMEOUT = 30.0
"""Seconds that a writer waits for the others, unless the settings say otherwise."""


class Database:
    """A database that is open and at the newest schema. Safe to share between threads.

    url: an SQLAlchemy URL; DatabaseError when none can be opened there by its looks. busy_timeout: seconds that a
    writer waits for the others, threads and processes together.
    """

    def __init__(self, url: str, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.url = url
        self.busy_timeout = busy_timeout
        self._writer = threading.Lock()
        self._writing = 0
        self._moment: float | None = None
        self._opening = threading.Lock()
        self._sql: SqlEngine | None = None
        plain = _plain_file(url)
        self._readers = FileReaders(plain, busy_timeout) if plain is not None else None
        self.file = plain or self._file_by_its_url()

    @classmethod
    def at(cls, path: Path, busy_timeout: float = BUSY_TIMEOUT) -> Database:
        """The SQLite file at `path`."""
        return cls(f"sqlite:///{path}", busy_timeout)

    @property
    def sql(self) -> SqlEngine:
        """Its SQLAlchemy half, made when it is first used."""
        if self._sql is None:
            from reconciler.store.sql import SqlEngine  # noqa: PLC0415 - a dry run needs no sqlalchemy, which costs 0.2 s

            with self._opening:
                self._sql = self._sql or SqlEngine(self.url, self.busy_timeout)
        return self._sql

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's own."""
        return self.sql.engine

    @property
    def path(self) -> str:
        """The SQLite file, or the URL without its password."""
        return str(self.file) if self.file is not None else self.sql.path

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent state and writes nothing."""
        with self.sql.connection() as connection:
            yield connection
            connection.rollback()

    @contextmanager
    def reading(self) -> Iterator[FileConnection | Connection]:
        """Like `read`, for what asks in plain SQL (`store.reading`): SQLAlchemy is not needed for a plain file."""
        if self._readers is None:
            with self.read() as connection:
                yield connection
        else:
            with self._readers.reading() as reader:
                yield reader

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction: all of it is stored at the end of the block, or nothing of it."""
        if self._writing == threading.get_ident():
            raise RuntimeError(
                "a write transaction inside a write transaction of the same thread would wait for itself"
            )
        began = time.monotonic()
        if not self._writer.acquire(timeout=self.busy_timeout):
            from reconciler.store.sql import locked  # noqa: PLC0415 - whoever holds the lock has loaded it

            raise locked(self.path, self.busy_timeout)
        self._writing, self._moment = threading.get_ident(), None
        left = max(0.0, self.busy_timeout - (time.monotonic() - began))
        try:
            with self.sql.writing(left) as connection:
                yield connection
        finally:
            self._writing = 0
            self._writer.release()

    def now(self, connection: Connection) -> float:
        """Seconds since the epoch by the database's clock, the one clock that all processes share.

        All of a write transaction happens in one moment.
        """
        from reconciler.store.clock import now_of  # noqa: PLC0415 - whoever made the connection has loaded sqlalchemy

        if self._writing != threading.get_ident():
            return now_of(connection)
        if self._moment is None:
            self._moment = now_of(connection)
        return self._moment

    def upsert(self, connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Insert `key` + `values`, or change just `values` of the row with this unique key: nothing else is touched."""
        self.upsert_many(connection, table, tuple(key), [{**key, **values}])

    def upsert_many(
        self,
        connection: Connection,
        table: Table,
        key: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        keep: Sequence[str] = (),
    ) -> None:
        """`upsert` for many rows with the same columns, in one statement executed many times.

        keep: columns that are set in a new row and left alone in one that is there.
        """
        if rows:
            self.sql.upsert(connection, table, key, rows, keep)

    def close(self) -> None:
        """Give every connection back."""
        if self._readers is not None:
            self._readers.close()
        if self._sql is not None:
            self._sql.engine.dispose()

    def _file_by_its_url(self) -> Path | None:
        return Path(self.sql.path) if self.sql.is_sqlite else None


def _plain_file(url: str) -> Path | None:
    """The file of `sqlite:///FILE`; None for an address that says more or is quoted, for which SQLAlchemy is asked."""
    scheme, _, path = url.partition(":///")
    is_plain = scheme == "sqlite" and path and not path.startswith((":memory:", "file:")) and not {"?", "%"} & set(path)
    return Path(path) if is_plain else None
