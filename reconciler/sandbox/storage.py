"""The sandbox's SQLite file: clusters and their objects. Called by `state` (objects) and `service` (clusters).

Used from one thread. A method returns after its transaction has been committed; WAL mode makes a killed process lose
nothing that was answered.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from reconciler.errors import DatabaseError
from reconciler.sandbox.resource_types import Key

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE clusters (
    name TEXT PRIMARY KEY,
    uid TEXT NOT NULL,
    version TEXT NOT NULL,
    port INTEGER NOT NULL,
    token TEXT NOT NULL,
    servers INTEGER NOT NULL,
    agents INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_at TEXT NOT NULL,
    revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE objects (
    cluster TEXT NOT NULL REFERENCES clusters (name) ON DELETE CASCADE,
    resource TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (cluster, resource, namespace, name)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One cluster as it is kept. uid: of its kube-system namespace. revision: the highest resourceVersion given out."""

    name: str
    uid: str
    version: str
    port: int
    token: str
    servers: int
    agents: int
    state: str
    created_at: str
    revision: int


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One object as it is kept; body is its JSON."""

    key: Key
    revision: int
    body: bytes


class Storage:
    """An open sandbox.db. DatabaseError when it cannot be opened, read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=30)
            self._prepare()
        except sqlite3.Error as error:
            raise DatabaseError("SandboxDatabase", f"{path} cannot be opened: {error}") from error

    def _prepare(self) -> None:
        self._path.chmod(0o600)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
        elif found != _SCHEMA_VERSION:
            message = f"{self._path} is of schema {found}, this program knows {_SCHEMA_VERSION}"
            raise DatabaseError("SandboxSchema", message)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def clusters(self) -> list[ClusterRow]:
        """Every cluster, by name."""
        rows = self._connection.execute(
            "SELECT name, uid, version, port, token, servers, agents, state, created_at, revision"
            " FROM clusters ORDER BY name"
        )
        return [ClusterRow(*row) for row in rows]

    def save_cluster(self, row: ClusterRow) -> None:
        """Create or change a cluster; the revision of one that exists stays."""
        self._transact(
            [
                (
                    "INSERT INTO clusters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                    " port = excluded.port, servers = excluded.servers, agents = excluded.agents,"
                    " state = excluded.state",
                    [astuple(row)],
                ),
            ]
        )

    def delete_cluster(self, name: str) -> None:
        """Forget a cluster and all its objects."""
        self._transact([("DELETE FROM clusters WHERE name = ?", [(name,)])])

    def objects(self, cluster: str) -> list[ObjectRow]:
        """Every object of a cluster."""
        rows = self._connection.execute(
            "SELECT resource, namespace, name, revision, body FROM objects WHERE cluster = ?", (cluster,)
        )
        return [
            ObjectRow(Key(resource, namespace, name), revision, body)
            for resource, namespace, name, revision, body in rows
        ]

    def commit(self, cluster: str, revision: int, puts: list[ObjectRow], deletes: list[Key]) -> None:
        """Write objects, delete objects and note the cluster's revision, in one transaction."""
        self._transact(
            [
                (_PUT, [_parameters(cluster, one) for one in puts]),
                (
                    "DELETE FROM objects WHERE cluster = ? AND resource = ? AND namespace = ? AND name = ?",
                    [(cluster, *key) for key in deletes],
                ),
                ("UPDATE clusters SET revision = ? WHERE name = ?", [(revision, cluster)]),
            ]
        )

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes as one: all of them or none."""
        connection = self._connection
        nested = connection.in_transaction
        if nested:
            yield
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise DatabaseError("SandboxDatabase", f"{self._path} could not be written: {error}") from error

    def _transact(self, statements: list[tuple[str, list[tuple[object, ...]]]]) -> None:
        with self.transaction():
            for statement, parameters in statements:
                self._connection.executemany(statement, parameters)


_PUT = (
    "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (cluster, resource, namespace, name)"
    " DO UPDATE SET revision = excluded.revision, body = excluded.body"
)


def _parameters(cluster: str, row: ObjectRow) -> tuple[object, ...]:
    return (cluster, *row.key, row.revision, row.body)
