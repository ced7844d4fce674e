"""Leases: one holder, whose death or sleep ends it; what is written after that is not written."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from place import kill, wait_for
from sqlalchemy import select, update

from reconciler.errors import LeaseHeldError, LeaseLostError
from reconciler.loading.settings import Settings
from reconciler.store import events
from reconciler.store.database import Database
from reconciler.store.leases import TTL, Lease, acquire
from reconciler.store.owners import Owner, boot_id, process_start
from reconciler.store.tables import leases

NAME = "Entry/one"

HOLDER = """
import sys, time
from pathlib import Path
from reconciler.engine.keeper import LeaseKeeper
from reconciler.errors import LeaseLostError
from reconciler.store import events, leases
from reconciler.store.database import Database
from reconciler.store.owners import Owner
database = Database.at(Path(sys.argv[1]))
ttl = float(sys.argv[2])
owner = Owner.this_process("holding")
keeper = LeaseKeeper(ttl)
try:
    with keeper.holding(lambda: leases.acquire(database, "Entry/one", owner, ttl)) as lease:
        print(lease.epoch, flush=True)
        while True:
            with lease.fenced() as connection:
                events.add(connection, 0.0, [events.Event("normal", "Written", str(lease.epoch))])
            time.sleep(0.01)
except LeaseLostError:
    print("lost", flush=True)
