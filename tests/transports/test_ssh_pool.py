"""Shared connections to hosts: one a place, which no borrower can spoil for another, and none that is left open."""

from __future__ import annotations

import dataclasses
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from git_servers import SSHD, ssh_server
from git_servers import Ssh as Sshd
from ssh_ground import connection_of, place_on, sessions_of, signal_all

from reconciler.errors import ReconcilerError, TransientError, UnreachableError
from reconciler.transports import ssh_connection
from reconciler.transports.ssh import SshPlace
from reconciler.transports.ssh_home import home_known_hosts, trusting
from reconciler.transports.ssh_pool import MAX_IDLE, SshPool
from reconciler.transports.ssh_trust import KnownHost

pytestmark = pytest.mark.skipif(SSHD is None, reason="sshd is not installed (tests/apt-packages.txt)")


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with ssh_server(tmp_path_factory.mktemp("ssh-pool") / "sshd") as server:
        yield server


@pytest.fixture
def login(sshd: Sshd) -> SshPlace:
    return place_on(sshd)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clock: Clock) -> Iterator[SshPool]:
    made = SshPool(clock)
    yield made
    made.close()


def side_by_side(count: int, call: Callable[[], object]) -> list[object]:
    """What each of so many calls gave, or the error that it raised."""
    found: list[object] = []

    def one() -> None:
        try:
            found.append(call())
        except ReconcilerError as error:
            found.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_all_borrowers_use_one_connection_and_none_can_close_it(pool: SshPool, login: SshPlace) -> None:
    seen = side_by_side(6, lambda: connection_of(pool.lend(login)))
    with pool.lend(login) as borrowed:
        seen.append(connection_of(borrowed))
    seen.append(connection_of(pool.lend(dataclasses.replace(login))))
    assert len(set(seen)) == 1


def test_who_is_told_to_stop_stops_nobody_else(pool: SshPool, login: SshPlace) -> None:
    stop = threading.Event()
    lost = TransientError("Lost", "the lease is gone")
    before = connection_of(pool.lend(login))
    said: list[str] = []
    other = threading.Thread(target=lambda: said.append(pool.lend(login).run("sleep 1; echo on", timeout=30).stdout))
    other.start()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(TransientError) as caught:
        pool.lend(login, lambda: lost if stop.is_set() else None).run("sleep 600", timeout=60)
    other.join()
    assert caught.value is lost
    assert said == ["on\n"]
    assert connection_of(pool.lend(login)) == before


@pytest.mark.parametrize("asked_for", [8, 50])
def test_more_commands_than_the_host_runs_at_once_wait_for_their_turn(
    pool: SshPool, login: SshPlace, monkeypatch: pytest.MonkeyPatch, asked_for: int
) -> None:
    """OpenSSH lets a connection run ten: usually we ask for fewer, but who knows what a host is set to."""
    monkeypatch.setattr(ssh_connection, "_SESSIONS", asked_for)
    said = side_by_side(14, lambda: pool.lend(login).run("sleep 0.3; echo $SSH_CONNECTION", timeout=60).stdout)
    assert len(said) == 14
    assert len({str(one) for one in said}) == 1


def test_a_lost_connection_is_made_once_for_all(pool: SshPool, login: SshPlace) -> None:
    before = connection_of(pool.lend(login))
    killer = threading.Timer(0.3, signal_all, (sessions_of(pool.lend(login)), signal.SIGKILL))
    killer.start()
    lost = side_by_side(3, lambda: pool.lend(login).run("sleep 30", timeout=25))
    killer.join()
    assert {getattr(one, "reason", "") for one in lost} == {"ConnectionLost"}
    after = side_by_side(6, lambda: connection_of(pool.lend(login)))
    assert len(set(after)) == 1
    assert after[0] != before


def test_a_host_that_says_nothing_is_waited_for_once(pool: SshPool, login: SshPlace) -> None:
    """By all who want something of it at the time, and not by one after the other."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        gone = dataclasses.replace(login, port=silent.getsockname()[1], connect_timeout=2.0)
        started = time.monotonic()
        told = side_by_side(5, lambda: pool.lend(gone).run("true", timeout=60))
        assert time.monotonic() - started < 3.9
    assert all(isinstance(one, UnreachableError) for one in told)


def test_an_idle_host_is_hung_up_on_and_a_busy_one_is_not(pool: SshPool, login: SshPlace, clock: Clock) -> None:
    other = dataclasses.replace(login, connect_timeout=9.0)
    first = connection_of(pool.lend(login))
    sessions = sessions_of(pool.lend(login))
    heard: list[str] = []
    busy = threading.Thread(
        target=lambda: pool.lend(other).run("echo on; sleep 1; echo off", timeout=30, on_output=heard.append)
    )
    busy.start()
    while not heard:
        time.sleep(0.01)
    clock.now += MAX_IDLE + 1
    assert connection_of(pool.lend(dataclasses.replace(login, connect_timeout=8.0))) != first
    give_up = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in sessions):
        assert time.monotonic() < give_up, "the idle connection is still there"
        time.sleep(0.02)
    busy.join()
    assert "".join(heard) == "on\noff\n"
    assert connection_of(pool.lend(login)) != first


def test_closing_ends_every_connection_and_all_waiting(login: SshPlace) -> None:
    """The fixture of every test fails this one for an open descriptor."""
    pool = SshPool()
    borrowed = pool.lend(login)
    closing = threading.Timer(0.5, pool.close)
    connection_of(borrowed)
    closing.start()
    started = time.monotonic()
    with pytest.raises(UnreachableError):
        borrowed.run("sleep 600", timeout=60)
    assert time.monotonic() - started < 20
    closing.join()
    with pytest.raises(TransientError) as caught:
        borrowed.run("true", timeout=5)
    assert caught.value.reason == "ShuttingDown"


def test_closing_ends_a_connection_that_is_being_made(login: SshPlace) -> None:
    pool = SshPool()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        gone = dataclasses.replace(login, port=silent.getsockname()[1], connect_timeout=30.0)
        closing = threading.Timer(0.5, pool.close)
        closing.start()
        started = time.monotonic()
        with suppress(UnreachableError):
            pool.lend(gone).run("true", timeout=60)
        assert time.monotonic() - started < 20
        closing.join()


def test_the_home_vouches_for_hosts_of_which_the_document_says_nothing(
    pool: SshPool, login: SshPlace, tmp_path: Path
) -> None:
    line, silent = login.known[0].text, dataclasses.replace(login, known=())
    assert home_known_hosts(tmp_path) == ()
    (tmp_path / "known_hosts").write_text(f"# ours\nother.example.org {line.split(' ', 1)[1]}\n{line}\n")
    known = home_known_hosts(tmp_path)
    wanted = (KnownHost(line, f"{tmp_path}/known_hosts:3"),)
    assert trusting(silent, known).known == wanted
    assert trusting(dataclasses.replace(login, jump=silent), known).known == login.known
    assert trusting(dataclasses.replace(login, jump=silent), known).jump == dataclasses.replace(silent, known=wanted)
    assert connection_of(pool.lend(trusting(silent, known)))
    (tmp_path / "known_hosts").write_text(f"@revoked {line}\n")
    with pytest.raises(ReconcilerError) as caught:
        connection_of(pool.lend(trusting(login, home_known_hosts(tmp_path))))
    assert caught.value.reason == "HostKeyRevoked", "whatever the document says"
