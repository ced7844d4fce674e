"""What one more resource costs beside 100, 1,000 and 10,000 that are there: it should not grow.

Two figures a size: the whole `apply`, which reads and looks at everything and so grows, and the executing part, from
the start of the run to its end. What the live system itself costs (one JSON file, read and written as a whole) is taken
out of the latter.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.figures import Figure, at_most_times, told
from tests.bench.ground import Ground, document
from tests.bench.measuring import Series

SIZES = (100, 1000, 10_000)
ROUNDS = 7


def figures() -> Iterator[Figure]:
    """The cost of each size, then the largest against the smallest."""
    grounds = {count: _with(count) for count in SIZES}
    spent: dict[int, list[Spent]] = {count: [] for count in SIZES}
    for number in range(ROUNDS + 1):
        for count, ground in grounds.items():
            spent[count].append(_one_more(ground, count + number))
    executing = {count: Series(tuple(one.executing for one in found[1:])) for count, found in spent.items()}
    for count, found in spent.items():
        whole = statistics.median(one.whole for one in found[1:])
        kind = statistics.median(one.kind for one in found[1:])
        yield told(
            f"one more beside {count:,}: executing part",
            f"{executing[count].median * 1000:.1f} ms",
            f"whole process {whole:.2f} s; the live system's own part {kind * 1000:.1f} ms",
        )
    few, many = executing[SIZES[0]], executing[SIZES[-1]]
    yield at_most_times(f"the same beside {SIZES[-1]:,} against {SIZES[0]:,}", many, few, 1.3)


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds. whole: of the process. run: from the start of the run to its end. kind: the live system's part of it."""

    whole: float
    run: float
    kind: float

    @property
    def executing(self) -> float:
        """What is left of the run for the reconciler."""
        return self.run - self.kind


def _with(count: int) -> Ground:
    ground = Ground(f"one-more-{count}")
    ground.entries(count)
    ground.command("apply", ground.specs, "--yes")
    return ground


def _one_more(ground: Ground, number: int) -> Spent:
    (ground.specs / f"more-{number:05}.yaml").write_text(document(f"entry-{number:05}", number))
    whole = ground.timed_command("apply", ground.specs, "--yes")
    started, ended = ground.rows("SELECT started_at, ended_at FROM runs ORDER BY id DESC LIMIT 1")[0]
    kind = sum(call.wall for call in ground.calls(started) if call.at <= ended)
    return Spent(whole.wall, ended - started, kind)
