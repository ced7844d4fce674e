"""Leases: who may change a resource now. Acquired by the executor and the daemon; every journal write is fenced by one.

A lease has an owner (one token a holder, with boot, pid namespace, pid and process start time), an epoch that rises
whenever it changes hands, and an expiry by the database's clock. What a holder writes goes through `Lease.fenced()`,
which proves in the same transaction that the epoch is still its own: a holder that slept through its expiry writes
nothing when it wakes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from reconciler.errors import LeaseHeldError, LeaseLostError
from reconciler.store.database import Database
from reconciler.store.owners import Owner, has_ended
from reconciler.store.tables import leases

TTL = 30.0
_OURS = (leases.c.name == bindparam("of"), leases.c.epoch == bindparam("at"), leases.c.owner == bindparam("by"))
_RENEW = update(leases).where(*_OURS).values(expires_at=bindparam("until"))
"""Made once: it comes with every write."""


class Lease:
    """One held lease. `lost` is set as soon as anybody notices that it is ours no longer."""

    def __init__(self, database: Database, name: str, owner: Owner, epoch: int, ttl: float) -> None:
        self.database = database
        self.name = name
        self.owner = owner
        self.epoch = epoch
        self.ttl = ttl
        self.lost = threading.Event()

    @contextmanager
    def fenced(self) -> Iterator[Connection]:
        """A write transaction that is stored only if the lease is still ours; it renews the lease as well.

        Raises LeaseLostError, with nothing written, when somebody took it over.
        """
        if self.lost.is_set():
            raise self._lost()
        with self.database.write() as connection:
            self._renew(connection)
            yield connection

    def renew(self) -> bool:
        """Push the expiry out by the time to live. False, and `lost` set, when it is ours no longer."""
        try:
            with self.fenced():
                return True
        except LeaseLostError:
            return False

    def release(self) -> None:
        """Give it back, if it is still ours. The row stays: its epoch must never be used twice."""
        with self.database.write() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.name == self.name, leases.c.epoch == self.epoch, leases.c.owner == self.owner.token)
                .values(owner="", expires_at=0.0)
            )
        self.lost.set()

    def _renew(self, connection: Connection) -> None:
        now = self.database.now(connection)
        values = {"of": self.name, "at": self.epoch, "by": self.owner.token, "until": now + self.ttl}
        renewed = connection.execute(_RENEW, values)
        if renewed.rowcount != 1:
            self.lost.set()
            raise self._lost()

    def _lost(self) -> LeaseLostError:
        return LeaseLostError("LeaseLost", f"the lease on {self.name} was taken over; nothing more is written")


def acquire(database: Database, name: str, owner: Owner, ttl: float = TTL) -> Lease:
    """The lease called `name`. Raises LeaseHeldError, saying who holds it and since when, while somebody else does.

    A lease whose owner is provably dead on this boot is taken at once, one that expired when it expired.
    """
    with database.write() as connection:
        now = database.now(connection)
        row = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
        if row is not None and row.owner and row.expires_at > now and not is_dead(row):
            since = datetime.fromtimestamp(row.acquired_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            raise LeaseHeldError("LeaseHeld", f"{name} is held by {row.holder} since {since}")
        epoch = 1 if row is None else row.epoch + 1
        values = {
            "owner": owner.token,
            "holder": owner.holder[:255],
            "boot_id": owner.boot_id,
            "pid": owner.pid,
            "pid_start": owner.pid_start,
            "epoch": epoch,
            "acquired_at": now,
            "expires_at": now + ttl,
        }
        database.upsert(connection, leases, {"name": name}, values)
    return Lease(database, name, owner, epoch, ttl)


def holder_of(connection: Connection, name: str) -> str:
    """Who holds the lease called `name` now, for people; "" when nobody does."""
    row = connection.execute(select(leases).where(leases.c.name == name, leases.c.owner != "")).one_or_none()
    return "" if row is None or is_dead(row) else str(row.holder)


def is_dead(row: Row[Any]) -> bool:
    """Whether the process of a row is provably gone."""
    return has_ended(row.boot_id, row.pid, row.pid_start)
