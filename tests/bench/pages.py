"""How long the pages of 5,000 resources take, asked of a running daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figures import Figure, at_most
from tests.bench.ground import Daemon, Ground
from tests.bench.measuring import BrokenError, Series

COUNT = 5000
ROUNDS = 5
PAGES = ("/", "/resources", "/graph", "/api/v2/resources")
LIMIT = 1.0


def figures() -> Iterator[Figure]:
    """Each page, whole answer."""
    ground = Ground("pages")
    ground.entries(COUNT)
    ground.command("apply", ground.specs, "--yes")
    with ground.daemon() as daemon:
        daemon.await_rest(COUNT)
        for path in PAGES:
            sizes, series = _asked(daemon, path)
            note = f"least {series.least * 1000:.0f} ms, {sizes / 1000:.0f} kB"
            yield at_most(f"GET {path} with {COUNT:,} resources", series.median, LIMIT, "s", note)


def _asked(daemon: Daemon, path: str) -> tuple[int, Series]:
    """Bytes of the answer, and seconds of each round but the first."""
    seconds, size = [], 0
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        try:
            size = len(daemon.get(path))
        except OSError as error:
            raise BrokenError(f"GET {path}: {error}") from error
        seconds.append(time.perf_counter() - started)
    return size, Series(tuple(seconds[1:]))
