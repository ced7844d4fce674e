"""Looking at 10,000 resources again, all as desired: the daemon's CPU time without what the kind's `observe` takes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figures import Figure, at_most
from tests.bench.ground import Ground

COUNT = 10_000
INTERVAL = 30.0
REST = 6.0
LIMIT = 2.0


def figures() -> Iterator[Figure]:
    """One whole round, in which every resource became due by its interval."""
    ground = Ground("resync")
    ground.entries(COUNT, interval=f"{INTERVAL:g}s")
    ground.command("apply", ground.specs, "--yes")
    with ground.daemon() as daemon:
        daemon.await_rest(COUNT)
        resting = daemon.cpu
        time.sleep(REST)
        idle = (daemon.cpu - resting) / REST
        before, since = daemon.cpu, time.time()
        seen = "SELECT count(*) FROM statuses WHERE checked_at > ?"
        daemon.wait_for(lambda: ground.rows(seen, since)[0][0] >= COUNT, 0.5)
        spent, wall = daemon.cpu - before, time.time() - since
    calls = [call for call in ground.calls(since) if call.what == "observe"]
    observing = sum(call.cpu for call in calls)
    yield at_most(
        f"looking at {COUNT:,} again: CPU beside the observers",
        spent - observing - idle * wall,
        LIMIT,
        "s",
        f"{spent:.2f} s in all within {wall:.0f} s, {observing:.2f} s of it in {len(calls)} calls of observe",
        f"without the {idle:.1%} that this daemon takes while it rests",
    )
