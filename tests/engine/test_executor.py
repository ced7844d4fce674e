"""One change: journalled before and after each step, looked at before and after, and never more than was planned."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from inside import Inside
from place import PLUGINS, Place, entry, kill
from probe import Hearing, Probe, document
from sqlalchemy import update

from reconciler.errors import TerminalError, TransientError, UnreachableError, WaitingError
from reconciler.kind import Context, Step
from reconciler.model.observation import Observation
from reconciler.model.resource import ResourceRef
from reconciler.model.result import Result
from reconciler.store.tables import resources, statuses

Opened = Callable[..., Inside]
ONE = "Probe/one"

HOLDER = """
import sys
from pathlib import Path
from reconciler.store import leases
from reconciler.store.database import Database
from reconciler.store.owners import Owner
database = Database.at(Path(sys.argv[1]))
leases.acquire(database, sys.argv[2], Owner.this_process("somebody else"))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def engine(place: Place, opened: Opened, probe: Probe) -> Inside:
    place.write("a.yaml", document())
    return opened(kinds=[probe])


def steps_of(place: Place) -> list[tuple[str, str]]:
    return [(row["name"], row["outcome"]) for row in place.rows("SELECT name, outcome FROM steps ORDER BY id")]


def change_of(place: Place) -> dict[str, Any]:
    return place.rows("SELECT * FROM changes ORDER BY id DESC LIMIT 1")[0]


def fail(error: Exception) -> Callable[[Context], None]:
    def run(_context: Context) -> None:
        raise error

    return run


def nothing(_context: Context) -> None:
    return None


def test_intent_is_journalled_before_and_the_outcome_after_each_step(
    place: Place, engine: Inside, probe: Probe
) -> None:
    seen: list[list[tuple[str, str]]] = []

    def look(_context: Context) -> None:
        seen.append(steps_of(place))

    probe.script = [Step("first", "First", look), Step("second", "Second", look), Step("write", "Write", probe.write)]
    hearing = Hearing()
    result = engine.apply(listener=hearing)["one"]
    assert seen == [[("first", "open")], [("first", "done"), ("second", "open")]]
    assert steps_of(place) == [("first", "done"), ("second", "done"), ("write", "done")]
    assert (result.verdict, result.reason, result.message) == ("changed", "Applied", "created and verified")
    assert [name for name, _ in result.outcomes] == ["first", "second", "write"]
    assert hearing.heard[0] == "start one"
    assert hearing.heard[-1] == "end one changed"
    assert (change_of(place)["verdict"], change_of(place)["message"]) == ("changed", "created and verified")


def test_what_a_step_returns_is_journalled_and_given_to_later_ones(place: Place, engine: Inside, probe: Probe) -> None:
    given: list[Any] = []

    def second(context: Context) -> None:
        given.append(dict(context.outputs))
        probe.write(context)

    probe.script = [Step("first", "First", lambda _: {"number": 7}), Step("second", "Second", second)]
    engine.apply()
    assert given == [{"first": {"number": 7}}]
    (row,) = place.rows("SELECT outputs FROM steps WHERE name = 'first'")
    assert json.loads(row["outputs"]) == {"number": 7}


def test_a_step_that_fails_is_the_last_one(place: Place, engine: Inside, probe: Probe) -> None:
    probe.script = [
        Step("first", "First", nothing),
        Step("second", "Second", fail(TransientError("Broken", "it broke"))),
        Step("write", "Write", probe.write),
    ]
    result = engine.apply()["one"]
    assert steps_of(place) == [("first", "done"), ("second", "failed")]
    assert (result.verdict, result.reason, result.message, result.stalled) == ("failed", "Broken", "it broke", False)
    assert probe.there == {}
    status = engine.status(ONE)
    assert status.failures == 1
    ready = status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason, ready.message) == ("False", "Broken", "it broke")


ENDS: dict[str, tuple[Exception, tuple[str, str, bool, float | None]]] = {
    "terminal": (TerminalError("Impossible", "never"), ("failed", "Impossible", True, None)),
    "waiting": (WaitingError("NotYet", "soon", 7.0), ("failed", "NotYet", False, 7.0)),
    "unreachable": (UnreachableError("NoRoute", "gone"), ("unreachable", "NoRoute", False, None)),
    "a mistake": (ZeroDivisionError("oops"), ("failed", "UnexpectedError", False, None)),
}


