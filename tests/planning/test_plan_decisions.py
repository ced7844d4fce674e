"""Every branch of a decision: the action, and what stands in its way."""

from __future__ import annotations

from typing import Any

import pytest
from plain_kind import KINDS, change_of, only, plan, ref, remembers, sees, wants

from reconciler.model.digest import stored_form
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change, Obstacle, Plan
from reconciler.model.record import Record
from reconciler.model.resource import Lifecycle, Resource, ResourceRef
from reconciler.model.secret import Secret

EMPTY = Obstacle("blocked", "EmptySource", "the specs name nothing")
HERE = {"size": 1}


def obstacle(change: Change) -> tuple[str, str] | None:
    return (change.obstacle.kind, change.obstacle.reason) if change.obstacle else None


# One resource that shall be there ---------------------------------------------------------------------------------


def test_what_does_not_exist_is_created_and_every_field_shown() -> None:
    change = only(plan([wants("a", {"size": 1, "net": {"name": "x"}})], [sees("a")]))
    assert (change.action, change.why, obstacle(change)) == (Action.CREATE, "it does not exist", None)
    assert [(entry.path, entry.after) for entry in change.diffs] == [("spec.size", 1), ("spec.net.name", "x")]
    assert [step.name for step in change.steps] == ["create"]
    assert change.is_effective


def test_what_was_applied_and_is_gone_is_created_again_and_says_so() -> None:
    resource = wants("a")
    change = only(plan([resource], [sees("a")], [remembers(resource)]))
    assert (change.action, change.why) == (Action.CREATE, "it was applied before and is gone")


def test_what_is_as_desired_is_left_alone() -> None:
    change = only(plan([wants("a")], [sees("a", {"size": 1, "other": 2})]))
    assert (change.action, change.why, change.diffs, change.steps) == (Action.NOOP, "as desired", (), ())


def test_a_difference_is_an_update_that_names_the_field() -> None:
    change = only(plan([wants("a")], [sees("a", {"size": 2})]))
    assert (change.action, change.why) == (Action.UPDATE, "spec.size differs")
    change = only(plan([wants("a", {"size": 1, "color": "x"})], [sees("a", {})]))
    assert change.why == "2 fields differ"


def test_a_field_dropped_from_the_spec_is_an_update() -> None:
    before = wants("a", {"size": 1, "color": "red"})
    change = only(plan([wants("a")], [sees("a", {"size": 1, "color": "red"})], [remembers(before)]))
    assert change.action is Action.UPDATE
    assert [(entry.path, entry.before, entry.after) for entry in change.diffs] == [("spec.color", "red", None)]


REPLACED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "the field itself": ({"fixed": 1}, {"fixed": 2}, "spec.fixed"),
    "a field in a mapping": ({"net": {"cidr": 1}}, {"net": {"cidr": 2}}, "spec.net.cidr"),
    "a field of a list member": ({"disks": [{"id": 1}]}, {"disks": [{"id": 2}]}, "spec.disks[0].id"),
    "a mapping that held it": ({"net": None}, {"net": {"cidr": 1}}, "spec.net"),
    "a list member that held it": ({"disks": []}, {"disks": [{"id": 1}]}, "spec.disks[0]"),
}


