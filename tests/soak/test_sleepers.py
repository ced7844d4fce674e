"""SIGSTOP and SIGCONT: who slept beyond the end of a lease writes nothing when he wakes, and nobody waits for him."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter

import pytest

from tests.daemon.lab import Command, Daemon, until
from tests.soak.garden import Garden, amount

pytestmark = pytest.mark.soak
TTL = 2.0
SIZE = 8
LOCKED = 8
"""Exit code of a command that found the database locked: whoever sleeps may hold SQLite's own lock."""
FINE = {0, 3, 5, 7, LOCKED}
"""How a command may end that competed with others: done, partly, lease held, moved, locked."""


class Schedule:
    """A daemon that works while it, its rivals and commands are put to sleep at random."""

    def __init__(self, garden: Garden, chance: random.Random) -> None:
        self.garden = garden
        self.chance = chance
        self.counts: Counter[str] = Counter()
        self.daemon = garden.daemon()

    def nap(self) -> None:
        """Shorter than the lease: it goes on as if nothing had been."""
        self.daemon.signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.05, TTL / 2))
        self.daemon.signal(signal.SIGCONT)
        self.counts["naps"] += 1

    def takeover(self) -> None:
        """Longer than the lease: another daemon takes over, and the sleeper ends when it wakes."""
        sleeper = self.daemon
        sleeper.signal(signal.SIGSTOP)
        time.sleep(TTL * 1.5)
        rival = self.garden.start("daemon", self.garden.specs)
        until(lambda: "page: " in rival.out() or not rival.alive, rival.err)
        if not rival.alive:
            self._locked_out(rival, sleeper)
            return
        self.garden.edit(self.chance)
        time.sleep(self.chance.uniform(0.0, 1.0))
        sleeper.signal(signal.SIGCONT)
        assert sleeper.wait() != 0
        assert "another daemon took over" in sleeper.err()
        assert "Traceback" not in sleeper.err()
        self.daemon = Daemon(rival.process, rival.out_file, rival.err_file)
        self.counts["takeovers"] += 1

    def _locked_out(self, rival: Command, sleeper: Daemon) -> None:
        """It fell asleep inside a transaction: nobody can write, everybody says so, and it goes on when it wakes."""
        assert rival.wait() == LOCKED, rival.err()
        sleeper.signal(signal.SIGCONT)
        self.counts["slept on the lock"] += 1

    def sleeping_command(self) -> None:
        """A command sleeps for longer than its leases while the daemon works on the same resources."""
        self.garden.edit(self.chance)
        command = self.garden.start("apply", self.garden.specs, "--yes")
        time.sleep(self.chance.uniform(0.3, 1.5))
        if command.alive:
            command.signal(signal.SIGSTOP)
            time.sleep(TTL * 1.5)
            command.signal(signal.SIGCONT)
            self.counts["commands put to sleep"] += 1
        assert command.wait() in FINE, (command.process.returncode, command.out(), command.err())
        assert "Traceback" not in command.err()


def test_two_daemons_and_commands_that_fall_asleep(garden: Garden, chance: random.Random) -> None:
    garden.configure(leaseTtl=f"{TTL:g}s", busyTimeout="3s")
    garden.plant(SIZE)
    started = time.monotonic()
    schedule = Schedule(garden, chance)
    for _ in range(amount("SLEEPS", 30)):
        garden.edit(chance)
        time.sleep(chance.uniform(0.0, 0.5))
        chance.choice([schedule.nap, schedule.takeover, schedule.sleeping_command])()
        garden.assert_whole()
    garden.await_ready(*garden.wanted, within=120)
    until(garden.as_wanted, garden.difference)
    assert schedule.daemon.terminate() == 0
    garden.converge()
    garden.assert_true()
    figures = {**schedule.counts, **garden.journal_figures()}
    print(f"sleepers: {figures} in {time.monotonic() - started:.0f} s")
