"""Migrations: what they make is what the tables say, forward only, with a copy, by one process at a time."""

from __future__ import annotations

import importlib
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from entry_kind.tables import metadata as entry_metadata
from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateIndex, CreateTable

from reconciler.errors import DatabaseError
from reconciler.kinds import discover
from reconciler.store.database import Database
from reconciler.store.schema import MIGRATIONS, heads, open_database, version_folders
from reconciler.store.tables import metadata

OPENER = """
import sys
from pathlib import Path
from reconciler.store.schema import open_database
sys.stdin.readline()
open_database(f"sqlite:///{sys.argv[1]}", [Path(sys.argv[2])]).close()
"""
BROKEN = """
import sqlalchemy as sa
from alembic import op
revision = "broken_0001"
down_revision = None
branch_labels = ("broken",)
depends_on = None
def upgrade():
    op.create_table("half", sa.Column("a", sa.Integer))
    raise RuntimeError("a mistake in a migration")
"""


@pytest.fixture
def kind_folders() -> list[Path]:
    return [package.folder for package in discover(["entry_kind"]).packages.values()]


@pytest.fixture
def entry_folder() -> Path:
    return discover(["entry_kind"]).packages["Entry"].folder


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'made.db'}"


@pytest.fixture
def opened(url: str, kind_folders: list[Path]) -> Iterator[Database]:
    database = open_database(url, kind_folders)
    yield database
    database.close()


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def versions(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")}


def all_tables() -> MetaData:
    """The engine's tables and those of every kind."""
    together = MetaData(naming_convention=metadata.naming_convention)
    packages = discover(["entry_kind"]).packages.values()
    modules = [importlib.import_module(f"{one.module}.tables") for one in packages if one.has_tables]
    for source in (metadata, *(module.metadata for module in modules)):
        for table in source.tables.values():
            if table.name not in together.tables:
                table.to_metadata(together)
    return together


def test_the_migrated_schema_is_what_the_tables_say(opened: Database) -> None:
    with opened.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, all_tables()) == []


def test_the_heads_by_file_name_are_those_of_alembic(kind_folders: list[Path]) -> None:
    folders = version_folders(kind_folders)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(str, folders)))
    scripts = ScriptDirectory.from_config(config)
    assert heads(folders) == frozenset(scripts.get_heads())
    for script in scripts.walk_revisions():
        assert Path(script.path).stem == script.revision, "the file's name is the revision's id"


def test_a_store_at_head_is_opened_without_alembic(url: str, opened: Database, kind_folders: list[Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from reconciler.store.schema import open_database;"
        "open_database(sys.argv[1], [Path(one) for one in sys.argv[2:]]).close();"
        "sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, url, *map(str, kind_folders)], check=True)


def test_a_kind_added_later_migrates_alone_and_a_copy_is_kept_before(tmp_path: Path, entry_folder: Path) -> None:
    path = tmp_path / "made.db"
    open_database(f"sqlite:///{path}").close()
    assert not (tables(path) & entry_metadata.tables.keys())
    assert not list(tmp_path.glob("*.before-*")), "there was nothing to keep"
    open_database(f"sqlite:///{path}", [entry_folder]).close()
    assert tables(path) >= entry_metadata.tables.keys()
    (copy,) = tmp_path.glob("made.db.before-*")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not (tables(copy) & entry_metadata.tables.keys())
    assert versions(copy) < versions(path)


def test_a_newer_store_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "made.db"
    open_database(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'core_9999'")
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="core_9999") as caught:
        open_database(f"sqlite:///{path}")
    assert caught.value.reason == "NewerSchema"
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "made.db"
    open_database(f"sqlite:///{path}").close()
    before = versions(path)
    kind = tmp_path / "kind"
    (kind / "migrations").mkdir(parents=True)
    (kind / "migrations" / "broken_0001.py").write_text(BROKEN)
    with pytest.raises(DatabaseError, match="a mistake in a migration"):
        open_database(f"sqlite:///{path}", [kind])
    assert "half" not in tables(path)
    assert versions(path) == before
    open_database(f"sqlite:///{path}").close()


def test_many_processes_open_a_fresh_store_at_once(tmp_path: Path, entry_folder: Path) -> None:
    for turn in range(2):
        path = tmp_path / f"{turn}.db"
        command = [sys.executable, "-c", OPENER, str(path), str(entry_folder)]
        openers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(5)
        ]
        for opener in openers:
            assert opener.stdin is not None
            opener.stdin.write("go\n")
            opener.stdin.flush()
        assert [opener.communicate()[1] for opener in openers] == [""] * 5
        assert tables(path) >= set(metadata.tables) | set(entry_metadata.tables)


def test_what_is_no_store_is_a_database_error(tmp_path: Path) -> None:
    path = tmp_path / "made.db"
    path.write_bytes(b"nothing of the sort" * 500)
    with pytest.raises(DatabaseError, match=r"made\.db"):
        open_database(f"sqlite:///{path}")


def test_the_same_schema_fits_mariadb() -> None:
    """No unbounded or too long key, no partial or expression index; every statement can be said in its dialect."""
    dialect = mysql.dialect()  # type: ignore[no-untyped-call]
    for table in all_tables().sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect))
            assert index.dialect_options["sqlite"]["where"] is None
            assert all(isinstance(one, Column) for one in index.expressions)
        unique = [one for one in table.constraints if isinstance(one, UniqueConstraint | PrimaryKeyConstraint)]
        for columns in [*(index.columns for index in table.indexes), *(one.columns for one in unique)]:
            lengths = [column.type.length for column in columns if isinstance(column.type, String)]
            assert all(lengths), f"an unbounded key in {table.name}"
            assert sum(4 * length for length in lengths if length) <= 3072, f"a too long key in {table.name}"


def test_a_file_that_was_put_back_without_its_log_is_turned_to_it_again(database_file: Path) -> None:
    """`VACUUM INTO` gives a file in another mode, in which who reads is in the way of who writes."""
    copy = database_file.with_name("copy.db")
    with closing(sqlite3.connect(database_file)) as connection:
        connection.execute(f"VACUUM INTO '{copy}'")
    opened = open_database(
        f"sqlite:///{copy}", [package.folder for package in discover(["entry_kind"]).packages.values()]
    )
    opened.close()
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