@pytest.mark.parametrize("case", REPLACED.values(), ids=REPLACED.keys())
def test_an_immutable_field_needs_a_replace_which_needs_to_be_allowed(
    case: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    desired, observed, path = case
    change = only(plan([wants("a", desired)], [sees("a", observed)]))
    assert change.action is Action.REPLACE
    assert obstacle(change) == ("blocked", "ReplaceForbidden")
    assert change.obstacle is not None
    assert path in change.obstacle.message
    allowed = only(plan([wants("a", desired, replace="allow")], [sees("a", observed)]))
    assert (allowed.action, obstacle(allowed)) == (Action.REPLACE, None)


def test_a_field_beside_an_immutable_one_is_an_update() -> None:
    change = only(plan([wants("a", {"net": {"name": "x"}})], [sees("a", {"net": {"name": "y", "cidr": 1}})]))
    assert change.action is Action.UPDATE


def test_a_replace_passes_when_this_very_change_was_approved() -> None:
    wanted, seen = [wants("a", {"fixed": 1})], [sees("a", {"fixed": 2})]
    blocked = only(plan(wanted, seen))
    approved = frozenset([(ref("a"), blocked.fingerprint)])
    assert obstacle(only(plan(wanted, seen, approvals=approved))) is None
    moved = only(plan(wanted, [sees("a", {"fixed": 3})], approvals=approved))
    assert obstacle(moved) == ("blocked", "ReplaceForbidden")


def test_a_protected_resource_is_not_replaced_even_if_that_is_allowed() -> None:
    resource = wants("a", {"fixed": 1}, replace="allow")
    protecting = remembers(resource, protected=True)
    assert obstacle(only(plan([resource], [sees("a", {"fixed": 2})], [protecting]))) == ("blocked", "Protected")
    change = only(plan([wants("a", {"fixed": 1}, replace="allow", deletion="protect")], [sees("a", {"fixed": 2})]))
    assert obstacle(change) == ("blocked", "Protected")


def test_manual_approval_holds_every_change_until_it_was_given_for_this_very_one() -> None:
    wanted, seen = [wants("a", approval="manual")], [sees("a", {"size": 2})]
    waiting = only(plan(wanted, seen))
    assert obstacle(waiting) == ("blocked", "NeedsApproval")
    assert waiting.steps, "what is to be approved is shown with its steps"
    approved = frozenset([(ref("a"), waiting.fingerprint)])
    assert only(plan(wanted, seen, approvals=approved)).is_effective
    assert not only(plan(wanted, [sees("a", {"size": 3})], approvals=approved)).is_effective
    assert only(plan(wanted, [sees("a", HERE)])).obstacle is None


def test_mode_notify_reports_the_difference_and_leaves_it() -> None:
    change = only(plan([wants("a", mode="notify")], [sees("a", {"size": 2})]))
    assert (change.action, obstacle(change)) == (Action.UPDATE, ("notify", "DriftReported"))
    assert change.diffs


def test_mode_observe_changes_nothing() -> None:
    for seen in (sees("a"), sees("a", {"size": 2})):
        change = only(plan([wants("a", mode="observe")], [seen]))
        assert (change.action, change.diffs, change.steps) == (Action.NOOP, (), ())


@pytest.mark.parametrize("state", [None, {"size": 2}], ids=["absent", "different"])
def test_suspended_by_document_or_by_hand_is_left_alone(state: Any) -> None:
    change = only(plan([wants("a", suspend=True)], [sees("a", state)]))
    assert (change.action, obstacle(change)) == (Action.NOOP, ("suspended", "Suspended"))
    by_hand = remembers(wants("a"), suspended="debugging")
    change = only(plan([wants("a")], [sees("a", state)], [by_hand]))
    assert (change.action, obstacle(change)) == (Action.NOOP, ("suspended", "Suspended"))
    assert change.obstacle is not None
    assert change.obstacle.message == "debugging"


UNKNOWN: dict[str, tuple[Observation | None, str]] = {
    "nobody looked": (None, "NotObserved"),
    "could not look": (sees("a", unknown="no answer"), "NotObserved"),
    "unreachable": (sees("a", unknown="no route", unreachable=True), "Unreachable"),
}


@pytest.mark.parametrize("lifecycle", [{}, {"state": "absent"}, {"mode": "notify"}], ids=str)
@pytest.mark.parametrize("case", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_could_not_be_looked_at_is_never_taken_for_absent(
    case: tuple[Observation | None, str], lifecycle: dict[str, Any]
) -> None:
    seen, reason = case
    resource = wants("a", **lifecycle)
    change = only(plan([resource], [seen] if seen else [], [remembers(resource)], prune=True))
    assert (change.action, obstacle(change), change.is_effective) == (Action.NOOP, ("unknown", reason), False)


def test_a_kind_that_is_not_installed_is_reported() -> None:
    resource = Resource(ResourceRef("Other", "a"), {})
    change = only(plan([resource], [Observation(resource.ref, HERE)]))
    assert (change.action, obstacle(change)) == (Action.NOOP, ("blocked", "UnknownKind"))


def test_what_lives_in_something_that_this_plan_makes_is_a_conditional_create() -> None:
    parent, child = wants("parent"), wants("child", {"size": 1, "needs": ["parent"]})
    found = plan([parent, child], [sees("parent"), sees("child", pending=ref("parent"))])
    change = change_of(found, "child")
    assert (change.action, change.conditional, change.is_effective) == (Action.CREATE, True, True)
    assert change.why == "lives in Plain/parent, which this plan makes"
    assert [one.ref.name for one in found.effective] == ["parent", "child"]


def test_what_lives_in_something_that_nobody_makes_waits() -> None:
    child = wants("child", {"needs": ["parent"]})
    change = only(plan([child], [sees("child", pending=ref("parent"))]))
    assert obstacle(change) == ("waiting", "DependencyNotReady")


def test_ignored_fields_are_neither_compared_nor_written() -> None:
    resource = wants("a", {"size": 1, "color": "red"}, ignore=("spec.size",))
    assert only(plan([resource], [sees("a", {"size": 9, "color": "red"})])).action is Action.NOOP
    change = only(plan([resource], [sees("a", {"size": 9, "color": "blue"})]))
    assert [entry.path for entry in change.diffs] == ["spec.color"]
    assert change.after == {"size": 9, "color": "red"}
    for nothing_there in (sees("a"), sees("a", pending=ref("base"))):
        created = change_of(plan([resource, wants("base")], [nothing_there, sees("base")]), "a")
        assert created.after == {"color": "red"}
        assert [entry.path for entry in created.diffs] == ["spec.color"]


@pytest.mark.parametrize(("mode", "expected"), [("notify", "notify"), ("observe", None)])
def test_the_mode_holds_also_where_nobody_could_look_yet(mode: str, expected: str | None) -> None:
    child = wants("child", {"needs": ["parent"]}, mode=mode)
    found = plan([wants("parent"), child], [sees("parent"), sees("child", pending=ref("parent"))])
    change = change_of(found, "child")
    assert not change.is_effective
    assert (change.obstacle.kind if change.obstacle else None) == expected


def test_a_secret_is_compared_by_digest_and_never_shown() -> None:
    wanted = wants("a", {"password": Secret("hunter2", "env:P")})
    key = b"k" * 32
    same = stored_form(wanted.spec, key)
    assert only(plan([wanted], [sees("a", same)], key=key)).action is Action.NOOP
    rotated = stored_form({"password": Secret("hunter1", "env:P")}, key)
    change = only(plan([wanted], [sees("a", rotated)], key=key))
    assert [(entry.path, entry.before, entry.after, entry.secret) for entry in change.diffs] == [
        ("spec.password", "***", "***", True)
    ]
    assert "hunter" not in repr(change)


# What shall not be there ------------------------------------------------------------------------------------------


def absent(**values: Any) -> Resource:
    return wants("a", state="absent", **values)


def test_absent_and_never_touched_is_as_wanted() -> None:
    change = only(plan([absent()], [sees("a")]))
    assert (change.action, change.why, change.obstacle) == (Action.NOOP, "absent, as wanted", None)


def test_absent_is_deleted_where_it_is_there() -> None:
    change = only(plan([absent()], [sees("a", HERE)]))
    assert (change.action, change.why) == (Action.DELETE, "its document says state: absent")
    assert change.is_effective


def test_absent_is_deleted_where_steps_ran_although_nothing_is_seen() -> None:
    resource = absent()
    change = only(plan([resource], [sees("a")], [remembers(resource, applied=None)]))
    assert (change.action, change.is_effective) == (Action.DELETE, True)


def vanished(**values: Any) -> Record:
    return remembers(wants("a"), vanished=True, vanished_why="specs/a.yaml no longer has it", **values)


def test_vanished_is_reported_and_deleted_only_with_prune() -> None:
    kept = only(plan([], [sees("a", HERE)], [vanished()]))
    assert (kept.action, obstacle(kept)) == (Action.NOOP, ("vanished", "NotInSpecs"))
    assert "specs/a.yaml no longer has it" in kept.why
    pruned = only(plan([], [sees("a", HERE)], [vanished()], prune=True))
    assert (pruned.action, pruned.is_effective) == (Action.DELETE, True)
    assert "specs/a.yaml no longer has it" in pruned.why


def test_protection_is_the_stores_also_after_the_document_is_gone() -> None:
    change = only(plan([], [sees("a", HERE)], [vanished(protected=True)], prune=True))
    assert (change.action, obstacle(change)) == (Action.DELETE, ("blocked", "Protected"))


def test_protection_in_the_document_holds_before_it_was_ever_applied() -> None:
    change = only(plan([absent(deletion="protect")], [sees("a", HERE)]))
    assert obstacle(change) == ("blocked", "Protected")


def test_orphaning_runs_no_steps() -> None:
    change = only(plan([absent(deletion="orphan")], [sees("a", HERE)]))
    assert (change.action, change.orphan, change.steps, change.is_effective) == (Action.DELETE, True, (), True)


def test_what_vanished_and_was_never_ours_is_forgotten_and_stays() -> None:
    change = only(plan([], [sees("a", HERE)], [vanished(touched=False)], prune=True))
    assert (change.action, change.orphan, change.steps) == (Action.DELETE, True, ())
    assert change.why.endswith("nothing of what is there is ours, so it stays")


def test_a_source_that_names_nothing_at_all_deletes_nothing() -> None:
    change = only(plan([], [sees("a", HERE)], [vanished()], prune=True, unsure=EMPTY))
    assert obstacle(change) == ("blocked", "EmptySource")
    change = only(plan([absent()], [sees("a", HERE)], unsure=EMPTY))
    assert change.is_effective, "state: absent is somebody's word, not a conclusion"


def test_a_delete_that_needs_approval_waits_for_it() -> None:
    wanted, seen = [absent(approval="manual")], [sees("a", HERE)]
    waiting = only(plan(wanted, seen))
    assert obstacle(waiting) == ("blocked", "NeedsApproval")
    assert only(plan(wanted, seen, approvals=frozenset([(ref("a"), waiting.fingerprint)]))).is_effective


# Between resources ------------------------------------------------------------------------------------------------


def test_a_resource_whose_spec_cannot_be_read_is_left_alone() -> None:
    change = only(plan([wants("a")], [], frozen={ref("a"): "specs/a.yaml:3:1: bad"}))
    assert (change.action, obstacle(change)) == (Action.NOOP, ("blocked", "SpecInvalid"))
    assert change.target == "here"


NEEDS: dict[str, tuple[Any, str]] = {
    "does not exist": ({}, "does not exist"),
    "remembered and ready": ({"remembered": [remembers(wants("base"))]}, ""),
    "remembered and not ready": ({"remembered": [remembers(wants("base"), ready=False)]}, "is not ready"),
    "made by this plan": ({"wanted": [wants("base")], "seen": [sees("base")]}, ""),
    "there": ({"wanted": [wants("base")], "seen": [sees("base", HERE)]}, ""),
    "only watched and there": ({"wanted": [wants("base", mode="observe")], "seen": [sees("base", HERE)]}, ""),
    "only watched and not there": (
        {"wanted": [wants("base", mode="observe")], "seen": [sees("base")]},
        "is not there",
    ),
    "drifted, and only reported": ({"wanted": [wants("base", mode="notify")], "seen": [sees("base", {"size": 9})]}, ""),
    "suspended and there": ({"wanted": [wants("base", suspend=True)], "seen": [sees("base", HERE)]}, ""),
    "suspended and not looked at, but applied before": (
        {"wanted": [wants("base", suspend=True)], "remembered": [remembers(wants("base"), ready=False)]},
        "",
    ),
    "suspended and never there": ({"wanted": [wants("base", suspend=True)]}, "is not there"),
    "unreachable": (
        {"wanted": [wants("base")], "seen": [sees("base", unknown="no route", unreachable=True)]},
        "cannot be made ready: no route",
    ),
    "waits for an approval": (
        {"wanted": [wants("base", approval="manual")], "seen": [sees("base")]},
        "cannot be made ready: waits for: reconciler approve Plain/base",
    ),
    "to be deleted": ({"wanted": [wants("base", state="absent")], "seen": [sees("base", HERE)]}, "is to be deleted"),
    "absent as wanted": ({"wanted": [wants("base", state="absent")], "seen": [sees("base")]}, "is not there"),
    "vanished but there": (
        {"seen": [sees("base", HERE)], "remembered": [remembers(wants("base"), vanished=True)]},
        "",
    ),
    "vanished and gone": (
        {"seen": [sees("base")], "remembered": [remembers(wants("base"), vanished=True)]},
        "is no longer in the specs",
    ),
}


@pytest.mark.parametrize("case", NEEDS.values(), ids=NEEDS.keys())
@pytest.mark.parametrize("how", ["dependsOn", "kind"])
def test_a_change_waits_while_what_it_needs_is_not_there(case: tuple[dict[str, Any], str], how: str) -> None:
    given, why = case
    top = wants("top", depends_on=("base",)) if how == "dependsOn" else wants("top", {"size": 1, "needs": ["base"]})
    scope = ["top"] if "wanted" not in given and "seen" not in given else None
    found = plan(
        [*given.get("wanted", ()), top], [*given.get("seen", ()), sees("top")], given.get("remembered", ()), scope=scope
    )
    change = change_of(found, "top")
    if not why:
        assert change.is_effective
        return
    assert obstacle(change) == ("waiting", "DependencyNotReady")
    assert change.obstacle is not None
    assert change.obstacle.message == f"needs Plain/base, which {why}"


def test_waiting_goes_through_the_whole_chain() -> None:
    chain = [wants("a", approval="manual"), wants("b", depends_on=("a",)), wants("c", depends_on=("b",))]
    found = plan(chain, [sees("a"), sees("b"), sees("c")])
    assert [obstacle(change_of(found, name)) for name in "abc"] == [
        ("blocked", "NeedsApproval"),
        ("waiting", "DependencyNotReady"),
        ("waiting", "DependencyNotReady"),
    ]


def test_what_others_still_need_is_not_deleted_and_they_are_named() -> None:
    base = wants("base", state="absent")
    users = [wants(name, depends_on=("base",)) for name in ("one", "two")]
    seen = [sees(name, HERE) for name in ("base", "one", "two")]
    change = change_of(plan([base, *users], seen), "base")
    assert obstacle(change) == ("blocked", "StillNeeded")
    assert change.obstacle is not None
    assert change.obstacle.message == "still needed by Plain/one, Plain/two"


def test_what_only_a_leftover_needs_is_not_deleted_before_it() -> None:
    base = wants("base", state="absent")
    leftover = remembers(wants("user", depends_on=("base",)), vanished=True)
    seen = [sees("base", HERE), sees("user", HERE)]
    assert obstacle(change_of(plan([base], seen, [leftover]), "base")) == ("blocked", "StillNeeded")
    both = plan([base], seen, [leftover], prune=True)
    assert [change.ref.name for change in both.effective] == ["user", "base"]
    never_made = remembers(wants("user", depends_on=("base",)), vanished=True, touched=False)
    assert change_of(plan([base], seen, [never_made]), "base").is_effective


def test_when_a_dependent_stays_so_does_everything_below_it() -> None:
    top = wants("top", state="absent", deletion="protect", depends_on=("middle",))
    middle = wants("middle", state="absent", depends_on=("base",))
    base = wants("base", state="absent")
    found = plan([top, middle, base], [sees(name, HERE) for name in ("top", "middle", "base")])
    assert [obstacle(change_of(found, name)) for name in ("top", "middle", "base")] == [
        ("blocked", "Protected"),
        ("blocked", "StillNeeded"),
        ("blocked", "StillNeeded"),
    ]


def test_deletes_run_last_and_dependents_before_what_they_need() -> None:
    gone = [wants("x", state="absent", depends_on=("y",)), wants("y", state="absent", depends_on=("z",))]
    gone.append(wants("z", state="absent"))
    found = plan([*gone, wants("new")], [*(sees(name, HERE) for name in "xyz"), sees("new")])
    assert [change.ref.name for change in found.effective] == ["new", "x", "y", "z"]


def many(count: int, **lifecycle: Any) -> tuple[list[Resource], list[Observation]]:
    names = [f"n{number}" for number in range(count)]
    return [wants(name, **lifecycle) for name in names], [sees(name, {"size": 1, "fixed": 2}) for name in names]


def too_many(found: Plan) -> int:
    return sum(1 for change in found.changes if obstacle(change) == ("blocked", "TooManyDeletes"))


def test_the_brake_stops_all_deletes_when_there_are_more_than_allowed() -> None:
    wanted, seen = many(6, state="absent")
    found = plan(wanted, seen)
    assert (too_many(found), found.effective) == (6, ())
    message = found.changes[0].obstacle.message if found.changes[0].obstacle else ""
    assert "--max-deletes 6" in message
    assert len(plan(wanted, seen, max_deletes=6).effective) == 6
    assert len(plan(*many(5, state="absent")).effective) == 5


def test_a_replace_counts_as_a_delete_and_nothing_else_is_held() -> None:
    names = [f"n{number}" for number in range(6)]
    wanted = [wants(name, {"fixed": 1}, replace="allow") for name in names]
    found = plan([*wanted, wants("new")], [*(sees(name, {"fixed": 2}) for name in names), sees("new")])
    assert too_many(found) == 6
    assert [change.ref.name for change in found.effective] == ["new"]


def test_deletes_that_wait_elsewhere_count_so_that_none_slips_under_the_brake() -> None:
    found = plan([absent()], [sees("a", HERE)], pending_destroys=6)
    assert too_many(found) == 1
    assert len(plan([wants("a")], [sees("a")], pending_destroys=6).effective) == 1


def test_blocked_deletes_do_not_count_against_the_brake() -> None:
    wanted, seen = many(5, state="absent")
    protected = [wants(f"p{number}", state="absent", deletion="protect") for number in range(5)]
    found = plan([*wanted, *protected], [*seen, *(sees(one.ref.name, HERE) for one in protected)])
    assert len(found.effective) == 5


# Fingerprints -----------------------------------------------------------------------------------------------------

BEFORE = wants("a", {"size": 1, "color": "red"}, ignore=("spec.free",))


def fingerprint(
    resource: Resource = BEFORE, state: Any = None, applied: Any = None, kinds_version: int = 1, **options: Any
) -> str:
    seen = {"size": 5, "color": "red", "free": 1, "other": 1, "old": 1} if state is None else state
    record = remembers(resource, applied=applied or {"size": 1, "color": "red", "old": 1})
    return only(plan([resource], [sees("a", seen)], [record], **options)).fingerprint


SAME: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a field that nobody names": {"state": {"size": 5, "color": "red", "free": 1, "other": 2, "old": 1}},
    "an ignored field": {"state": {"size": 5, "color": "red", "free": 2, "other": 1, "old": 1}},
    "the rules of the plan": {"prune": True, "max_deletes": 0},
    "the time": {"now": 5.0},
}
MOVED: dict[str, dict[str, Any]] = {
    "a field that differs": {"state": {"size": 6, "color": "red", "free": 1, "other": 1, "old": 1}},
    "a field that is as desired now": {"state": {"size": 5, "color": "blue", "free": 1, "other": 1, "old": 1}},
    "a field that is to be dropped": {"state": {"size": 5, "color": "red", "free": 1, "other": 1, "old": 2}},
    "what was applied": {"applied": {"size": 2, "color": "red", "old": 1}},
    "the generation": {"resource": wants("a", {"size": 1, "color": "red"}, generation=2, ignore=("spec.free",))},
    "the spec": {"resource": wants("a", {"size": 2, "color": "red"}, ignore=("spec.free",))},
    "the life cycle": {"resource": wants("a", {"size": 1, "color": "red"}, ignore=("spec.free",), interval=9.0)},
}


@pytest.mark.parametrize("moved", SAME.values(), ids=SAME.keys())
def test_a_fingerprint_stays_when_only_something_unrelated_moves(moved: dict[str, Any]) -> None:
    assert fingerprint(**moved) == fingerprint()


@pytest.mark.parametrize("moved", MOVED.values(), ids=MOVED.keys())
def test_a_fingerprint_moves_with_everything_that_the_change_was_computed_from(moved: dict[str, Any]) -> None:
    assert fingerprint(**moved) != fingerprint()


def test_a_fingerprint_moves_with_the_kinds_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint()
    monkeypatch.setattr(KINDS["Plain"], "steps_version", 2)
    assert fingerprint() != before


def test_only_dependencies_of_what_runs_have_a_fingerprint_beside_the_changes() -> None:
    wanted = [wants("base"), wants("top", {"size": 2}, depends_on=("base",)), wants("other")]
    found = plan(wanted, [sees(name, HERE) for name in ("base", "top", "other")])
    assert change_of(found, "base").fingerprint
    assert not change_of(found, "other").fingerprint


def test_the_summary_counts_what_is_held_back_too() -> None:
    wanted = [wants("new"), wants("same"), wants("old", {"size": 2}), wants("away", state="absent", deletion="protect")]
    found = plan(wanted, [sees("new"), sees("same", HERE), sees("old", HERE), sees("away", HERE)])
    assert found.summary() == "Plan: 1 to create, 1 to update, 0 to replace, 1 to delete, 1 unchanged"


def test_the_default_life_cycle_deletes_with_care() -> None:
    made = Lifecycle()
    assert (made.deletion, made.replace, made.approval, made.mode) == ("delete", "forbid", "auto", "enforce")
