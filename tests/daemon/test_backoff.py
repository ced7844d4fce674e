"""When a key is due again: pure, by cases."""

from __future__ import annotations

import pytest

from reconciler.daemon.backoff import SHORTEST, Pace, spread
from reconciler.model.plan import Action, Change, Obstacle
from reconciler.model.resource import Lifecycle, Resource, ResourceRef
from reconciler.model.result import Result

PACE = Pace(unsettled=30.0, shortest=1.0, longest=300.0)
REF = ResourceRef("Entry", "a")


def change(action: Action = Action.NOOP, obstacle: str = "", interval: float = 600.0) -> Change:
    resource = Resource(REF, {}, lifecycle=Lifecycle(interval=interval))
    stands = Obstacle(obstacle, "Reason", "message") if obstacle else None  # type: ignore[arg-type]  # one of its kinds
    return Change(REF, action, resource, "", obstacle=stands)


@pytest.mark.parametrize(
    ("obstacle", "action", "seconds"),
    [
        ("", Action.NOOP, 600.0),
        ("suspended", Action.NOOP, 600.0),
        ("notify", Action.UPDATE, 600.0),
        ("vanished", Action.NOOP, 600.0),
        ("blocked", Action.UPDATE, 30.0),
        ("waiting", Action.CREATE, 30.0),
        ("unknown", Action.NOOP, 30.0),
    ],
)
def test_after_a_look(obstacle: str, action: Action, seconds: float) -> None:
    assert PACE.after_look(change(action, obstacle), 1.0) == seconds


def test_an_interval_shorter_than_the_pace_of_what_is_unsettled_is_kept() -> None:
    assert PACE.after_look(change(Action.UPDATE, "blocked", interval=5.0), 1.0) == 5.0


def result(verdict: str, *, stalled: bool = False, retry_after: float | None = None) -> Result:
    made = change(Action.UPDATE)
    return Result(made, verdict, "Reason", "", retry_after=retry_after, stalled=stalled)  # type: ignore[arg-type]


@pytest.mark.parametrize("verdict", ["ok", "changed"])
def test_what_went_well_is_looked_at_after_its_interval(verdict: str) -> None:
    assert 540.0 <= PACE.after_change(result(verdict), 0) <= 660.0


def test_what_stalled_is_never_tried_sooner_than_it_is_looked_at() -> None:
    assert 540.0 <= PACE.after_change(result("failed", stalled=True), 1) <= 660.0


def test_what_waits_says_itself_for_how_long() -> None:
    assert PACE.after_change(result("failed", retry_after=0.2), 9) == 0.2


def test_at_once_is_for_once() -> None:
    assert PACE.after_change(result("blocked", retry_after=0.0), 1) == 0.0
    assert 0.5 <= PACE.after_change(result("blocked", retry_after=0.0), 2) <= 1.0
    assert 4.0 <= PACE.after_change(result("blocked", retry_after=0.0), 5) <= 8.0


def test_failures_wait_longer_and_longer_up_to_the_longest() -> None:
    for failures in range(1, 80):
        highest = min(300.0, 2.0 ** (failures - 1))
        assert highest / 2 <= PACE.after_change(result("failed"), failures) <= highest


def test_nothing_is_due_again_at_once_by_its_interval() -> None:
    assert spread(0.0, 1.0) == SHORTEST