@pytest.mark.parametrize("case", ENDS.values(), ids=ENDS.keys())
def test_the_error_says_by_its_type_what_happens_next(
    engine: Inside, probe: Probe, case: tuple[Exception, tuple[str, str, bool, float | None]]
) -> None:
    error, expected = case
    probe.script = [Step("write", "Write", fail(error))]
    result = engine.apply()["one"]
    assert (result.verdict, result.reason, result.stalled, result.retry_after) == expected
    conditions = {condition.type for condition in engine.status(ONE).conditions}
    assert ("Stalled" in conditions, "Reconciling" in conditions) == (expected[2], not expected[2])


def test_what_was_done_is_undone_backwards_and_journalled(place: Place, engine: Inside, probe: Probe) -> None:
    undone: list[str] = []
    probe.script = [
        Step("a", "A", nothing, undo=lambda _: undone.append("a")),
        Step("b", "B", nothing),
        Step("c", "C", nothing, undo=lambda _: undone.append("c")),
        Step("d", "D", fail(TransientError("Broken", "it broke")), undo=lambda _: undone.append("d")),
    ]
    result = engine.apply()["one"]
    assert undone == ["c", "a"]
    assert steps_of(place)[4:] == [("undo-c", "done"), ("undo-a", "done")]
    assert (result.verdict, result.reason) == ("failed", "Broken")


def test_an_undo_that_fails_does_not_hide_why_it_was_needed(place: Place, engine: Inside, probe: Probe) -> None:
    undone: list[str] = []
    probe.script = [
        Step("a", "A", nothing, undo=lambda _: undone.append("a")),
        Step("b", "B", nothing, undo=fail(TransientError("Other", "cannot be undone"))),
        Step("c", "C", fail(TransientError("Broken", "it broke"))),
    ]
    assert engine.apply()["one"].reason == "Broken"
    assert undone == ["a"]
    assert steps_of(place)[3:] == [("undo-b", "failed"), ("undo-a", "done")]


@pytest.mark.parametrize("why", ["waiting", "stopping", "superseded"])
def test_nothing_is_undone_where_nothing_failed(engine: Inside, probe: Probe, why: str) -> None:
    undone: list[str] = []

    def first(_context: Context) -> None:
        ref = ResourceRef("Probe", "one")
        if why == "stopping":
            engine.runtime.stopping.set()
        elif why == "superseded":
            engine.workspace.desired[ref] = replace(engine.workspace.desired[ref], generation=9)

    last = fail(WaitingError("NotYet", "soon")) if why == "waiting" else probe.write
    probe.script = [Step("a", "A", first, undo=lambda _: undone.append("a")), Step("b", "B", last)]
    result = engine.apply()["one"]
    expected = {"waiting": "NotYet", "stopping": "ShuttingDown", "superseded": "Superseded"}
    assert (result.verdict, result.reason, undone) == ("failed", expected[why], [])


def test_a_newer_generation_takes_over_only_at_a_safe_point(place: Place, engine: Inside, probe: Probe) -> None:
    def first(_context: Context) -> None:
        ref = ResourceRef("Probe", "one")
        engine.workspace.desired[ref] = replace(engine.workspace.desired[ref], generation=9)

    probe.script = [
        Step("first", "First", first),
        Step("unsafe", "Not now", nothing, safe_point=False),
        Step("write", "Write", probe.write),
    ]
    result = engine.apply()["one"]
    assert steps_of(place) == [("first", "done"), ("unsafe", "done")]
    assert (result.reason, result.retry_after) == ("Superseded", 0.0)
    assert "generation 9 takes over before step write" in result.message


def test_steps_that_change_nothing_are_not_taken_for_success(engine: Inside, probe: Probe) -> None:
    probe.script = [Step("write", "Write", nothing)]
    result = engine.apply()["one"]
    assert (result.verdict, result.reason) == ("failed", "NotVerified")
    assert "it still differs: spec.text" in result.message


def test_a_delete_that_leaves_it_there_is_not_taken_for_success(place: Place, engine: Inside, probe: Probe) -> None:
    engine.apply()
    place.write("a.yaml", document(lifecycle={"state": "absent"}))
    probe.remove = nothing  # type: ignore[method-assign]
    result = engine.apply()["one"]
    assert (result.verdict, result.message) == ("failed", "every step was done, but it is still there")


def test_what_cannot_be_seen_after_the_last_step_is_not_taken_for_success(engine: Inside, probe: Probe) -> None:
    def write(context: Context) -> None:
        probe.write(context)
        probe.look = lambda resources, _: {one.ref: Observation(one.ref, unknown="no answer") for one in resources}

    probe.script = [Step("write", "Write", write)]
    result = engine.apply()["one"]
    assert (result.verdict, result.reason) == ("failed", "NotVerified")
    assert "could not look: no answer" in result.message


