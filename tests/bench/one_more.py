"""What one more resource costs beside 100, 1,000 and 10,000 that are there: it should not grow.

Two figures a size: the whole `apply`, which reads and looks at everything and so grows, and the executing part, from
the start of the run to its end. What the live system itself costs (one JSON file, read and written as a whole) is taken
out of the latter.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.figures import Figure, at_most_times, told
from tests.bench.ground import Ground, document
from tests.bench.measuring import Series

SIZES = (100, 1000, 10_000)
ROUNDS = 7


def figures() -> Iterator[Figure]:
    """The cost of each size, then the largest against the smallest."""
    executing: dict[int, Series] = {}
    for count in SIZES:
        ground = Ground(f"one-more-{count}")
        ground.entries(count)
        ground.command("apply", ground.specs, "--yes")
        rounds = [_one_more(ground, count + number) for number in range(ROUNDS + 1)][1:]
        wholes, runs, kinds = (Series(tuple(values)) for values in zip(*rounds, strict=True))
        executing[count] = Series(tuple(run - kind for run, kind in zip(runs.values, kinds.values, strict=True)))
        yield told(
            f"one more beside {count:,}: executing part",
            f"{executing[count].median * 1000:.1f} ms",
            f"whole process {wholes.median:.2f} s; the live system's own part {kinds.median * 1000:.1f} ms",
        )
    few, many = executing[SIZES[0]], executing[SIZES[-1]]
    yield at_most_times(f"the same beside {SIZES[-1]:,} against {SIZES[0]:,}", many, few, 1.3)


def _one_more(ground: Ground, number: int) -> tuple[float, float, float]:
    """Seconds: of the whole process, of its run, and of the live system within the run."""
    (ground.specs / f"more-{number:05}.yaml").write_text(document(f"entry-{number:05}", number))
    whole = ground.timed_command("apply", ground.specs, "--yes")
    started, ended = ground.rows("SELECT started_at, ended_at FROM runs ORDER BY id DESC LIMIT 1")[0]
    inside = sum(call.wall for call in ground.calls(started) if call.at <= ended)
    return whole.wall, ended - started, inside
