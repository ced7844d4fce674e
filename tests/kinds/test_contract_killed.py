"""What every kind owes when its process dies: killed at any boundary of a creation, change or deletion, it converges.

The harness is that of `test_contract.py`. A creation of a big kind has many boundaries: each turn takes every STRIDE-th
of them, starting at another one, so that all turns together take them all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from place import Place, kill, wait_until_stopped
from test_contract import PACKAGES, harness_of, settle

STRIDE = 10
TURNS = range(1, STRIDE + 1)


class Dying:
    """A kind's only resource in a home of its own, whose processes are killed."""

    def __init__(self, place: Place, harness: Any) -> None:
        self.place = place
        self.harness = harness
        settle(place, harness)

    def want(self, state: str, *, updated: bool = False) -> None:
        """The only document. updated: with the harness' other spec."""
        document = {"apiVersion": "reconciler.dev/v1", "kind": self.harness.kind}
        spec = self.harness.updated_spec() if updated else self.harness.spec()
        rest = {"metadata": {"name": self.harness.name}, "lifecycle": {"state": state}, "spec": spec}
        self.place.write("contract.yaml", {**document, **rest})

    def die_at(self, commit: int) -> bool:
        """Apply, and kill that right before its Nth transaction is stored. False when it had ended before."""
        process = self.place.start("apply", self.place.specs, "--yes", stop=f"commit:{commit}", cwd=self.place.home)
        if not wait_until_stopped(process, 120):
            process.communicate()
            return False
        kill(process)
        return True

    def converge(self) -> None:
        """Whoever comes next brings it to what is wanted, and then there is nothing left to do."""
        for _ in range(3):  # what was half done may first have to be seen as failed
            if self.place.run("apply", self.place.specs, "--yes", cwd=self.place.home, code=None).code == 0:
                break
        found = self.place.run("plan", self.place.specs, "-o", "json", cwd=self.place.home).json["changes"]
        assert found == []
        assert self.place.is_whole()
        assert self.place.rows("SELECT * FROM steps WHERE outcome = 'open'") == []


@pytest.fixture
def dying(place: Place, request: pytest.FixtureRequest) -> Iterator[Dying]:
    harness = harness_of(PACKAGES[request.param])
    yield Dying(place, harness)
    harness.close(place.home)


@pytest.mark.parametrize("turn", [pytest.param(turn, marks=[pytest.mark.soak] if turn > 1 else []) for turn in TURNS])
@pytest.mark.parametrize("dying", sorted(PACKAGES), indirect=True)
def test_killed_at_the_boundaries_of_its_steps_it_converges(dying: Dying, turn: int) -> None:
    killed = 0
    for commit in itertools.count(turn, STRIDE):
        dying.want("present")
        if not dying.die_at(commit):
            break
        killed += 1
        dying.converge()
        dying.want("absent")
        dying.die_at(commit)
        dying.converge()
        assert dying.harness.is_absent(dying.place.home)
    assert killed >= 1


@pytest.mark.parametrize("turn", [pytest.param(turn, marks=[pytest.mark.soak] if turn > 1 else []) for turn in TURNS])
@pytest.mark.parametrize("dying", sorted(PACKAGES.keys() - {"NodePair"}), indirect=True)
def test_killed_at_the_boundaries_of_an_update_it_converges(dying: Dying, turn: int) -> None:
    """There and back again. A pair's updates are upgrades: `tests/node_pair/test_pair_faults.py` kills all of them."""
    dying.want("present")
    dying.converge()
    killed = 0
    for commit, updated in zip(itertools.count(turn, STRIDE), itertools.cycle((True, False)), strict=False):
        dying.want("present", updated=updated)
        if not dying.die_at(commit):
            break
        killed += 1
        dying.converge()
    assert killed >= 1