def test_what_moved_since_the_plan_is_not_touched(place: Place, engine: Inside, probe: Probe) -> None:
    probe.there["one"] = {"text": "drifted"}
    looked = engine.plan()
    probe.there["one"] = {"text": "drifted otherwise"}
    hearing = Hearing()
    result = engine.carry_out(looked, listener=hearing)["one"]
    assert (result.verdict, result.reason, result.retry_after) == ("blocked", "Moved", 0.0)
    assert hearing.heard == ["end one blocked"]
    assert (steps_of(place), probe.there) == ([], {"one": {"text": "drifted otherwise"}})


def test_what_somebody_else_did_meanwhile_is_ok(place: Place, engine: Inside, probe: Probe) -> None:
    looked = engine.plan()
    probe.there["one"] = {"text": "hello"}
    result = engine.carry_out(looked)["one"]
    assert (result.verdict, result.reason) == ("ok", "AsDesired")
    assert steps_of(place) == []


def test_what_cannot_be_looked_at_any_more_is_not_touched(place: Place, engine: Inside, probe: Probe) -> None:
    looked = engine.plan()
    probe.look = lambda resources, _: {
        one.ref: Observation(one.ref, unknown="no route", unreachable=True) for one in resources
    }
    result = engine.carry_out(looked)["one"]
    assert (result.verdict, result.message, steps_of(place)) == ("unreachable", "no route", [])


def set_row(engine: Inside, table: Any, **values: Any) -> None:
    with engine.runtime.database.write() as connection:
        connection.execute(update(table).values(**values))


@pytest.mark.parametrize(
    ("values", "verdict", "reason"),
    [
        ({"protected": 1}, "blocked", "Protected"),
        ({"suspend_since": 1.0, "suspend_reason": "wait"}, "skipped", "Suspended"),
    ],
    ids=["protected", "suspended"],
)
def test_what_the_store_says_right_before_counts(
    place: Place, engine: Inside, probe: Probe, values: dict[str, Any], verdict: str, reason: str
) -> None:
    """Also where the change itself is exactly the planned one."""
    engine.apply()
    place.write("a.yaml", document(lifecycle={"state": "absent"}))
    looked = engine.plan()
    engine.workspace.record()
    set_row(engine, statuses, **values)
    result = engine.carry_out(looked)["one"]
    assert (result.verdict, result.reason) == (verdict, reason)
    assert probe.there == {"one": {"text": "hello"}}


def test_an_older_generation_is_not_applied_over_a_newer_one(place: Place, engine: Inside, probe: Probe) -> None:
    looked = engine.plan()
    engine.workspace.record()
    set_row(engine, resources, generation=2, digest="of another process")
    result = engine.carry_out(looked, record=False)["one"]
    assert (result.verdict, result.reason, probe.there) == ("blocked", "Moved", {})


def test_steps_that_are_not_the_planned_ones_are_not_run(place: Place, engine: Inside, probe: Probe) -> None:
    looked = engine.plan()
    probe.script = [Step("write", "Write", probe.write), Step("more", "And more", nothing)]
    assert engine.carry_out(looked)["one"].reason == "Moved"
    probe.script = [Step("write", "Write", probe.write)]
    asked: list[int] = []

    def changing(change: Any) -> list[Step]:
        asked.append(1)
        return [Step("write", "Write", probe.write), *([Step("more", "More", nothing)] if len(asked) > 1 else [])]

    looked = engine.plan()
    probe.steps = changing  # type: ignore[method-assign]
    result = engine.carry_out(looked)["one"]
    assert (result.verdict, result.reason, len(asked)) == ("blocked", "StepsMoved", 2)
    assert (steps_of(place), probe.there) == ([], {})


@contextmanager
def held(place: Place, name: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(place.database_file), name]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(PLUGINS)},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        kill(process)


def test_what_another_process_works_on_is_left_to_it(place: Place, engine: Inside, probe: Probe) -> None:
    with held(place, ONE) as process:
        result = engine.apply()["one"]
    assert (result.verdict, result.reason) == ("blocked", "LeaseHeld")
    assert f"pid {process.pid}" in result.message
    assert (steps_of(place), probe.there) == ([], {})
    assert engine.apply()["one"].verdict == "changed", "it is dead now, and held nothing"


def test_a_lease_is_waited_for_as_long_as_was_asked(place: Place, opened: Opened, probe: Probe) -> None:
    place.write("a.yaml", document())
    engine = opened(kinds=[probe], lease_wait=60.0)
    with held(place, ONE) as process:
        timer = threading.Timer(0.5, process.kill)
        timer.start()
        assert engine.apply()["one"].verdict == "changed"
        timer.join()


