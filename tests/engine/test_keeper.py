"""The keeper: leases live as long as they are held, and who lost one hears of it."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from place import wait_for
from sqlalchemy import Select, select, update

from reconciler.engine.keeper import LeaseKeeper
from reconciler.errors import LeaseHeldError
from reconciler.store import leases
from reconciler.store.database import Database
from reconciler.store.leases import Lease
from reconciler.store.owners import Owner
from reconciler.store.tables import leases as table

ME = Owner.this_process("test")
TTL = 0.4


@pytest.fixture
def database(tmp_path: Path, fresh_database: Path) -> Iterator[Database]:
    opened = Database.at(Path(shutil.copy(fresh_database, tmp_path / "reconciler.db")), busy_timeout=0.2)
    yield opened
    opened.close()


@pytest.fixture
def keeper() -> Iterator[LeaseKeeper]:
    keeping = LeaseKeeper(TTL)
    yield keeping
    keeping.close()


def acquired(database: Database, name: str = "Entry/one") -> Lease:
    return leases.acquire(database, name, ME, TTL)


def expiry(database: Database) -> float:
    with database.read() as connection:
        return float(connection.execute(select(table.c.expires_at)).scalar_one())


def test_a_held_lease_is_renewed_and_released_at_the_end(database: Database, keeper: LeaseKeeper) -> None:
    with keeper.holding(lambda: acquired(database)) as lease:
        first = expiry(database)
        wait_for(lambda: expiry(database) > first)
        with pytest.raises(LeaseHeldError):
            acquired(database)
    assert lease.lost.is_set()
    assert acquired(database).epoch == 2


def test_it_is_released_also_when_the_work_fails(database: Database, keeper: LeaseKeeper) -> None:
    def work() -> None:
        with keeper.holding(lambda: acquired(database)):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert acquired(database).epoch == 2


def test_who_lost_a_lease_is_told(database: Database, keeper: LeaseKeeper) -> None:
    with keeper.holding(lambda: acquired(database)) as lease:
        with database.write() as connection:
            connection.execute(update(table).values(epoch=7, owner="somebody"))
        assert lease.lost.wait(20.0)
    with database.read() as connection:
        row = connection.execute(select(table)).one()
    assert (row.epoch, row.owner) == (7, "somebody"), "what is somebody else's is not released"


def test_a_lease_that_cannot_be_acquired_is_not_kept(database: Database, keeper: LeaseKeeper) -> None:
    acquired(database)
    with pytest.raises(LeaseHeldError), keeper.holding(lambda: acquired(database)):
        raise AssertionError("never here")


def test_a_locked_store_ends_neither_the_work_nor_the_renewing(
    database: Database, keeper: LeaseKeeper, tmp_path: Path
) -> None:
    with keeper.holding(lambda: acquired(database)) as lease:
        with closing(sqlite3.connect(tmp_path / "reconciler.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(TTL)
            other.execute("ROLLBACK")
        assert not lease.lost.is_set()
        before = expiry(database)
        wait_for(lambda: expiry(database) > before)


def test_what_was_done_stands_when_the_lease_cannot_be_given_back(
    database: Database, keeper: LeaseKeeper, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "reconciler.db", isolation_level=None)) as other:
        with keeper.holding(lambda: acquired(database)):
            other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    with database.read() as connection:
        assert connection.execute(select(table.c.owner)).scalar_one() == ME.token, "it expires instead"


def test_many_leases_are_kept_by_one_thread(database: Database, keeper: LeaseKeeper) -> None:
    def hold(number: int) -> None:
        if number == 0:
            time.sleep(TTL * 2)
            with database.read() as connection:
                left = connection.execute(select(table.c.expires_at)).scalars().all()
                now = database.now(connection)
            assert len(left) == 10
            assert all(expires > now for expires in left)
            return
        with keeper.holding(lambda: acquired(database, f"Entry/n{number}")):
            hold(number - 1)

    hold(10)


class Slow(Lease):
    """Its renewal begins while it is held, and reaches the store only after it was given back."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(lease.database, lease.name, lease.owner, lease.epoch, lease.ttl)
        self.renewing, self.released = threading.Event(), threading.Event()

    def renew(self) -> bool:
        self.renewing.set()
        assert self.released.wait(20)
        return super().renew()


def test_a_lease_that_is_given_back_while_it_is_renewed_was_taken_over_by_nobody(
    database: Database, keeper: LeaseKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    with keeper.holding(lambda: Slow(acquired(database))) as lease:
        assert isinstance(lease, Slow)
        assert lease.renewing.wait(20)
    lease.released.set()
    with keeper.holding(lambda: acquired(database, "Entry/two")):  # renewed after it, by the same thread
        chosen = select(table.c.expires_at).where(table.c.name == "Entry/two")
        first = _scalar(database, chosen)
        wait_for(lambda: _scalar(database, chosen) > first)
    assert "taken over" not in caplog.text


def _scalar(database: Database, chosen: Select[Any]) -> float:
    with database.read() as connection:
        return float(connection.execute(chosen).scalar_one())
