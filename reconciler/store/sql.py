"""The SQLAlchemy half of a `Database`: its engine, what its errors mean, its upserts. Imported with the first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from reconciler.errors import DatabaseError

_NEGLIGIBLE = 0.01


class SqlEngine:
    """Connections to a database through SQLAlchemy. Raises DatabaseError for a URL of no use."""

    def __init__(self, url: str, busy_timeout: float) -> None:
        self.engine = _make_engine(url, busy_timeout)
        self.busy_timeout = busy_timeout

    @property
    def path(self) -> str:
        """The SQLite file, or the URL without its password."""
        return self.engine.url.database or self.engine.url.render_as_string()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite, so that the path is a file."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection; what the driver raises becomes a DatabaseError that names the database."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except OperationalError as error:
            if "locked" in str(error.orig) or "busy" in str(error.orig):
                raise locked(self.path, self.busy_timeout) from error
            raise DatabaseError("DatabaseError", f"{self.path}: {error.orig}") from error
        except DBAPIError as error:
            raise DatabaseError("DatabaseError", f"{self.path}: {error.orig}") from error

    @contextmanager
    def writing(self, patience: float) -> Iterator[Connection]:
        """A write transaction. patience: seconds that it may wait for other processes."""
        with self.connection() as connection:
            immediate = connection.execution_options(immediate=True, patience=patience)
            with immediate.begin():
                yield immediate

    def upsert(
        self,
        connection: Connection,
        table: Table,
        key: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        keep: Sequence[str],
    ) -> None:
        """See `Database.upsert_many`."""
        changed = [name for name in rows[0] if name not in key and name not in keep]
        if self.is_sqlite:
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


def locked(path: str, busy_timeout: float) -> DatabaseError:
    """What whoever waited too long is told."""
    message = f"the write lock of {path} was not free within {busy_timeout:g} s; nothing was written"
    return DatabaseError("DatabaseLocked", message)


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
