"""A whole plan: what is needed first, side by side as far as allowed, dependents of a failure skipped, nothing lost."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inside import Inside
from place import Place, entry

from reconciler.engine.listener import Listener
from reconciler.engine.schedule import execute_plan
from reconciler.engine.steps import Run
from reconciler.model.plan import Action, Change, Plan
from reconciler.model.resource import Resource, ResourceRef
from reconciler.model.result import Result, Verdict

NAMES = "abcdefgh"


def ref(name: str) -> ResourceRef:
    return ResourceRef("Probe", name)


def change(name: str, *needs: str, action: Action = Action.CREATE) -> Change:
    return Change(ref(name), action, Resource(ref(name), {}), "", requires=tuple(map(ref, needs)), target="probe")


class Making:
    """Stands where the executor does: says how each change ends, and notes when it ran and beside how many."""

    def __init__(self, verdicts: Mapping[str, Verdict] | None = None, seconds: float = 0.0) -> None:
        self._verdicts = verdicts or {}
        self._seconds = seconds
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0
        self.order: list[str] = []
        self.ended: list[str] = []
        self._ended_before: dict[str, int] = {}

    def execute(self, run: Run, change: Change) -> Result:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.order.append(change.ref.name)
            self._ended_before[change.ref.name] = len(self.ended)
        time.sleep(self._seconds)
        with self._lock:
            self._now -= 1
            self.ended.append(change.ref.name)
        result = Result(change, self._verdicts.get(change.ref.name, "changed"), "Made", "made")
        run.listener.change_ended(result)
        return result

    def before(self, name: str) -> set[str]:
        """What had ended when this one started."""
        return set(self.ended[: self._ended_before[name]])

    def stop(self) -> bool:
        return True


def carry_out(making: Making, *changes: Change, forks: int = 4, listener: Listener | None = None) -> dict[str, Result]:
    run = Run(1, listener=listener or Listener())
    results = execute_plan(making, run, Plan(tuple(changes)), forks)  # type: ignore[arg-type]
    assert len(results) == len(changes), "each change ends exactly once"
    return {result.change.ref.name: result for result in results}


def test_what_is_needed_ends_before_what_needs_it_starts() -> None:
    making = Making(seconds=0.01)
    carry_out(making, change("c", "b"), change("b", "a"), change("a"), change("d"))
    assert {"a"} <= making.before("b")
    assert {"a", "b"} <= making.before("c")


def test_deletes_end_the_other_way_round() -> None:
    making = Making(seconds=0.01)
    gone = [change(name, *needs, action=Action.DELETE) for name, needs in (("a", ""), ("b", "a"), ("c", "b"))]
    carry_out(making, *gone)
    assert making.order == ["c", "b", "a"]


def test_what_needs_something_that_is_not_in_the_plan_does_not_wait_for_it() -> None:
    assert carry_out(Making(), change("a", "elsewhere"), change("b", "b"))["a"].verdict == "changed"


@pytest.mark.parametrize("verdict", ["failed", "unreachable", "blocked", "unknown", "skipped"])
def test_dependents_of_what_did_not_succeed_are_skipped_and_everything_else_goes_on(verdict: Verdict) -> None:
    making = Making({"a": verdict})
    results = carry_out(making, change("a"), change("b", "a"), change("c", "b"), change("d"))
    assert {name: result.verdict for name, result in results.items()} == {
        "a": verdict,
        "b": "skipped",
        "c": "skipped",
        "d": "changed",
    }
    assert results["c"].message == "skipped: Probe/a did not succeed"
    assert sorted(making.order) == ["a", "d"]


@pytest.mark.parametrize("verdict", ["changed", "failed"])
def test_a_follower_comes_after_all_that_it_follows_and_is_held_up_by_none_of_them(verdict: Verdict) -> None:
    making = Making({"a": verdict}, seconds=0.01)
    last = dataclasses.replace(change("f", "d"), follows=(ref("a"), ref("b")))
    results = carry_out(making, last, change("a"), change("b", "a"), change("d"))
    assert results["f"].verdict == "changed"
    assert making.before("f") >= ({"a", "d"} if verdict == "failed" else {"a", "b", "d"})
    assert results["b"].verdict == ("skipped" if verdict == "failed" else "changed")


def test_a_follower_is_skipped_when_what_it_needs_failed() -> None:
    last = dataclasses.replace(change("f", "a"), follows=(ref("b"),))
    results = carry_out(Making({"a": "failed"}), last, change("a"), change("b"))
    assert results["f"].verdict == "skipped"


def test_what_was_found_as_desired_holds_nobody_up() -> None:
    assert carry_out(Making({"a": "ok"}), change("a"), change("b", "a"))["b"].verdict == "changed"


def test_one_of_several_that_fails_is_enough_to_skip() -> None:
    making = Making({"b": "failed"})
    results = carry_out(making, change("a"), change("b"), change("c", "a", "b"))
    assert results["c"].verdict == "skipped"


def test_never_more_at_a_time_than_forks() -> None:
    for forks in (1, 3):
        making = Making(seconds=0.01)
        carry_out(making, *(change(f"n{number}") for number in range(20)), forks=forks)
        assert making.most == forks


def test_everybody_hears_of_what_was_skipped() -> None:
    heard: list[str] = []

    class Ears(Listener):
        def change_ended(self, result: Result) -> None:
            heard.append(f"{result.change.ref.name} {result.verdict}")

    carry_out(Making({"a": "failed"}), change("a"), change("b", "a"), listener=Ears())
    assert heard == ["a failed", "b skipped"]


def test_a_listener_that_raises_ends_the_run_instead_of_hanging_it() -> None:
    class Broken(Listener):
        def change_ended(self, result: Result) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        carry_out(Making(), change("a"), listener=Broken())


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def test_ten_times_as_many_changes_cost_about_ten_times_as_much() -> None:
    def make(count: int) -> Callable[[], object]:
        changes = [change(f"n{number}") for number in range(count)]
        return lambda: carry_out(Making(), *changes, forks=8)

    cpu_seconds(make(100))
    few = min(cpu_seconds(make(1000)) for _ in range(3))
    many = cpu_seconds(make(10_000))
    assert many / few < 40, "a quadratic schedule would be 100 times as slow"


@given(
    needs=st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES), max_size=3), max_size=8),
    verdicts=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["ok", "changed", "failed", "blocked"])),
    deletes=st.booleans(),
    forks=st.integers(1, 4),
)
def test_any_plan_ends_with_each_change_made_or_skipped_for_a_reason(
    needs: dict[str, set[str]], verdicts: dict[str, Verdict], deletes: bool, forks: int
) -> None:
    action = Action.DELETE if deletes else Action.CREATE
    graph = {name: {need for need in wanted if need < name and need in needs} for name, wanted in needs.items()}
    making = Making(verdicts)
    results = carry_out(
        making, *(change(name, *sorted(one), action=action) for name, one in graph.items()), forks=forks
    )
    first = {name: {other for other in graph if name in graph[other]} if deletes else graph[name] for name in graph}
    for name, result in results.items():
        bad = [one for one in first[name] if results[one].verdict not in ("ok", "changed")]
        assert (result.verdict == "skipped") == bool(bad)
        if not bad:
            assert first[name] <= making.before(name)


def test_the_status_of_what_was_skipped_says_so(place: Place, opened: Callable[..., Inside]) -> None:
    place.write("a.yaml", entry("base", behave="fail"), entry("top", parent="base"), entry("other"))
    engine = opened()
    results = engine.apply()
    assert {name: result.verdict for name, result in results.items()} == {
        "base": "failed",
        "top": "skipped",
        "other": "changed",
    }
    status = engine.status("Entry/top")
    ready = status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "DependencyFailed")
    assert "Entry/base did not succeed" in ready.message
    assert status.failures == 0
    assert place.rows("SELECT state FROM runs") == [{"state": "partial"}]
