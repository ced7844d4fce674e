"""What holds for every plan, whatever is wanted, remembered and seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from plain_kind import KEY, KINDS, ref, remembers, sees, wants

from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change, Obstacle, Plan
from reconciler.model.record import Record
from reconciler.model.resource import Resource, ResourceRef
from reconciler.planning.diff import owned
from reconciler.planning.planner import PlanOptions, World, make_plan

EMPTY = Obstacle("blocked", "EmptySource", "the specs name nothing")
NAMES = ["a", "b", "c", "d", "e"]
VALUES = st.integers(0, 2)
SPECS = st.fixed_dictionaries({}, optional=dict.fromkeys(("size", "color", "fixed", "free"), VALUES))
LIFECYCLES = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(["present", "absent"]),
        "suspend": st.booleans(),
        "approval": st.sampled_from(["auto", "auto", "manual"]),
        "deletion": st.sampled_from(["delete", "orphan", "protect"]),
        "replace": st.sampled_from(["forbid", "allow"]),
        "mode": st.sampled_from(["enforce", "enforce", "notify", "observe"]),
        "ignore": st.sampled_from([(), ("spec.free",)]),
    },
)


@dataclass(frozen=True)
class Made:
    """A world with the rules to plan under."""

    wanted: dict[ResourceRef, Resource]
    records: dict[ResourceRef, Record]
    seen: dict[ResourceRef, Observation]
    options: PlanOptions
    frozen: dict[ResourceRef, str]

    def plan(self, *scope: ResourceRef) -> Plan:
        refs = scope or tuple(dict.fromkeys((*self.wanted, *self.records)))
        return make_plan(World(KINDS, self.wanted, self.records, self.seen, refs, self.frozen), self.options)


@st.composite
def worlds(draw: st.DrawFn) -> Made:
    wanted: dict[ResourceRef, Resource] = {}
    records: dict[ResourceRef, Record] = {}
    seen: dict[ResourceRef, Observation] = {}
    frozen: dict[ResourceRef, str] = {}
    for index, name in enumerate(NAMES):
        needs = draw(st.sets(st.sampled_from(NAMES[:index]), max_size=2)) if index else set()
        resource = wants(name, draw(SPECS), depends_on=tuple(sorted(needs)), **draw(LIFECYCLES))
        how = draw(st.sampled_from(["wanted", "wanted", "both", "both", "vanished", "frozen", "nothing"]))
        if how in ("wanted", "both", "frozen"):
            wanted[resource.ref] = resource
        if how in ("both", "vanished", "frozen"):
            records[resource.ref] = remembers(
                resource,
                applied=draw(st.none() | SPECS),
                vanished=how == "vanished",
                protected=draw(st.booleans()),
                touched=draw(st.booleans()),
                ready=draw(st.booleans()),
                suspended=draw(st.sampled_from(["", "", "by hand"])),
            )
        if how == "frozen":
            frozen[resource.ref] = "cannot be read"
        seen[resource.ref] = draw(
            st.one_of(
                SPECS.map(lambda state, name=name: sees(name, state)),
                st.just(sees(name)),
                st.just(sees(name, unknown="no answer")),
                *([st.just(sees(name, pending=ref(sorted(needs)[0])))] if needs else []),
            )
        )
    options = PlanOptions(
        prune=draw(st.booleans()),
        max_deletes=draw(st.integers(0, 5)),
        unsure=draw(st.sampled_from([None, EMPTY])),
        key=KEY,
    )
    return Made(wanted, records, seen, options, frozen)


def carried_out(made: Made, found: Plan) -> Made:
    """The world after every effective change was made and verified."""
    records, seen = dict(made.records), dict(made.seen)
    for change in found.effective:
        if change.action is Action.DELETE:
            if not change.orphan:
                seen[change.ref] = sees(change.ref.name)
            if change.ref in records:
                records[change.ref] = replace(records[change.ref], applied=None, touched=False)
            if change.ref not in made.wanted:
                del records[change.ref]
            continue
        before = dict(made.seen[change.ref].state or {}) if change.action is Action.UPDATE else {}
        gone = {entry.path.removeprefix("spec.") for entry in change.diffs if entry.after is None}
        state = {name: value for name, value in before.items() if name not in gone} | dict(change.after)
        seen[change.ref] = sees(change.ref.name, state)
        known = records.get(change.ref, Record(change.ref, change.resource))
        applied = owned(change.after, change.resource.lifecycle.ignore)
        records[change.ref] = replace(known, applied=applied, touched=True, ready=True)
    return replace(made, records=records, seen=seen)


def by_ref(found: Plan) -> dict[ResourceRef, Change]:
    return {change.ref: change for change in found.changes}


@given(worlds())
def test_what_was_applied_is_not_in_the_next_plan(made: Made) -> None:
    found = made.plan()
    after = by_ref(carried_out(made, found).plan())
    for change in found.effective:
        following = after.get(change.ref)
        if change.orphan and following is not None:
            continue  # a document that says absent, and somebody else's thing under its name: reported again
        assert following is None or not following.is_effective, following


@given(worlds())
def test_planning_and_applying_comes_to_an_end(made: Made) -> None:
    assume(not any(one.lifecycle.deletion == "orphan" for one in made.wanted.values()))
    for _ in range(len(NAMES) + 1):
        found = made.plan()
        made = carried_out(made, found)
    assert made.plan().effective == ()


@given(worlds())
def test_every_action_has_a_printable_difference_and_nothing_else_has(made: Made) -> None:
    for change in made.plan().changes:
        if change.action in (Action.UPDATE, Action.REPLACE):
            assert change.diffs
        elif change.action in (Action.NOOP, Action.DELETE):
            assert not change.diffs
        else:
            assert {entry.path for entry in change.diffs} == ({f"spec.{name}" for name in change.after} or {"spec"})
        if change.is_effective and not change.orphan:
            assert change.steps
            assert change.fingerprint
        if change.obstacle is None and change.action is Action.NOOP:
            assert change.why


@given(worlds())
def test_what_is_not_known_never_leads_to_an_action(made: Made) -> None:
    for change in made.plan().changes:
        if made.seen[change.ref].unknown or change.ref in made.frozen:
            assert change.action is Action.NOOP


@given(worlds())
def test_nothing_is_destroyed_that_must_not_be(made: Made) -> None:
    found = made.plan()
    destroyed = [change for change in found.effective if change.action.destroys]
    assert len(destroyed) <= made.options.max_deletes
    for change in destroyed:
        record = made.records.get(change.ref)
        lifecycle = change.resource.lifecycle
        assert record is None or not record.protected
        assert lifecycle.deletion != "protect"
        if change.action is Action.REPLACE:
            assert lifecycle.replace == "allow"
        elif change.ref not in made.wanted:
            assert made.options.prune
            assert made.options.unsure is None
        else:
            assert lifecycle.state == "absent"


@given(worlds())
def test_nothing_suspended_watched_or_unapproved_is_changed(made: Made) -> None:
    for change in made.plan().effective:
        record = made.records.get(change.ref)
        assert not change.resource.lifecycle.suspend
        assert record is None or not record.suspended
        assert change.resource.lifecycle.approval == "auto"
        assert change.resource.lifecycle.mode == "enforce" or change.action is Action.DELETE


@given(worlds())
def test_what_is_needed_is_made_before_and_deleted_after(made: Made) -> None:
    found = made.plan()
    place = {change.ref: number for number, change in enumerate(found.effective)}
    for change in found.effective:
        for need in change.requires:
            other = by_ref(found).get(need)
            if other is None or not other.is_effective:
                continue
            if change.action is Action.DELETE:
                assert other.action is not Action.DELETE or place[change.ref] < place[need]
            else:
                assert other.action is not Action.DELETE
                assert place[need] < place[change.ref]


@given(worlds())
def test_nothing_goes_while_something_that_stays_needs_it(made: Made) -> None:
    found = by_ref(made.plan())
    for ref_, change in found.items():
        if change.action is not Action.DELETE or not change.is_effective:
            continue
        for other, resource in made.wanted.items():
            if ref_ in resource.lifecycle.depends_on and resource.lifecycle.state == "present":
                raise AssertionError(f"{ref_} goes although {other} needs it")


@given(worlds(), st.randoms(use_true_random=False))
def test_a_plan_depends_on_nothing_but_its_input(made: Made, random: Any) -> None:
    found = made.plan()
    refs = [change.ref for change in found.changes]
    random.shuffle(refs)
    assume(refs)
    assert made.plan(*refs) == found


@given(worlds())
def test_a_change_has_the_same_fingerprint_when_it_is_planned_alone(made: Made) -> None:
    for change in made.plan().effective:
        alone = by_ref(made.plan(change.ref))[change.ref]
        assert alone.fingerprint == change.fingerprint
