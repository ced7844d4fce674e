"""A kind's own tables: bound to the lease, whole transactions, and no number given twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from entry_kind.tables import metadata
from place import PLUGINS
from sqlalchemy import update

from reconciler.errors import LeaseLostError, TerminalError
from reconciler.store import leases
from reconciler.store.database import Database
from reconciler.store.kind_records import KindRecords
from reconciler.store.leases import Lease
from reconciler.store.owners import Owner
from reconciler.store.tables import leases as leases_table

ALLOCATOR = """
import sys
from pathlib import Path
from entry_kind.tables import metadata
from reconciler.store import leases
from reconciler.store.database import Database
from reconciler.store.kind_records import KindRecords
from reconciler.store.owners import Owner
database = Database.at(Path(sys.argv[1]))
name = sys.argv[2]
lease = leases.acquire(database, f"Entry/{name}", Owner.this_process("allocating"))
sys.stdin.readline()
with KindRecords(database, metadata.tables, lease).transaction() as records:
    number = records.allocate("entries", "number", range(1, 100))
    records.put("entries", {"name": name}, {"number": number, "writes": 0})
"""


@pytest.fixture(params=["", "?timeout=10"], ids=["plain", "sqlalchemy"])
def database(request: pytest.FixtureRequest, database_file: Path) -> Iterator[Database]:
    """Read through the driver, and read through SQLAlchemy, as every store is that is no plain file."""
    opened = Database(f"sqlite:///{database_file}{request.param}")
    yield opened
    opened.close()


@pytest.fixture
def lease(database: Database) -> Lease:
    return leases.acquire(database, "Entry/one", Owner.this_process("test"))


@pytest.fixture
def records(database: Database, lease: Lease) -> KindRecords:
    return KindRecords(database, metadata.tables, lease)


def test_a_row_is_put_changed_and_deleted(records: KindRecords) -> None:
    records.put("entries", {"name": "b"}, {"number": 2, "writes": 0})
    records.put("entries", {"name": "a"}, {"number": 1, "writes": 0})
    records.put("entries", {"name": "b"}, {"writes": 5, "number": 2})
    assert records.get("entries", name="b") == {"name": "b", "number": 2, "writes": 5}
    assert [row["name"] for row in records.list("entries")] == ["a", "b"]
    assert [row["name"] for row in records.list("entries", writes=0)] == ["a"]
    records.delete("entries", name="b")
    assert records.get("entries", name="b") is None


def test_a_transaction_is_stored_whole_or_not_at_all(records: KindRecords) -> None:
    def half() -> None:
        with records.transaction() as inner:
            inner.put("entries", {"name": "a"}, {"number": 1, "writes": 0})
            assert inner.get("entries", name="a") is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert records.list("entries") == []


def test_a_transaction_inside_a_transaction_is_the_same_one(records: KindRecords) -> None:
    with records.transaction() as outer, outer.transaction() as inner:
        inner.put("entries", {"name": "a"}, {"number": 1, "writes": 0})
        assert outer.get("entries", name="a") is not None


def test_the_first_free_candidate_is_allocated(records: KindRecords) -> None:
    for name in ("a", "b"):
        with records.transaction() as inner:
            number = inner.allocate("entries", "number", range(5, 10))
            inner.put("entries", {"name": name}, {"number": number, "writes": 0})
    assert [row["number"] for row in records.list("entries")] == [5, 6]
    with records.transaction() as inner:
        assert inner.allocate("entries", "number", range(5, 10), name="a") == 6, "free as far as `a` is concerned"


def test_when_nothing_is_left_that_is_said(records: KindRecords) -> None:
    records.put("entries", {"name": "a"}, {"number": 5, "writes": 0})
    with records.transaction() as inner, pytest.raises(TerminalError) as caught:
        inner.allocate("entries", "number", [5])
    assert caught.value.reason == "Exhausted"


def test_twenty_processes_never_get_the_same_number(database_file: Path, database: Database) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ALLOCATOR, str(database_file), f"n{number}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(PLUGINS)},
        )
        for number in range(20)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in processes] == [""] * 20
    rows = KindRecords(database, metadata.tables, None).list("entries")
    assert sorted(row["number"] for row in rows) == list(range(1, 21))


def test_nothing_is_written_after_the_lease_was_lost(database: Database, records: KindRecords) -> None:
    with database.write() as connection:
        connection.execute(update(leases_table).values(epoch=9))
    writes: list[Callable[[], object]] = [
        lambda: records.put("entries", {"name": "a"}, {"number": 1, "writes": 0}),
        lambda: records.delete("entries", name="a"),
        lambda: records.transaction().__enter__(),
    ]
    for write in writes:
        with pytest.raises(LeaseLostError):
            write()
    assert records.list("entries") == []


def test_who_only_looks_cannot_write(database: Database) -> None:
    reading = KindRecords(database, metadata.tables, None)
    assert reading.list("entries") == []
    with pytest.raises(TerminalError) as caught:
        reading.put("entries", {"name": "a"}, {"number": 1, "writes": 0})
    assert caught.value.reason == "ReadOnly"


MISUSED: dict[str, tuple[Callable[[KindRecords], object], str]] = {
    "a table of nobody": (lambda records: records.get("clusters", name="a"), "UnknownTable"),
    "deleting everything": (lambda records: records.delete("entries"), "NoKey"),
    "allocating outside": (lambda records: records.allocate("entries", "number", [1]), "NoTransaction"),
}


@pytest.mark.parametrize("case", MISUSED.values(), ids=MISUSED.keys())
def test_misuse_is_refused(records: KindRecords, case: tuple[Callable[[KindRecords], object], str]) -> None:
    misuse, reason = case
    with pytest.raises(TerminalError) as caught:
        misuse(records)
    assert caught.value.reason == reason
