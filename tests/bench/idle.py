"""What a daemon costs that has nothing to do: CPU and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figures import Figure, told
from tests.bench.ground import Ground

SECONDS = 20.0


def figures() -> Iterator[Figure]:
    """With one resource, and with 10,000."""
    for count in (1, 10_000):
        ground = Ground(f"idle-{count}")
        ground.entries(count)
        ground.command("apply", ground.specs, "--yes")
        with ground.daemon() as daemon:
            daemon.await_rest(count)
            time.sleep(2.0)
            before = daemon.cpu
            time.sleep(SECONDS)
            spent = (daemon.cpu - before) / SECONDS
            memory = daemon.memory["VmRSS"]
        yield told(f"an idle daemon, {count:,} resources", f"{spent * 100:.2f} % CPU", f"{memory:.0f} MB")
