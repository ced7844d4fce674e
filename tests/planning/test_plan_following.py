"""Resources that follow what others have recorded: planned after them, conditional, and held up by none of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from plain_kind import change_of, plan, ref, remembers, sees, wants

from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change, Plan
from reconciler.model.resource import Resource, ResourceRef

SET = ResourceRef("Follower", "set")


def follower(**lifecycle: Any) -> Resource:
    return replace(wants("set", {"size": 1}, **lifecycle), ref=SET)


def there(state: Any = None) -> Observation:
    return Observation(SET, state)


def set_of(found: Plan) -> Change:
    return next(change for change in found.changes if change.ref == SET)


def test_a_follower_is_planned_after_what_it_follows_though_nothing_differs_yet() -> None:
    found = plan([follower(), wants("zoo")], [there({"size": 1}), sees("zoo")])
    change = set_of(found)
    assert [one.ref for one in found.changes] == [ref("zoo"), SET]
    assert (change.action, change.conditional, change.is_effective) == (Action.UPDATE, True, True)
    assert change.follows == (ref("zoo"),)
    assert "follows Plain/zoo" in change.why
    assert [step.name for step in change.steps] == ["update"]


def test_a_follower_of_what_stays_as_it_is_is_left_alone() -> None:
    kept = wants("zoo")
    found = plan([follower(), kept], [there({"size": 1}), sees("zoo", {"size": 1})], [remembers(kept)])
    assert set_of(found).action is Action.NOOP
    assert not set_of(found).conditional


def test_an_update_of_a_follower_may_become_another_one_by_the_time_that_it_is_made() -> None:
    found = plan([follower(), wants("zoo")], [there({"size": 2}), sees("zoo")])
    change = set_of(found)
    assert (change.action, change.conditional) == (Action.UPDATE, True)
    assert [entry.path for entry in change.diffs] == ["spec.size"]


def test_what_follows_a_delete_comes_after_it() -> None:
    gone = wants("zoo", state="absent")
    found = plan([follower(), gone], [there({"size": 1}), sees("zoo", {"size": 1})], [remembers(gone)])
    assert [(one.ref, one.action) for one in found.changes] == [(ref("zoo"), Action.DELETE), (SET, Action.UPDATE)]


@pytest.mark.parametrize("obstacle", [{"mode": "observe"}, {"suspend": True}])
def test_a_follower_that_may_not_be_changed_is_not(obstacle: dict[str, Any]) -> None:
    found = plan([follower(**obstacle), wants("zoo")], [there({"size": 1}), sees("zoo")])
    assert not set_of(found).is_effective


def test_a_leader_that_is_blocked_moves_no_follower() -> None:
    waits = wants("zoo", approval="manual")
    found = plan([follower(), waits], [there({"size": 1}), sees("zoo")])
    assert set_of(found).action is Action.NOOP


def test_a_follower_waits_for_its_approval_like_everybody() -> None:
    found = plan([follower(approval="manual"), wants("zoo")], [there({"size": 1}), sees("zoo")])
    obstacle = set_of(found).obstacle
    assert obstacle is not None
    assert obstacle.reason == "NeedsApproval"


def test_a_leader_that_needs_its_follower_comes_after_it() -> None:
    needs = wants("zoo")
    needs = replace(needs, lifecycle=replace(needs.lifecycle, depends_on=(SET,)))
    found = plan([follower(), needs, wants("ape")], [there(), sees("zoo"), sees("ape")])
    assert [one.ref for one in found.changes] == [ref("ape"), SET, ref("zoo")]
    assert set_of(found).follows == (ref("ape"),)
    assert change_of(found, "zoo").is_effective