def test_each_lease_is_given_back(place: Place, engine: Inside, probe: Probe) -> None:
    engine.apply()
    probe.there.clear()
    probe.script = [Step("write", "Write", fail(TransientError("Broken", "it broke")))]
    engine.apply()
    assert place.rows("SELECT name, owner FROM leases WHERE name = ?", ONE) == [{"name": ONE, "owner": ""}]


def test_what_a_kind_says_while_it_works_is_kept_and_heard(place: Place, engine: Inside, probe: Probe) -> None:
    def write(context: Context) -> None:
        context.progress(10.0, "starting")
        context.progress(100.0, "done")
        context.log("some output\n")
        context.alarm("Look", "somebody should look")
        probe.write(context)

    probe.script = [Step("write", "Write", write)]
    hearing = Hearing()
    engine.apply(listener=hearing)
    assert "write 10 starting" in hearing.heard
    assert place.rows("SELECT text FROM step_logs") == [{"text": "some output\n"}]
    assert place.rows("SELECT progress, note FROM steps") == [{"progress": 100.0, "note": "done"}]
    alarms = place.rows("SELECT reason, message, name FROM events WHERE type = 'alarm'")
    assert alarms == [{"reason": "Look", "message": "somebody should look", "name": "one"}]


def test_what_lives_in_something_new_is_looked_at_once_that_is_there(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("outer"), entry("inner", inside="outer"))
    engine = opened()
    looked = engine.plan()
    assert {change.ref.name: change.conditional for change in looked.plan.changes} == {"outer": False, "inner": True}
    results = engine.carry_out(looked)
    assert {name: result.verdict for name, result in results.items()} == {"outer": "changed", "inner": "changed"}
    assert engine.plan().plan.effective == ()


@pytest.mark.parametrize(("there", "verdict"), [({"text": "hello"}, "ok"), ({"text": "other"}, "changed")])
def test_what_is_found_inside_is_taken_over_or_updated(
    place: Place, opened: Opened, there: dict[str, str], verdict: str
) -> None:
    place.write("a.yaml", entry("outer"), entry("inner", inside="outer"))
    place.put({"inner": there})
    results: dict[str, Result] = opened().apply()
    assert results["inner"].verdict == verdict
    assert place.there()["inner"] == {"text": "hello"}


def test_deleting_what_lived_in_something_gone_is_verified(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("outer"), entry("inner", inside="outer"))
    engine = opened()
    engine.apply()
    place.put({"outer": {"text": "hello"}})
    place.write("a.yaml", entry("outer"), entry("inner", {"state": "absent"}, inside="outer"))
    assert engine.apply()["inner"].verdict == "changed"
    place.put({})
    place.write("a.yaml", entry("outer"), entry("inner", inside="outer"))
    engine.apply()
    place.put({})
    place.write("a.yaml", entry("outer", {"mode": "observe"}), entry("inner", {"state": "absent"}, inside="outer"))
    result = engine.apply()["inner"]
    assert (result.verdict, result.message) == ("changed", "deleted and verified")


def test_an_orphaned_resource_runs_no_step_and_stays(place: Place, engine: Inside, probe: Probe) -> None:
    engine.apply()
    place.write("a.yaml", document(lifecycle={"state": "absent", "deletion": "orphan"}))
    result = engine.apply()["one"]
    assert (result.verdict, result.outcomes, probe.there) == ("changed", (), {"one": {"text": "hello"}})


def test_what_vanished_and_was_deleted_is_forgotten_but_its_history_stays(
    place: Place, engine: Inside, probe: Probe
) -> None:
    place.write("b.yaml", document("two"))
    engine.apply()
    (place.specs / "a.yaml").unlink()
    assert engine.apply(prune=True)["one"].verdict == "changed"
    assert probe.there == {"two": {"text": "hello"}}
    assert place.rows("SELECT name FROM resources") == [{"name": "two"}]
    assert place.rows("SELECT name FROM statuses") == [{"name": "two"}]
    assert len(place.rows("SELECT id FROM changes WHERE name = 'one'")) == 2


def test_ignored_fields_are_not_ours_also_when_the_rule_goes(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one", {"ignore": ["spec.size"]}))
    place.put({"one": {"text": "old", "size": 5}})
    engine = opened()
    assert engine.apply()["one"].verdict == "changed"
    assert place.there()["one"] == {"text": "hello", "size": 5}
    place.write("a.yaml", entry("one"))
    assert engine.plan().plan.effective == (), "the size was never applied by us"
