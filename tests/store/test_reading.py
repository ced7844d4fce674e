"""Reading in plain SQL: what SQLAlchemy would find, one state however long it takes, and never anything written."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from entry_kind.tables import metadata
from place import wait_for
from sqlalchemy import insert, select

from reconciler.errors import DatabaseError
from reconciler.model.resource import ResourceRef
from reconciler.store import leases, remembered, tables
from reconciler.store.database import Database
from reconciler.store.kind_records import KindRecords
from reconciler.store.kind_rows import KindRows
from reconciler.store.owners import Owner
from reconciler.store.reading import has_table, listed, rows

EVENT = {"type": "normal", "reason": "Noted", "message": "x"}
ENTRIES = {"entries": ["name"]}


def note(database: Database, count: int = 1) -> None:
    with database.write() as connection:
        connection.execute(insert(tables.events), [{**EVENT, "at": 0.0}] * count)


def counted(connection: Any) -> int:
    return int(rows(connection, "SELECT COUNT(*) AS n FROM events")[0]["n"])


def open_files(path: Path) -> int:
    return sum(str(link.resolve()).startswith(str(path)) for link in Path("/proc/self/fd").iterdir())


@pytest.fixture
def through_sqlalchemy(database_file: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{database_file}?timeout=10")) as opened:
        yield opened


def test_every_table_reads_the_same_both_ways(database: Database, through_sqlalchemy: Database) -> None:
    """Numbers, texts of any alphabet, empty ones, and what is not there."""
    lease = leases.acquire(database, "Entry/one", Owner.this_process("test"))
    KindRecords(database, metadata.tables, lease).put("entries", {"name": "ä'\"%:x"}, {"number": 2, "writes": 0})
    with database.write() as connection:
        status = {"kind": "Entry", "name": "one", "message": "\u96c6\u7fa4 ☃", "suspend_until": 1.5, "last_run": 2**40}
        connection.execute(insert(tables.statuses), status)
    for name in (*tables.metadata.tables, "entries"):
        with database.reading() as plain, through_sqlalchemy.reading() as other:
            found = [dict(row) for row in rows(plain, f"SELECT * FROM {name}")]
            assert found == rows(other, f"SELECT * FROM {name}"), name
    for one in (database, through_sqlalchemy):
        assert KindRows(one, ENTRIES).list("entries", name="ä'\"%:x") == [{"name": "ä'\"%:x", "number": 2, "writes": 0}]
        with one.reading() as connection:
            assert [has_table(connection, name) for name in ("entries", "statuses", "nothing")] == [True, True, False]


def test_a_reader_sees_one_state_while_others_write(database: Database) -> None:
    note(database, 3)
    with database.reading() as connection:
        assert counted(connection) == 3
        note(database, 5)
        assert counted(connection) == 3
    with database.reading() as connection:
        assert counted(connection) == 8


def test_nothing_can_be_written_by_reading(database: Database) -> None:
    note(database)
    for statement in ("DELETE FROM events", "CREATE TABLE x (y)", "PRAGMA user_version = 7"):
        with pytest.raises(DatabaseError, match="readonly"), database.reading() as connection:
            rows(connection, statement)
    with database.read() as through:
        assert len(through.execute(select(tables.events)).all()) == 1


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "missing.db")
    with pytest.raises(DatabaseError, match=r"missing\.db"), database.reading():
        pass
    assert list(tmp_path.iterdir()) == []


def text(path: Path) -> None:
    path.write_bytes(b"this is no database at all " * 100)


def half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\x00" * 4096 + content[8192 : len(content) // 2])


def read_it_all(database: Database) -> None:
    with database.reading() as connection:
        for name in tables.metadata.tables:
            rows(connection, f"SELECT * FROM {name}")


@pytest.mark.parametrize("spoil", [text, half])
def test_a_damaged_file_is_an_error_that_names_it(database_file: Path, spoil: Callable[[Path], None]) -> None:
    spoil(database_file)
    with closing(Database.at(database_file)) as database:
        with pytest.raises(DatabaseError) as caught:
            read_it_all(database)
        assert str(database_file) in caught.value.message


def test_a_path_with_strange_letters_is_opened_as_it_is(database_file: Path) -> None:
    strange = database_file.with_name("100% ä #1.db")
    database_file.rename(strange)
    with closing(Database.at(strange)) as database:
        note(database)
        with database.reading() as connection:
            assert counted(connection) == 1
        assert Path(database.path) == strange


@pytest.mark.parametrize("written", ["my%20state", "my state"])
def test_both_ways_read_the_same_file_however_its_address_is_written(database_file: Path, written: str) -> None:
    """SQLAlchemy takes `%20` for a blank."""
    folder = database_file.parent / "my state"
    folder.mkdir()
    database_file.rename(folder / "r.db")
    with closing(Database(f"sqlite:///{database_file.parent}/{written}/r.db")) as database:
        note(database)
        with database.reading() as connection:
            assert counted(connection) == 1
        assert database.file == folder / "r.db"
    assert [path.name for path in database_file.parent.iterdir()] == ["my state"]


def test_a_read_that_waits_too_long_for_a_lock_says_so(database_file: Path) -> None:
    database = Database.at(database_file, busy_timeout=0.2)
    with closing(sqlite3.connect(database_file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM events")
        with pytest.raises(DatabaseError, match=r"0\.2 s") as caught, database.reading() as connection:
            counted(connection)
    assert caught.value.reason == "DatabaseLocked"
    database.close()


@pytest.mark.parametrize("count", [1, 2, 3, 512, 513, 40_000])
def test_long_lists_are_filled_up_and_split(database: Database, count: int) -> None:
    """Few different statements, however many different lists there are; and nobody is found who was not asked for."""
    refs = [ResourceRef("Entry", f"n{number}") for number in range(count)]
    with database.write() as connection:
        values = {"kind": "Entry", "labels": "{}", "lifecycle": "{}", "spec": "{}", "digest": "", "generation": 1}
        times = {"created_at": 0.0, "updated_at": 0.0}
        named = [{**values, **times, "name": f"n{number}", "owner": str(number)} for number in range(count + 1)]
        connection.execute(insert(tables.resources), named)
    with database.reading() as connection:
        found = remembered.owners_of(connection, refs)
    assert found == {ref: str(number) for number, ref in enumerate(refs)}
    lengths = {len(listed("name", refs[:size])[1]) for size in range(1, min(count, 512) + 1)}
    assert len(lengths) <= 10


def test_threads_read_beside_each_other_and_all_is_closed_at_the_end(database_file: Path) -> None:
    database = Database.at(database_file)
    found: list[int] = []
    together = threading.Barrier(20)

    def read() -> None:
        with database.reading() as connection:
            together.wait(30)
            found.append(counted(connection))

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0] * 20
    assert open_files(database_file) > 0, "some are kept for who comes next"
    database.close()
    wait_for(lambda: open_files(database_file) == 0)


def test_a_connection_that_is_given_back_after_the_end_is_closed(database_file: Path) -> None:
    """A look that hung comes back when everything is over."""
    database = Database.at(database_file)
    with database.reading() as connection:
        assert counted(connection) == 0
        database.close()
        assert open_files(database_file) > 0
    assert open_files(database_file) == 0


MISREAD: dict[str, Callable[[KindRows], Any]] = {
    "a table of nobody": lambda records: records.list("clusters"),
    "a table of the engine": lambda records: records.list("resources"),
    "a column that is not there": lambda records: records.list("entries", nmae="a"),
    "a column that is not there, empty": lambda records: records.list("entries", nmae=None),
    "a name that says more": lambda records: records.list("entries", **{'name" = 1 OR "name': "a"}),
}


@pytest.mark.parametrize("case", MISREAD)
def test_what_a_kind_does_not_have_it_cannot_read(database: Database, through_sqlalchemy: Database, case: str) -> None:
    for one in (database, through_sqlalchemy):
        with pytest.raises(Exception, match=r"no such column|declares no table") as caught:
            MISREAD[case](KindRows(one, ENTRIES))
        assert type(caught.value).__name__ in ("DatabaseError", "TerminalError"), caught.value


WRITES: list[Callable[[KindRows], Any]] = [
    lambda records: records.put("entries", {"name": "a"}, {"number": 1, "writes": 0}),
    lambda records: records.delete("entries", name="a"),
    lambda records: records.allocate("entries", "number", [1]),
    lambda records: records.transaction(),
]


@pytest.mark.parametrize("write", WRITES, ids=["put", "delete", "allocate", "transaction"])
def test_rows_to_read_cannot_be_written(database: Database, write: Callable[[KindRows], Any]) -> None:
    with pytest.raises(Exception, match="may not write") as caught:
        write(KindRows(database, ENTRIES))
    assert caught.value.reason == "ReadOnly"  # type: ignore[attr-defined] # a ReconcilerError
