"""Conditions: one table from what a pass found to what people and machines are told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.status import Outcome, status_update
from reconciler.model.condition import CONDITION_TYPES, Condition
from reconciler.model.plan import Action, Change, FieldDiff, Obstacle
from reconciler.model.resource import Lifecycle, Resource, ResourceRef
from reconciler.model.result import VERDICTS, Result
from reconciler.store.statuses import Status, StatusUpdate

REF = ResourceRef("Entry", "one")
DIFFS = (FieldDiff("spec.a", 1, 2),)
NOW = 1000.0


def change(action: Action = Action.NOOP, obstacle: tuple[str, str] | None = None, **lifecycle: Any) -> Change:
    resource = Resource(REF, {}, lifecycle=Lifecycle(**lifecycle), generation=4)
    made = Obstacle(obstacle[0], obstacle[1], "the message") if obstacle else None  # type: ignore[arg-type]
    diffs = DIFFS if action in (Action.UPDATE, Action.REPLACE) else ()
    return Change(REF, action, resource, "the why", diffs=diffs, obstacle=made, fingerprint="f" * 64)


def ended(verdict: Any, *, stalled: bool = False, planned: Change | None = None) -> Outcome:
    what = planned or change(Action.UPDATE)
    return Outcome(what, Result(what, verdict, "TheReason", "the message", stalled=stalled))


@dataclass(frozen=True)
class Told:
    """What is expected. others: conditions that are neither True nor absent, as `Type:Status`."""

    ready: str
    reason: str
    present: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)


TABLE: dict[str, tuple[Outcome, Told]] = {
    "as desired": (Outcome(change()), Told("True", "AsDesired")),
    "absent, as desired": (Outcome(change(state="absent")), Told("True", "Absent")),
    "made": (ended("changed"), Told("True", "AsDesired")),
    "found as desired": (ended("ok"), Told("True", "AsDesired")),
    "sick": (Outcome(change(), unhealthy="it is sick"), Told("False", "Unhealthy", set(), {"Healthy:False"})),
    "made, but sick": (
        replace(ended("changed"), unhealthy="it is sick"),
        Told("False", "Unhealthy", set(), {"Healthy:False"}),
    ),
    "to be changed": (
        Outcome(change(Action.UPDATE)),
        Told("False", "Pending", {"Reconciling"}, {"Applied:False"}),
    ),
    "failed": (ended("failed"), Told("False", "TheReason", {"Reconciling"}, {"Applied:False"})),
    "failed for good": (ended("failed", stalled=True), Told("False", "TheReason", {"Stalled"}, {"Applied:False"})),
    "skipped": (ended("skipped"), Told("False", "TheReason", {"Reconciling"}, {"Applied:False"})),
    "unreachable while it ran": (
        ended("unreachable"),
        Told("Unknown", "TheReason", {"Reconciling"}, {"Applied:Unknown"}),
    ),
    "could not look": (
        Outcome(change(obstacle=("unknown", "Unreachable"))),
        Told("Unknown", "Unreachable", {"Reconciling"}, {"Observed:Unknown", "Applied:Unknown", "Healthy:Unknown"}),
    ),
    "blocked": (
        Outcome(change(Action.UPDATE, ("blocked", "NeedsApproval"))),
        Told("False", "NeedsApproval", {"Stalled"}, {"Applied:False"}),
    ),
    "waiting for another": (
        Outcome(change(Action.CREATE, ("waiting", "DependencyNotReady"))),
        Told("False", "DependencyNotReady", {"Reconciling"}, {"Applied:False"}),
    ),
    "suspended": (
        Outcome(change(obstacle=("suspended", "Suspended"))),
        Told("Unknown", "Suspended", {"Suspended"}, {"Applied:Unknown", "Healthy:Unknown"}),
    ),
    "drift is only reported": (
        Outcome(change(Action.UPDATE, ("notify", "DriftReported"))),
        Told("False", "DriftReported", set(), {"Applied:False"}),
    ),
    "vanished from the specs": (
        Outcome(change(obstacle=("vanished", "NotInSpecs"))),
        Told("False", "NotInSpecs", set(), {"Applied:False"}),
    ),
    "its document cannot be read": (
        Outcome(change(obstacle=("blocked", "SpecInvalid")), problem="a.yaml:3:1: bad"),
        Told(
            "False",
            "InvalidSpec",
            {"Stalled"},
            {"SpecValid:False", "Applied:False", "Observed:Unknown", "Healthy:Unknown"},
        ),
    ),
    "its document is broken": (
        Outcome(change(), problem="a.yaml:3:1: bad"),
        Told("False", "InvalidSpec", {"Stalled"}, {"SpecValid:False"}),
    ),
    "its document is broken and it cannot be seen": (
        Outcome(change(obstacle=("unknown", "Unreachable")), problem="a.yaml:3:1: bad"),
        Told(
            "False",
            "InvalidSpec",
            {"Stalled"},
            {"SpecValid:False", "Observed:Unknown", "Applied:Unknown", "Healthy:Unknown"},
        ),
    ),
}


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_what_is_told(case: tuple[Outcome, Told]) -> None:
    outcome, told = case
    found = {condition.type: condition for condition in status_update(None, outcome, NOW).conditions}
    assert (found["Ready"].status, found["Ready"].reason) == (told.ready, told.reason)
    assert {name for name in ("Reconciling", "Stalled", "Suspended") if name in found} == told.present
    rest = {f"{name}:{one.status}" for name, one in found.items() if one.status != "True" and name != "Ready"}
    assert rest == told.others
    assert {"SpecValid", "Observed", "Applied", "Healthy"} <= found.keys()


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_every_condition_is_well_formed(case: tuple[Outcome, Told]) -> None:
    conditions = status_update(None, case[0], NOW).conditions
    assert conditions[0].type == "Ready"
    for condition in conditions:
        assert condition.type in CONDITION_TYPES
        assert condition.observed_generation == 4
        assert condition.reason.isalnum()
        assert condition.reason[0].isupper()
        assert condition.message
        assert condition.last_transition == NOW
        if condition.type in ("Reconciling", "Stalled", "Suspended"):
            assert condition.status == "True", "present only while it is true"
    assert len({condition.type for condition in conditions}) == len(conditions)
    assert not {"Reconciling", "Stalled"} <= {condition.type for condition in conditions}


def as_status(update: StatusUpdate) -> Status:
    return Status(update.ref, update.conditions, update.observed_generation, update.drift, failures=update.failures)


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    first = status_update(None, Outcome(change(Action.UPDATE)), NOW)
    second = status_update(as_status(first), ended("failed"), NOW + 50)
    third = status_update(as_status(second), ended("changed"), NOW + 90)

    def since(update: StatusUpdate, name: str) -> float:
        return next(one.last_transition for one in update.conditions if one.type == name)

    assert [since(update, "Ready") for update in (first, second, third)] == [NOW, NOW, NOW + 90]
    assert [since(update, "SpecValid") for update in (first, second, third)] == [NOW, NOW, NOW]
    assert next(one.reason for one in second.conditions if one.type == "Ready") == "TheReason"


def test_failures_are_counted_in_a_row() -> None:
    status = None
    counts = []
    for outcome in (
        ended("failed"),
        ended("failed"),
        Outcome(change(Action.UPDATE)),
        ended("skipped"),
        ended("changed"),
    ):
        update = status_update(status, outcome, NOW)
        counts.append(update.failures)
        status = as_status(update)
    assert counts == [1, 2, 2, 2, 0]


def test_drift_is_kept_until_it_is_gone() -> None:
    assert status_update(None, Outcome(change(Action.UPDATE)), NOW).drift == (("spec.a", 1, 2),)
    assert status_update(None, ended("failed"), NOW).drift == (("spec.a", 1, 2),)
    assert status_update(None, ended("changed"), NOW).drift == ()
    assert status_update(None, Outcome(change()), NOW).drift == ()


def test_only_what_was_looked_at_counts_as_checked() -> None:
    assert status_update(None, Outcome(change()), NOW).checked_at == NOW
    for unseen in (("unknown", "Unreachable"), ("suspended", "Suspended"), ("blocked", "SpecInvalid")):
        assert status_update(None, Outcome(change(obstacle=unseen)), NOW).checked_at is None


@pytest.mark.parametrize("reason", ["NeedsApproval", "ReplaceForbidden"])
def test_what_waits_for_an_approval_says_for_which_change(reason: str) -> None:
    update = status_update(None, Outcome(change(Action.UPDATE, ("blocked", reason))), NOW)
    assert update.pending == {"fingerprint": "f" * 64, "action": "update", "why": "the why"}
    assert status_update(None, Outcome(change(Action.UPDATE, ("blocked", "Protected"))), NOW).pending is None
    assert status_update(None, ended("changed"), NOW).pending is None


def test_protection_is_stored_once_the_resource_is_as_its_document_says() -> None:
    protect = {"deletion": "protect"}
    assert status_update(None, Outcome(change(**protect)), NOW).protected is True
    assert status_update(None, Outcome(change()), NOW).protected is False
    assert status_update(None, ended("changed", planned=change(Action.CREATE, **protect)), NOW).protected is True
    for still_open in (
        Outcome(change(Action.UPDATE)),
        ended("failed"),
        Outcome(change(obstacle=("unknown", "Unreachable"))),
        Outcome(change(Action.DELETE, ("blocked", "Protected"))),
    ):
        assert status_update(None, still_open, NOW).protected is None, "nothing is lifted by a document alone"


OUTCOMES = st.one_of(
    st.builds(ended, st.sampled_from(VERDICTS), stalled=st.booleans()),
    st.builds(
        lambda action, obstacle, problem, unhealthy: Outcome(change(action, obstacle), None, problem, unhealthy),
        st.sampled_from(list(Action)),
        st.none()
        | st.tuples(
            st.sampled_from(["blocked", "unknown", "waiting", "suspended", "notify", "vanished"]), st.just("Reason")
        ),
        st.sampled_from(["", "a.yaml:1:1: bad"]),
        st.sampled_from(["", "sick"]),
    ),
)


@given(OUTCOMES, OUTCOMES)
def test_ready_sums_up_the_parts(first: Outcome, second: Outcome) -> None:
    before = as_status(status_update(None, first, NOW))
    update = status_update(before, second, NOW + 1)
    found = {condition.type: condition for condition in update.conditions}
    parts = [found[name].status for name in ("SpecValid", "Observed", "Applied", "Healthy")]
    expected = "False" if "False" in parts else ("Unknown" if "Unknown" in parts else "True")
    assert found["Ready"].status == expected
    if expected == "True":
        assert not {"Reconciling", "Stalled"} & found.keys()
    for condition in update.conditions:
        previous: Condition | None = before.condition(condition.type)
        moved = previous is None or previous.status != condition.status
        assert condition.last_transition == (NOW + 1 if moved else NOW)
