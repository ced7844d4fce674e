"""Bring a database to the newest schema, forward only. Called by whoever opens one, before anything else.

The engine's migrations and each kind's form branches of their own; a file's name is its revision's id, numbered within
its branch, so that "is it at head?" is answered by listing folders; Alembic is imported only when it is not.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import inspect, text

from reconciler.errors import DatabaseError
from reconciler.store.database import BUSY_TIMEOUT, Database

MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(url: str, kind_folders: Sequence[Path] = (), busy_timeout: float = BUSY_TIMEOUT) -> Database:
    """The database at `url`, migrated to head: the engine's branch and that of every kind folder with `migrations/`.

    The file is copied beside itself before a migration. Raises DatabaseError for a newer or damaged one.
    """
    database = Database(url, busy_timeout)
    try:
        folders = version_folders(kind_folders)
        wanted = heads(folders)
        if _stored(database) != wanted:
            with _alone(database):
                _migrate(database, folders, wanted)
    except BaseException:
        database.close()
        raise
    return database


def version_folders(kind_folders: Sequence[Path]) -> list[Path]:
    """Where the migrations of the engine and of these kinds are."""
    own = [folder / "migrations" for folder in kind_folders if (folder / "migrations").is_dir()]
    return [MIGRATIONS / "versions", *own]


def heads(folders: Sequence[Path]) -> frozenset[str]:
    """The newest revision of every branch: the last file by name of each folder."""
    found = (sorted(path.stem for path in folder.glob("*_[0-9][0-9][0-9][0-9].py")) for folder in folders)
    return frozenset(names[-1] for names in found if names)


def _stored(database: Database) -> frozenset[str]:
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return frozenset()
        return frozenset(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


def _migrate(database: Database, folders: Sequence[Path], wanted: frozenset[str]) -> None:
    from alembic import command  # noqa: PLC0415 - 0.15 s that only a migration needs
    from alembic.config import Config  # noqa: PLC0415

    stored = _stored(database)
    if stored == wanted:
        return
    unknown = stored - {path.stem for folder in folders for path in folder.glob("*.py")}
    if unknown:
        message = (
            f"{database.path} is at {', '.join(sorted(unknown))}, which this version does not know: install a newer one"
        )
        raise DatabaseError("NewerSchema", message)
    _keep_a_copy(database, stored)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(folder) for folder in folders))
    try:
        with database.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "heads")
    except DatabaseError:
        raise
    except Exception as error:  # a migration is a program, a kind's too
        message = f"{database.path} could not be migrated and is as it was: {error}"
        raise DatabaseError("MigrationFailed", message) from error


def _keep_a_copy(database: Database, stored: frozenset[str]) -> None:
    """Copy a file that has content, with SQLite's own backup so that the copy is whole."""
    if database.engine.dialect.name != "sqlite" or not stored:
        return
    copy = Path(f"{database.path}.before-{'-'.join(sorted(stored))}")
    if copy.exists():
        return
    with sqlite3.connect(database.path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    copy.chmod(0o600)


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Two processes that start at once must not both migrate."""
    if database.engine.dialect.name != "sqlite":
        yield
        return
    with Path(f"{database.path}.migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
