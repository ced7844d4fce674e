"""What may be in an SQLite file before we first use it: nothing, or tables that a migration says it takes over.

Called by `schema` before a file is opened for work, because opening it already changes it (to WAL mode), and again
before it is migrated. A file of another program, or a damaged one, is refused and stays as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from reconciler.errors import DatabaseError

_HEADER = 100
_MAGIC = b"SQLite format 3\0"
_WRITE_VERSION = 18
_VERSIONS = "alembic_version"

Known = Mapping[str, set[str]]
"""Tables that may be there, with columns by which each is known."""


def check_unused(path: Path, folders: Sequence[Path]) -> bool:
    """Whether a file that we never used has tables to take over. folders: of migrations.

    Raises DatabaseError: `ForeignDatabase` for what another program keeps there, `DamagedDatabase` for what SQLite
    itself does not think whole.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30)) as connection:
            there = _tables(connection)
            if not there or _VERSIONS in there:
                return False
            _check_known(path, there, takeovers(folders))
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.Error as error:
        raise DatabaseError("DamagedDatabase", f"{path} cannot be read and is left as it is: {error}") from error
    if found != ["ok"]:
        raise DatabaseError("DamagedDatabase", f"{path} is damaged and left as it is: {'; '.join(found)}")
    return True


def is_in_wal_mode(path: Path) -> bool:
    """Whether an SQLite file is in the mode in which we keep ours; True for what is no SQLite file, or not there."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError:
        return True
    return not header.startswith(_MAGIC) or header[_WRITE_VERSION] != 1


def takeovers(folders: Sequence[Path]) -> Known:
    """What the migrations in these folders take over: their `takes_over`."""
    known: dict[str, set[str]] = {}
    for file in (file for folder in folders for file in sorted(folder.glob("*_[0-9][0-9][0-9][0-9].py"))):
        spec = spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        known |= getattr(module, "takes_over", {})
    return known


def _tables(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """The columns of every table of somebody's."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
    )
    columns = "SELECT name FROM pragma_table_info(?)"
    return {name: {row[0] for row in connection.execute(columns, (name,))} for (name,) in names.fetchall()}


def _check_known(path: Path, there: Mapping[str, set[str]], known: Known) -> None:
    strange = sorted(name for name, columns in there.items() if not (name in known and known[name] <= columns))
    if strange:
        more = " …" if len(strange) > 5 else ""
        message = f"{path} belongs to another program (it has {', '.join(strange[:5])}{more}) and is left as it is"
        raise DatabaseError("ForeignDatabase", message)
