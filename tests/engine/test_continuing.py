"""Kinds with `recovery = "continue"`: an interrupted change is gone on with where it stood, or taken back if it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from inside import Inside
from place import Place
from probe import Probe, document

from reconciler.engine.listener import Listener
from reconciler.engine.resuming import planned_form, rebuilt
from reconciler.errors import TerminalError, TransientError, WaitingError
from reconciler.kind import CheckAnswer, Context, Step
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Resource, ResourceRef
from reconciler.model.result import Result
from reconciler.model.secret import Secret, SpecFile
from reconciler.store.journal import RunStart

Opened = Callable[..., Inside]


class Died(BaseException):
    """The process is gone: nothing that follows is written."""


class Upgrade(Probe):
    """Three steps of which each notes that it ran. dies_in, dies_undoing: in which step its process dies.

    answers: what the check of the second step says.
    """

    recovery: Literal["replan", "continue"] = "continue"

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []
        self.dies_in = ""
        self.fails_in = ""
        self.waits_in = ""
        self.answers: CheckAnswer = "not_done"
        self.script = [
            Step(
                "stop", "Stop it", lambda context: self._carry_out("stop"), undo=lambda context: self.take_back("stop")
            ),
            Step("install", "Install it", self._install, check=self._check, safe_point=False),
            Step("start", "Start it", self._start),
        ]

    def _carry_out(self, name: str) -> dict[str, Any]:
        self.ran.append(name)
        if self.dies_in == name:
            raise Died
        if self.fails_in == name:
            raise TransientError("Failed", f"{name} failed")
        if self.waits_in == name:
            raise WaitingError("NotYet", "not yet", retry_after=0.0)
        return {"by": name}

    def _install(self, context: Context) -> dict[str, Any]:
        assert context.outputs["stop"] == {"by": "stop"}
        return self._carry_out("install")

    def _start(self, context: Context) -> dict[str, Any]:
        assert context.outputs["stop"] == {"by": "stop"}
        self.write(context)
        return self._carry_out("start")

    def _check(self, context: Context) -> CheckAnswer:
        self.ran.append("check")
        return self.answers

    def take_back(self, name: str) -> None:
        self._carry_out(f"undo-{name}")


@pytest.fixture
def upgrade() -> Upgrade:
    return Upgrade()


def dies(place: Place, opened: Opened, kind: Upgrade, step: str, **spec: Any) -> None:
    """One process that applies and dies in a step."""
    place.write("a.yaml", document(**spec))
    engine = opened(kinds=[kind])
    kind.dies_in = step
    looked = engine.plan()
    engine.workspace.record()
    (change,) = looked.plan.effective
    start = RunStart(engine.runtime.owner, "apply")
    run_id = engine.reconciler.start_run(start)
    run = engine.reconciler.run_of(run_id, engine.workspace, looked.options, Listener())
    with pytest.raises(Died):
        engine.reconciler.executor.execute(run, change)
    kind.dies_in = ""
    engine.close()


def goes_on(opened: Opened, kind: Upgrade) -> tuple[Inside, Result]:
    """The next process, which recovers, plans and applies."""
    engine = opened(kinds=[kind])
    engine.reconciler.recover()
    kind.ran.clear()
    return engine, engine.apply()["one"]


def steps_of(place: Place) -> list[tuple[str, str]]:
    return [(row["name"], row["outcome"]) for row in place.rows("SELECT name, outcome FROM steps ORDER BY id")]


def test_it_goes_on_at_the_step_that_was_open_and_does_nothing_twice(
    place: Place, opened: Opened, upgrade: Upgrade
) -> None:
    dies(place, opened, upgrade, "install")
    engine, result = goes_on(opened, upgrade)
    assert result.verdict == "changed"
    assert upgrade.ran == ["check", "install", "start"]
    assert steps_of(place) == [
        ("stop", "done"),
        ("install", "unconfirmed"),
        ("install", "done"),
        ("start", "done"),
    ]
    assert [row["verdict"] for row in place.rows("SELECT verdict FROM changes")] == ["changed"]
    assert not engine.plan().plan.effective


def test_what_had_been_carried_out_is_not_carried_out_again(place: Place, opened: Opened, upgrade: Upgrade) -> None:
    dies(place, opened, upgrade, "install")
    upgrade.answers = "done"
    assert goes_on(opened, upgrade)[1].verdict == "changed"
    assert upgrade.ran == ["check", "start"]


def test_while_nobody_can_tell_it_waits_and_stays_open(place: Place, opened: Opened, upgrade: Upgrade) -> None:
    dies(place, opened, upgrade, "install")
    upgrade.answers = "unknown"
    engine, result = goes_on(opened, upgrade)
    assert (result.verdict, result.reason) == ("failed", "NotConfirmed")
    assert upgrade.ran == ["check"]
    upgrade.answers = "done"
    assert engine.apply()["one"].verdict == "changed"
    assert upgrade.ran == ["check", "check", "start"]


def test_a_plan_says_that_it_goes_on_though_nothing_differs(place: Place, opened: Opened, upgrade: Upgrade) -> None:
    dies(place, opened, upgrade, "start")
    engine = opened(kinds=[upgrade])
    (change,) = engine.plan().plan.effective
    assert change.why == "goes on with a change that was interrupted at step start"
    assert goes_on(opened, upgrade)[1].verdict == "changed"
    assert upgrade.ran == ["start"]


def test_what_was_being_taken_back_is_taken_back(place: Place, opened: Opened, upgrade: Upgrade) -> None:
    upgrade.fails_in = "install"
    dies(place, opened, upgrade, "undo-stop")
    upgrade.fails_in = ""
    result = goes_on(opened, upgrade)[1]
    assert (result.verdict, result.message) == ("failed", "install failed")
    assert upgrade.ran == ["undo-stop"]
    assert [row["verdict"] for row in place.rows("SELECT verdict FROM changes")] == ["failed"]


def test_a_step_that_waits_is_begun_again_later_in_the_same_change(
    place: Place, opened: Opened, upgrade: Upgrade
) -> None:
    place.write("a.yaml", document())
    engine = opened(kinds=[upgrade])
    upgrade.waits_in = "install"
    assert engine.apply()["one"].reason == "NotYet"
    upgrade.waits_in = ""
    upgrade.ran.clear()
    assert engine.apply()["one"].verdict == "changed"
    assert upgrade.ran == ["check", "install", "start"]
    assert len(place.rows("SELECT id FROM changes")) == 1


def test_an_undo_that_has_to_wait_is_waited_for_before_earlier_ones_run(
    place: Place, opened: Opened, upgrade: Upgrade
) -> None:
    upgrade.script[1] = replace(upgrade.script[1], undo=lambda context: upgrade.take_back("install"))
    place.write("a.yaml", document())
    engine = opened(kinds=[upgrade])
    upgrade.fails_in, upgrade.waits_in = "start", "undo-install"
    assert engine.apply()["one"].reason == "NotYet"
    assert upgrade.ran == ["stop", "install", "start", "undo-install"]
    upgrade.fails_in, upgrade.waits_in = "", ""
    upgrade.ran.clear()
    result = engine.apply()["one"]
    assert (result.verdict, result.message) == ("failed", "start failed")
    assert upgrade.ran == ["undo-install", "undo-stop"]
    assert [row["verdict"] for row in place.rows("SELECT verdict FROM changes")] == ["failed"]


def test_a_failed_step_is_taken_back_as_well_where_it_says_so(place: Place, opened: Opened, upgrade: Upgrade) -> None:
    undo = lambda context: upgrade.take_back("install")  # noqa: E731 - the shortest way to say it
    upgrade.script[1] = replace(upgrade.script[1], undo=undo, undo_partial=True)
    upgrade.fails_in = "install"
    place.write("a.yaml", document())
    assert opened(kinds=[upgrade]).apply()["one"].verdict == "failed"
    assert upgrade.ran == ["stop", "install", "undo-install", "undo-stop"]


@pytest.mark.parametrize("dies_first", [False, True])
def test_what_a_step_has_committed_is_not_taken_back(
    place: Place, opened: Opened, upgrade: Upgrade, dies_first: bool
) -> None:
    upgrade.script[1] = replace(upgrade.script[1], commits=True)
    upgrade.fails_in = "" if dies_first else "start"
    if dies_first:
        dies(place, opened, upgrade, "start")
        upgrade.fails_in = "start"
        result = goes_on(opened, upgrade)[1]
    else:
        place.write("a.yaml", document())
        result = opened(kinds=[upgrade]).apply()["one"]
    assert (result.verdict, result.message) == ("failed", "start failed")
    assert "undo-stop" not in upgrade.ran


def test_a_newer_generation_takes_over_only_where_it_may(place: Place, opened: Opened, upgrade: Upgrade) -> None:
    dies(place, opened, upgrade, "install")
    place.write("a.yaml", document(text="newer"))
    engine, result = goes_on(opened, upgrade)
    assert result.reason == "Superseded"
    assert upgrade.ran == ["check", "install"], "install is no safe point, start is one"
    assert engine.apply()["one"].verdict == "changed"
    assert upgrade.there["one"] == {"text": "newer"}
    assert [row["verdict"] for row in place.rows("SELECT verdict FROM changes ORDER BY id")] == ["failed", "changed"]


def test_a_change_that_is_continued_holds_no_secret_and_gets_it_from_its_document(place: Place) -> None:
    ref = ResourceRef("Probe", "one")
    spec = {"text": "a", "key": Secret("hunter2", "env:KEY"), "files": [SpecFile("a.conf", "0" * 64, "old")]}
    change = Change(ref, Action.UPDATE, Resource(ref, spec, generation=3), "")
    kept = planned_form(change, b"k")
    assert "hunter2" not in str(kept)
    assert "old" not in str(kept)
    again = rebuilt(kept, replace(change.resource, spec={**spec, "key": Secret("rotated", "env:KEY")}), b"k")
    assert again.resource.spec["key"].reveal() == "rotated"
    assert again.resource.spec["files"][0].text == "old"
    assert again.resource.generation == 3


@pytest.mark.parametrize("newest", [{"text": "a"}, {"key": "plain"}, None])
def test_a_secret_that_nobody_names_any_more_ends_it(newest: dict[str, Any] | None) -> None:
    ref = ResourceRef("Probe", "one")
    kept = planned_form(Change(ref, Action.UPDATE, Resource(ref, {"key": Secret("hunter2", "env:KEY")}), ""), b"k")
    with pytest.raises(TerminalError, match=r"Probe/one: spec.key: the secret is no longer named"):
        rebuilt(kept, None if newest is None else Resource(ref, newest), b"k")
