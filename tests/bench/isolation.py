"""100 healthy resources beside 20 that always fail and 5 whose target hangs, against the same 100 alone.

The bad ones are there first and keep failing while the healthy ones are saved, all in one file. Measured is the time
from that save until each healthy one is Ready, as the store says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figures import Figure, at_most_times, told
from tests.bench.ground import Daemon, Ground, document
from tests.bench.measuring import Series, take_turns

HEALTHY, FAILING, HANGING = 100, 20, 5
ROUNDS = 5
LIMIT = 1.2


def figures() -> Iterator[Figure]:
    """The time until half of them, and until all of them, are ready."""
    half: dict[str, list[float]] = {"alone": [], "beside": []}

    def measured(name: str, bad: bool) -> float:
        times = _ready_times(Ground(f"isolation-{name}", backoff={"min": "500ms", "max": "2s"}), bad=bad)
        half[name].append(times.median)
        return max(times.values)

    found = take_turns(ROUNDS, {"alone": lambda: measured("alone", False), "beside": lambda: measured("beside", True)})
    what = f"{HEALTHY} healthy beside {FAILING} failing and {HANGING} hanging"
    yield at_most_times(f"{what}: all ready", found["beside"], found["alone"], LIMIT)
    alone, beside = (Series(tuple(half[name][1:])) for name in ("alone", "beside"))
    yield told("the same: half of them ready", f"{beside.median / alone.median:.2f}×", f"{beside.median:.2f} s")


def _ready_times(ground: Ground, *, bad: bool) -> Series:
    """Seconds from the save until each healthy one was ready."""
    with ground.daemon() as daemon:
        if bad:
            _trouble(ground, daemon)
        else:
            daemon.await_loaded()
        draft = ground.root / "healthy"
        draft.write_text("---\n".join(document(f"healthy-{number}", number) for number in range(HEALTHY)))
        saved = time.time()
        draft.rename(ground.specs / "healthy.yaml")
        count = "SELECT count(*) FROM statuses WHERE name LIKE 'healthy-%' AND ready = 'True'"
        daemon.wait_for(lambda: ground.rows(count)[0][0] == HEALTHY)
        ready = ground.rows("SELECT max(ended_at) FROM changes WHERE name LIKE 'healthy-%' GROUP BY name")
    return Series(tuple(at - saved for (at,) in ready))


def _trouble(ground: Ground, daemon: Daemon) -> None:
    """Make the bad ones, and wait until all of them are in trouble."""
    failing = [document(f"failing-{number}", number, behave="fail") for number in range(FAILING)]
    hanging = [
        document(f"hanging-{number}", number, behave="observe-hang", target=f"hung-{number}")
        for number in range(HANGING)
    ]
    (ground.specs / "bad.yaml").write_text("---\n".join([*failing, *hanging]))
    failed = "SELECT count(*) FROM statuses WHERE failures >= 2"
    daemon.wait_for(lambda: ground.rows(failed)[0][0] >= FAILING)