"""


def me(command: str = "test") -> Owner:
    return Owner.this_process(command)


@contextmanager
def holder(path: Path, ttl: float = 30.0) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease and writes under it all the time."""
    command = [sys.executable, "-c", HOLDER, str(path), str(ttl)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        yield process
    finally:
        kill(process)


def written(path: Path) -> int:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        return int(connection.execute("SELECT count(*) FROM events WHERE reason = 'Written'").fetchone()[0])


def write(lease: Lease, text: str = "x") -> None:
    with lease.fenced() as connection:
        events.add(connection, 0.0, [events.Event("normal", "Written", text)])


def expire(database: Database) -> None:
    with database.write() as connection:
        connection.execute(update(leases).values(expires_at=database.now(connection) - 1))


def row(database: Database) -> dict[str, object]:
    with database.read() as connection:
        return dict(connection.execute(select(leases)).one()._mapping)


def test_a_held_lease_is_refused_and_the_message_says_who_and_since_when(database: Database) -> None:
    acquire(database, NAME, me("first command"))
    with pytest.raises(LeaseHeldError) as caught:
        acquire(database, NAME, me())
    message = caught.value.message
    assert "Entry/one is held by" in message
    assert "first command" in message
    assert f"pid {os.getpid()}" in message
    assert time.strftime("since %Y-", time.gmtime()) in message
    assert "UTC" in message


def test_a_released_lease_is_free_and_its_epoch_rises(database: Database) -> None:
    first = acquire(database, NAME, me())
    first.release()
    second = acquire(database, NAME, me())
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(LeaseLostError):
        write(first)
    write(second)


def test_different_names_have_nothing_to_do_with_each_other(database: Database) -> None:
    acquire(database, NAME, me())
    assert acquire(database, "Entry/two", me()).epoch == 1


def test_an_expired_lease_is_taken_over_and_its_holder_writes_nothing_more(
    database: Database, database_file: Path
) -> None:
    old = acquire(database, NAME, me())
    expire(database)
    new = acquire(database, NAME, me())
    assert new.epoch == old.epoch + 1
    with pytest.raises(LeaseLostError, match="Entry/one was taken over"):
        write(old)
    assert old.lost.is_set()
    assert written(database_file) == 0
    old.release()
    write(new)
    assert written(database_file) == 1


def test_an_expired_lease_that_nobody_took_is_still_its_holders(database: Database) -> None:
    lease = acquire(database, NAME, me())
    expire(database)
    assert lease.renew()
    with pytest.raises(LeaseHeldError):
        acquire(database, NAME, me())


def test_every_write_renews(database: Database) -> None:
    lease = acquire(database, NAME, me(), ttl=5.0)
    with database.write() as connection:
        connection.execute(update(leases).values(expires_at=0.0))
    write(lease)
    with database.read() as connection:
        left = connection.execute(select(leases.c.expires_at)).scalar_one() - database.now(connection)
    assert 4.0 < left <= 5.0


def test_a_write_whose_block_fails_is_not_stored_and_the_lease_stays(database: Database, database_file: Path) -> None:
    lease = acquire(database, NAME, me())

    def half() -> None:
        with lease.fenced() as connection:
            events.add(connection, 0.0, [events.Event("normal", "Written", "half")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert written(database_file) == 0
    assert not lease.lost.is_set()
    write(lease)


def test_a_lease_of_a_killed_process_is_taken_at_once(database: Database, database_file: Path) -> None:
    with holder(database_file) as process:
        with pytest.raises(LeaseHeldError, match=f"pid {process.pid}"):
            acquire(database, NAME, me())
        process.kill()
        process.wait()
        assert acquire(database, NAME, me()).epoch == 2


def test_a_zombie_holds_nothing(database: Database, database_file: Path) -> None:
    with holder(database_file) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process_start(process.pid) is None
        assert acquire(database, NAME, me()).epoch == 2


def test_a_process_that_has_the_number_of_a_dead_one_holds_nothing(database: Database) -> None:
    acquire(database, NAME, replace(me(), pid_start=1))
    assert acquire(database, NAME, me()).epoch == 2


@pytest.mark.parametrize(
    "elsewhere",
    [replace(me(), boot_id="another boot/1", pid=999_999), replace(me(), boot_id=boot_id() + "0", pid=999_999)],
    ids=["another boot", "another pid namespace"],
)
def test_who_cannot_be_seen_from_here_is_not_assumed_dead(database: Database, elsewhere: Owner) -> None:
    acquire(database, NAME, elsewhere)
    with pytest.raises(LeaseHeldError):
        acquire(database, NAME, me())
    expire(database)
    assert acquire(database, NAME, me()).epoch == 2


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_the_same_pid_in_another_pid_namespace_is_somebody_else() -> None:
    code = "from reconciler.store.owners import boot_id; print(boot_id())"
    inside = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert inside.stdout.strip() != boot_id()
    assert inside.stdout.split("/")[0] == boot_id().split("/")[0]


def test_of_many_that_want_it_at_once_exactly_one_gets_it(database: Database) -> None:
    got: list[Lease] = []
    refused: list[LeaseHeldError] = []

    def want() -> None:
        try:
            got.append(acquire(database, NAME, me()))
        except LeaseHeldError as error:
            refused.append(error)

    threads = [threading.Thread(target=want) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 19)
    assert row(database)["epoch"] == 1


def test_stalled_lease_holder_writes_nothing_after_takeover(database: Database, database_file: Path) -> None:
    """A real process is stopped while it writes under its lease, and wakes after somebody took the lease over."""
    with holder(database_file, ttl=0.5) as process:
        wait_for(lambda: written(database_file) > 2)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(LeaseHeldError):
            acquire(database, NAME, me(), ttl=0.5)
        lease = wait_for(lambda: try_to_acquire(database))
        before = written(database_file)
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        assert process.stdout.readline() == "lost\n"
        assert process.wait() == 0
        assert written(database_file) == before
        write(lease)
    assert written(database_file) == before + 1


def try_to_acquire(database: Database) -> Lease | None:
    try:
        return acquire(database, NAME, me())
    except LeaseHeldError:
        return None


def test_a_kept_lease_outlives_its_time_to_live(database: Database, database_file: Path) -> None:
    with holder(database_file, ttl=0.4):
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            assert try_to_acquire(database) is None
            time.sleep(0.05)


def test_the_default_time_to_live_is_the_documents() -> None:
    assert TTL == Settings(home=Path("/x")).lease_ttl == 30.0
