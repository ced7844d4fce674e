"""Opening a file that is not ours yet: the predecessor's is taken over with its rows, any other stays as it is."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import DatabaseError
from reconciler.kinds import discover
from reconciler.store.schema import open_database
from reconciler.store.takeover import is_in_wal_mode
from tests.clusters.kindler import COLUMNS, ROWS, SCHEMA, write_database

NOVEMBER_6 = 1762428153.0
"""2025-11-06 11:22:33 UTC."""


def rows(path: Path, sql: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


def open_store(path: Path) -> None:
    folders = [package.folder for package in discover().packages.values()]
    open_database(f"sqlite:///{path}", folders).close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kindler.db"


def test_a_predecessors_file_keeps_its_rows(file: Path) -> None:
    write_database(file)
    before = {row["name"]: row for row in rows(file, "SELECT * FROM clusters")}
    open_store(file)
    after = {row["name"]: row for row in rows(file, "SELECT * FROM clusters")}
    same = COLUMNS - {"created_at", "updated_at", "last_reconciled_at", "actual_state", "status"}
    assert {name: {column: row[column] for column in same} for name, row in after.items()} == {
        name: {column: row[column] for column in same} for name, row in before.items()
    }
    assert after["dev"]["created_at"] == NOVEMBER_6
    assert after["dev"]["last_reconciled_at"] is None
    assert after["devops"]["last_reconciled_at"] == 1762765200.0
    assert [after[name]["actual_state"] for name in ("dev", "dev-a", "gone")] == ["running", "failed", "unknown"]
    assert {name: row["role"] for name, row in after.items() if row["role"] != "business"} == {"devops": "management"}
    assert {row["desired_by"] for row in after.values()} == {"row"}


def test_its_other_tables_and_indexes_stay(file: Path) -> None:
    write_database(file)
    operations = rows(file, "SELECT * FROM operations")
    open_store(file)
    assert rows(file, "SELECT * FROM operations") == operations
    assert rows(file, "SELECT name FROM sqlite_master WHERE name = 'idx_clusters_name'")
    assert rows(file, "PRAGMA foreign_key_check") == []
    assert rows(file, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_a_copy_is_kept_and_opens_as_before(file: Path) -> None:
    write_database(file)
    open_store(file)
    copy = Path(f"{file}.before-takeover")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert rows(copy, "SELECT created_at FROM clusters WHERE name = 'dev'") == [{"created_at": "2025-11-06 11:22:33"}]
    assert {row["name"] for row in rows(copy, "PRAGMA table_info(clusters)")} == COLUMNS


def test_an_older_file_that_lacks_columns_gets_them(file: Path) -> None:
    write_database(file, SCHEMA.replace(" server_ip TEXT,", "").replace(" subnet TEXT,", ""))
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "INSERT INTO clusters (name, provider, status, actual_state) VALUES ('a', 'k3d', NULL, NULL)"
        )
    open_store(file)
    assert {row["name"] for row in rows(file, "PRAGMA table_info(clusters)")} >= COLUMNS
    assert rows(file, "SELECT name, status, actual_state, subnet FROM clusters") == [
        {"name": "a", "status": "unknown", "actual_state": "unknown", "subnet": None}
    ]


STRANGE: dict[str, tuple[str, str]] = {
    "of another program": ("CREATE TABLE songs (id INTEGER); CREATE TABLE artists (id INTEGER)", "artists, songs"),
    "that has a table of the same name": ("CREATE TABLE clusters (id INTEGER, genome TEXT)", "clusters"),
    "the predecessor's, with something else in it": (SCHEMA + "CREATE TABLE songs (id INTEGER)", "songs"),
}


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("case", STRANGE.values(), ids=STRANGE.keys())
def test_a_file_of_another_program_is_left_as_it_is(file: Path, case: tuple[str, str], mode: str) -> None:
    script, named = case
    write_database(file, f"PRAGMA journal_mode={mode};{script}")
    before = file.read_bytes()
    with pytest.raises(DatabaseError, match=f"belongs to another program .it has {named}.") as caught:
        open_store(file)
    assert caught.value.reason == "ForeignDatabase"
    assert file.read_bytes() == before
    assert not list(file.parent.glob("*.before-*"))


def test_a_damaged_file_is_left_as_it_is(file: Path) -> None:
    write_database(file, SCHEMA + ROWS + "CREATE INDEX wide ON clusters(provider, name);")
    content = bytearray(file.read_bytes())
    page = 4096
    content[page : page + 200] = b"\xff" * 200
    file.write_bytes(content)
    with pytest.raises(DatabaseError, match="left as it is") as caught:
        open_store(file)
    assert caught.value.reason == "DamagedDatabase"
    assert file.read_bytes() == bytes(content)


def test_a_cut_off_file_is_left_as_it_is(file: Path) -> None:
    write_database(file)
    content = file.read_bytes()[:5000]
    file.write_bytes(content)
    with pytest.raises(DatabaseError, match=r"kindler\.db"):
        open_store(file)
    assert file.read_bytes() == content


def test_an_empty_database_of_nobody_is_taken(file: Path) -> None:
    write_database(file, "CREATE TABLE a (b); DROP TABLE a;")
    open_store(file)
    assert rows(file, "SELECT count(*) AS n FROM clusters") == [{"n": 0}]


def test_what_is_no_file_needs_no_look(tmp_path: Path) -> None:
    assert is_in_wal_mode(tmp_path / "missing.db")
    assert is_in_wal_mode(tmp_path)
