"""Random schedules of faults on a pair of real machines: whatever happens in whatever order, the invariants hold.

RECONCILER_SOAK_SEED is the seed, which is printed; RECONCILER_SOAK_SCHEDULES how many there are in the soak.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from pair import Pair
from pair_ground import Ground
from pair_invariants import invariants
from pair_schedules import SCHEDULES, Happening, by_operator, carry_out
from pair_serving import ServingClient
from place import Place

SEED = int(os.environ.get("RECONCILER_SOAK_SEED", "20"))
MANY = int(os.environ.get("RECONCILER_SOAK_SCHEDULES", "200"))
_SETTINGS = settings(
    deadline=None,
    derandomize=False,
    database=None,
    phases=[Phase.generate],  # a failure is printed as it was: each attempt at a smaller one takes a minute
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def holds(ground: Ground, fresh_database: Path, schedule: list[Happening]) -> None:
    """Carry out one schedule on nodes that are as they were at first."""
    note(f"seed {SEED}: {schedule}")
    ground.reset()
    with tempfile.TemporaryDirectory(prefix="pair-") as folder:
        place = Place(Path(folder), fresh_database)
        try:
            pair = Pair(place, ground)
            pair.want_new(reconnect="1s", **by_operator(pair))
            with ServingClient(ground) as client:
                carry_out(pair, schedule, client)
                pair.converge()
                invariants(pair, client)
        finally:
            place.close()


@seed(SEED)
@settings(_SETTINGS, max_examples=5)
@given(schedule=SCHEDULES)
def test_a_few_random_schedules(ground: Ground, fresh_database: Path, schedule: list[Happening]) -> None:
    holds(ground, fresh_database, schedule)


@seed(SEED + 2)
@settings(_SETTINGS, max_examples=5)
@given(schedule=SCHEDULES)
def test_a_few_others(ground: Ground, fresh_database: Path, schedule: list[Happening]) -> None:
    """By another seed, in a test of its own: five take minutes, and another worker may have time for them."""
    holds(ground, fresh_database, schedule)


@pytest.mark.soak
@seed(SEED + 1)
@settings(_SETTINGS, max_examples=MANY)
@given(schedule=SCHEDULES)
def test_many_random_schedules(ground: Ground, fresh_database: Path, schedule: list[Happening]) -> None:
    print(f"\nseed {SEED}: {schedule}")
    holds(ground, fresh_database, schedule)
