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
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from reconciler.errors import DatabaseError
from reconciler.store.clock import now_of

BUSY_TIMEOUT = 30.0
"""Seconds that a writer waits for the others, unless the settings say otherwise."""
_NEGLIGIBLE = 0.01


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
        self.engine = _make_engine(url, busy_timeout)

    @classmethod
    def at(cls, path: Path, busy_timeout: float = BUSY_TIMEOUT) -> Database:
        """The SQLite file at `path`."""
        return cls(f"sqlite:///{path}", busy_timeout)

    @property
    def path(self) -> str:
        """The SQLite file, or the URL without its password."""
        return self.engine.url.database or self.engine.url.render_as_string()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent state and writes nothing."""
        with self._errors(), self.engine.connect() as connection:
            yield connection
            connection.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction: all of it is stored at the end of the block, or nothing of it."""
        if self._writing == threading.get_ident():
            raise RuntimeError(
                "a write transaction inside a write transaction of the same thread would wait for itself"
            )
        began = time.monotonic()
        if not self._writer.acquire(timeout=self.busy_timeout):
            raise self._locked()
        self._writing, self._moment = threading.get_ident(), None
        left = max(0.0, self.busy_timeout - (time.monotonic() - began))
        try:
            with self._errors(), self.engine.connect() as connection:
                immediate = connection.execution_options(immediate=True, patience=left)
                with immediate.begin():
                    yield immediate
        finally:
            self._writing = 0
            self._writer.release()

    def now(self, connection: Connection) -> float:
        """Seconds since the epoch by the database's clock, the one clock that all processes share.

        All of a write transaction happens in one moment.
        """
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
        if not rows:
            return
        changed = [name for name in rows[0] if name not in key and name not in keep]
        if self.engine.dialect.name == "sqlite":
            from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415 - the dialect's own

            statement: Any = insert(table)
            columns = {name: statement.excluded[name] for name in changed}
            if changed:
                statement = statement.on_conflict_do_update(index_elements=list(key), set_=columns)
            else:
                statement = statement.on_conflict_do_nothing(index_elements=list(key))
        else:
            from sqlalchemy.dialects.mysql import insert as mysql_insert  # noqa: PLC0415 - costs 30 ms

            statement = mysql_insert(table)
            columns = {name: statement.inserted[name] for name in changed or key[:1]}
            statement = statement.on_duplicate_key_update(columns)
        connection.execute(statement, [dict(row) for row in rows])

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            if "locked" in str(error.orig) or "busy" in str(error.orig):
                raise self._locked() from error
            raise DatabaseError("DatabaseError", f"{self.path}: {error.orig}") from error
        except DBAPIError as error:
            raise DatabaseError("DatabaseError", f"{self.path}: {error.orig}") from error

    def _locked(self) -> DatabaseError:
        wait = f"{self.busy_timeout:g} s"
        return DatabaseError(
            "DatabaseLocked", f"the write lock of {self.path} was not free within {wait}; nothing was written"
        )


def _checked(url: str) -> URL:
    """The parsed URL of a store that we know how to keep. Raises DatabaseError, which quotes no password."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseError(
            "BadDatabaseUrl", "dbUrl is no URL of a database, such as sqlite:////folder/file"
        ) from error
    shown, name = parsed.render_as_string(), parsed.get_backend_name()
    if name not in ("sqlite", "mysql", "mariadb"):
        raise DatabaseError("BadDatabaseUrl", f"dbUrl {shown}: the store is SQLite, MySQL or MariaDB, never {name}")
    if name == "sqlite" and (parsed.drivername not in ("sqlite", "sqlite+pysqlite") or not _is_in_a_file(parsed)):
        raise DatabaseError("BadDatabaseUrl", f"dbUrl {shown}: a store in SQLite is a file: sqlite:////folder/file")
    return parsed


def _is_in_a_file(url: URL) -> bool:
    return bool(url.database) and url.database != ":memory:" and not str(url.database).startswith("file:")


def _make_engine(url: str, busy_timeout: float) -> Engine:
    parsed = _checked(url)
    if parsed.get_backend_name() != "sqlite":
        try:
            return create_engine(parsed, pool_pre_ping=True, isolation_level="REPEATABLE READ")
        except (ArgumentError, ImportError) as error:
            message = f"dbUrl {parsed.render_as_string()}: its driver is not installed: {error}"
            raise DatabaseError("BadDatabaseUrl", message) from error
    engine = create_engine(
        parsed, connect_args={"timeout": busy_timeout, "isolation_level": None}, pool_size=8, max_overflow=120
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("immediate"):
            _begin_writing(connection, options["patience"], busy_timeout)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: Connection, patience: float, usual: float) -> None:
    """Take the write lock within `patience` seconds; whoever is given the connection next waits as `usual`."""
    if usual - patience < _NEGLIGIBLE:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    driver: Any = connection.connection.dbapi_connection
    driver.execute(f"PRAGMA busy_timeout={int(patience * 1000)}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver.execute(f"PRAGMA busy_timeout={int(usual * 1000)}")
