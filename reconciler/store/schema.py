"""Bring a database to the newest schema, forward only. Called by whoever opens one, before anything else.

The engine's migrations and each kind's form branches of their own; a file's name is its revision's id, numbered within
its branch, so that "is it at head?" is answered by listing folders; Alembic is imported only when it is not.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from reconciler.errors import DatabaseError
from reconciler.store.database import BUSY_TIMEOUT, Database
from reconciler.store.reading import has_table, rows
from reconciler.store.takeover import check_unused, is_in_wal_mode

MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(url: str, kind_folders: Sequence[Path] = (), busy_timeout: float = BUSY_TIMEOUT) -> Database:
    """The database at `url`, migrated to head: the engine's branch and that of every kind folder with `migrations/`.

    The file is copied beside itself before a migration. Raises DatabaseError for a newer or damaged one, and for that
    of another program.
    """
    database = Database(url, busy_timeout)
    try:
        folders = version_folders(kind_folders)
        wanted = heads(folders)
        if database.file is not None and not is_in_wal_mode(database.file):
            check_unused(database.file, folders)
            with database.read():  # which turns it to that mode, so that nobody who reads is in a writer's way
                pass
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
    if database.file is not None and not os.path.exists(database.file):  # noqa: PTH110 - which raises where it may not look
        with database.read():  # which makes it
            return frozenset()
    with database.reading() as connection:
        if not has_table(connection, "alembic_version"):
            return frozenset()
        return frozenset(row["version_num"] for row in rows(connection, "SELECT version_num FROM alembic_version"))


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
    if database.file is not None and (stored or check_unused(database.file, folders)):
        _keep_a_copy(database.file, stored)
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


def _keep_a_copy(file: Path, stored: frozenset[str]) -> None:
    """Copy a file that has content, with SQLite's own backup so that the copy is whole."""
    copy = Path(f"{file}.before-{'-'.join(sorted(stored)) or 'takeover'}")
    if copy.exists():
        return
    part = Path(f"{copy}.part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    part.chmod(0o600)
    part.rename(copy)


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Two processes that start at once must not both migrate."""
    if database.file is None:
        yield
        return
    with Path(f"{database.path}.migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
