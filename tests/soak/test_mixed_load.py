"""Everything at once for a while, with somebody at the page all the time: what runs for long must not grow.

RECONCILER_SOAK_SECONDS says for how long; 180 is the default, a night is worth it now and then.
"""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.daemon.lab import Daemon, entry, open_files, threads, until
from tests.soak.garden import Garden, amount
from tests.soak.viewers import Viewers

pytestmark = pytest.mark.soak
SIZE = 40
PAGES = ("/", "/resources", "/graph", "/runs", "/resources/Entry/e00", "/api/v2/resources", "/metrics")
GROWTH_MB = 20.0
SLACK = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """What a daemon has at one moment."""

    memory: float
    files: int
    threads: int


def sample(pid: int) -> Sample:
    """Memory in MB, descriptors, threads."""
    resident = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return Sample(int(resident.split()[1]) / 1024, open_files(pid), threads(pid))


class Load:
    """One thing after the other that people and clusters do to a daemon."""

    def __init__(self, garden: Garden, chance: random.Random) -> None:
        self.garden = garden
        self.chance = chance
        self.done = 0

    def step(self) -> None:
        """Any of them."""
        self.chance.choice([self.save, self.save, self.save, self.drift, self.break_a_file, self.ask, self.command])()
        self.done += 1

    def save(self) -> None:
        """Some resources are edited."""
        self.garden.edit(self.chance)

    def drift(self) -> None:
        """Somebody removes a note by hand; the daemon finds out when it looks."""
        notes = sorted(self.garden.notes.glob("n??"))
        if notes:
            name = self.chance.choice(notes).name
            (self.garden.notes / name).unlink(missing_ok=True)
            self.garden.run("reconcile", f"Note/{name}")

    def break_a_file(self) -> None:
        """A file is broken for a moment."""
        path = self.garden.specs / "broken.yaml"
        path.write_text("kind: [")
        time.sleep(self.chance.uniform(0.0, 0.2))
        path.unlink()

    def ask(self) -> None:
        """Somebody looks, by the command line."""
        arguments = self.chance.choice([("get",), ("events",), ("describe", "Entry/e00"), ("history", "Note/n00")])
        assert self.garden.run(*arguments).code == 0

    def command(self) -> None:
        """Somebody plans, or applies beside the daemon."""
        verb = self.chance.choice([("plan", "--detailed-exitcode"), ("apply", "--yes", "--keep-going")])
        done = self.garden.run(verb[0], self.garden.specs, *verb[1:])
        assert done.code in (0, 1, 2, 3, 5, 6, 7), done.text
        assert "Traceback" not in done.text


def trouble() -> str:
    """Resources that never get well."""
    failing = [entry(f"failing{number}", behave="fail") for number in range(5)]
    return "".join([*failing, entry("hanging", behave="observe-hang", target="hung")])


def test_a_daemon_under_mixed_load_does_not_grow(garden: Garden, chance: random.Random) -> None:
    seconds = amount("SECONDS", 180)
    garden.configure(observeTimeout="5s")
    garden.plant(SIZE)
    garden.write("trouble.yaml", trouble())
    daemon = garden.daemon()
    garden.await_ready(*garden.wanted, within=120)
    viewers = Viewers(daemon.url, PAGES)
    viewers.start()
    load = Load(garden, chance)
    samples: list[Sample] = []
    try:
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            load.step()
            samples.append(sample(daemon.pid))
            time.sleep(chance.uniform(0.0, 0.3))
    finally:
        viewers.stop()
    garden.await_ready(*garden.wanted, within=120)
    until(garden.as_wanted, garden.difference)
    tell(samples, load, viewers, seconds)
    assert viewers.bad == []
    assert viewers.streamed > 0
    assert_steady(samples)
    assert_quiet(daemon)
    assert daemon.terminate() == 0
    (garden.specs / "trouble.yaml").unlink()
    garden.assert_true()


def assert_steady(samples: list[Sample]) -> None:
    """The last quarter is as the second was: by then pools and caches have their size.

    In the middle of each: SQLite puts off closing a file as long as another connection of the process has it locked.
    """
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    middle = [statistics.median(one.memory for one in part) for part in (second, last)]
    assert middle[1] - middle[0] <= GROWTH_MB, f"memory grew from {middle[0]:.0f} to {middle[1]:.0f} MB"
    for name in ("files", "threads"):
        before, after = (statistics.median(getattr(one, name) for one in part) for part in (second, last))
        assert after <= before + SLACK, f"{name} grew from {before} to {after}"


def assert_quiet(daemon: Daemon) -> None:
    """Nothing went wrong that nobody planned for."""
    errors = [line for line in daemon.entries() if line["level"] == "error"]
    assert errors == []


def tell(samples: list[Sample], load: Load, viewers: Viewers, seconds: int) -> None:
    """The figures."""
    quarter = max(1, len(samples) // 4)
    for name in ("memory", "files", "threads"):
        parts = (samples[start : start + quarter] for start in range(0, 4 * quarter, quarter))
        course = ", ".join(f"{statistics.median(getattr(one, name) for one in part):.0f}" for part in parts)
        print(f"{name}: median of each quarter {course}")
    answers = f"{len(viewers.seconds)} answers, p50 {viewers.percentile(0.5) * 1000:.0f} ms"
    print(f"{seconds} s: {load.done} doings; {answers}, p99 {viewers.percentile(0.99) * 1000:.0f} ms")
    print(f"{viewers.streamed} live events; {load.garden.journal_figures()}")
