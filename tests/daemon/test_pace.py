"""Who is looked at when: newer generations, failures, dependents, and many beside each other."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tests.daemon.lab import Lab, document, entry, stays, until

SELDOM = {"interval": "1h"}


def odd(name: str, text: str, seconds: float = 0) -> str:
    return document("Odd", name, {"text": text, "seconds": seconds}, SELDOM)


def test_a_newer_generation_takes_over_at_the_next_safe_point(lab: Lab) -> None:
    """What runs ends its step; the step after it belongs to the new generation."""
    lab.write("a.yaml", odd("a", "old", seconds=2))
    lab.daemon()
    lab.await_open_step("Odd/a", "first")
    lab.write("a.yaml", odd("a", "new"))
    until(lambda: (lab.root / "odd-a").exists(), lambda: lab.status("Odd/a"))
    assert (lab.root / "odd-a").read_text() == "new"
    lab.await_ready("Odd/a")
    old, new = lab.changes("Odd/a")
    assert (old["generation"], old["reason"]) == (1, "Superseded")
    assert (new["generation"], new["verdict"]) == (2, "changed")
    assert lab.steps("Odd/a") == [("first", "done"), ("first", "done"), ("second", "done"), ("third", "done")]


def test_a_failing_generation_never_holds_up_the_next(lab: Lab) -> None:
    """Its back-off has grown to an hour; a saved file is looked at now."""
    lab.configure(backoff={"min": "1h", "max": "1h"}, unsettledInterval="1h")
    lab.write("a.yaml", entry("a", "one", SELDOM, behave="fail"))
    lab.daemon()
    lab.await_reason("Entry/a", "Failed")
    lab.write("a.yaml", entry("a", "two", SELDOM))
    until(lambda: lab.text_of("a") == "two", lambda: lab.status("Entry/a"))
    lab.await_ready("Entry/a")


def test_a_terminal_failure_is_not_tried_again_until_the_document_changes(lab: Lab) -> None:
    lab.configure(unsettledInterval="1h")
    lab.write("a.yaml", entry("a", "one", SELDOM, behave="terminal"))
    lab.daemon()
    status = lab.await_reason("Entry/a", "Impossible")
    assert '"type":"Stalled"' in status["conditions"]
    assert stays(lambda: lab.calls("a") == ["number", "write"], 1.5)
    lab.write("a.yaml", entry("a", "two", SELDOM))
    lab.await_ready("Entry/a")


def starts(lab: Lab, ref: str) -> list[float]:
    return [change["started_at"] for change in lab.changes(ref)]


def test_failures_are_tried_again_later_and_later_until_one_succeeds(lab: Lab) -> None:
    lab.configure(backoff={"min": "200ms", "max": "1h"})
    lab.write("a.yaml", entry("a", "one", SELDOM, behave="fail"))
    lab.daemon()
    until(lambda: len(starts(lab, "Entry/a")) >= 5)
    times = starts(lab, "Entry/a")[:5]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # doubled each time and then cut by at most a half: the fourth is at least 0.8 s, the first at most 0.2 s and a look
    assert gaps[3] >= 0.8
    assert gaps[3] > gaps[0]
    until(lambda: lab.status("Entry/a")["failures"] >= 5)
    lab.write("a.yaml", entry("a", "two", SELDOM))
    lab.await_ready("Entry/a")
    assert lab.status("Entry/a")["failures"] == 0
    # forgotten: the next failure begins with the shortest wait again
    before = len(starts(lab, "Entry/a"))
    lab.write("a.yaml", entry("a", "three", SELDOM, behave="fail"))
    until(lambda: len(starts(lab, "Entry/a")) >= before + 3, within=20)


def test_waiting_is_no_failure(lab: Lab) -> None:
    """The kind says when it wants to be asked again."""
    lab.configure(backoff={"min": "1h", "max": "1h"})
    lab.write("a.yaml", entry("a", "one", SELDOM, behave="wait"))
    lab.daemon()
    until(lambda: lab.calls("a").count("write") >= 3)


def test_dependents_go_on_as_soon_as_what_they_need_is_ready(lab: Lab) -> None:
    """Not at their own next look, which is an hour away."""
    lab.configure(unsettledInterval="1h", backoff={"min": "1h", "max": "1h"})
    lab.write("child.yaml", entry("child", lifecycle=SELDOM, parent="parent", target="other"))
    lab.write("grandchild.yaml", entry("grandchild", lifecycle={**SELDOM, "dependsOn": ["Entry/child"]}))
    lab.write("parent.yaml", entry("parent", "one", SELDOM, behave="fail"))
    lab.daemon()
    lab.await_reason("Entry/parent", "Failed")
    waiting = lab.await_reason("Entry/child", "DependencyNotReady")
    assert "Entry/parent" in waiting["message"]
    lab.await_reason("Entry/grandchild", "DependencyNotReady")
    assert lab.live() == {}
    lab.write("parent.yaml", entry("parent", "two", SELDOM))
    lab.await_ready("Entry/parent", "Entry/child", "Entry/grandchild")


def test_a_chain_of_new_resources_is_made_in_order(lab: Lab) -> None:
    """Also when each lives on a system of its own, so that they are looked at apart."""
    lab.configure(unsettledInterval="1h")
    chain = [entry("e0", target="t0"), *(entry(f"e{n}", target=f"t{n}", parent=f"e{n - 1}") for n in range(1, 6))]
    lab.write("all.yaml", *reversed(chain))
    lab.daemon()
    lab.await_ready(*(f"Entry/e{n}" for n in range(6)))
    made = [lab.changes(f"Entry/e{n}")[0] for n in range(6)]
    assert all(one["ended_at"] <= other["started_at"] for one, other in pairwise(made))


@pytest.mark.parametrize("system", ["file", "other"])
def test_what_is_removed_goes_before_what_it_needs(lab: Lab, system: str) -> None:
    """Whether both are looked at together or, on systems of their own, apart."""
    lab.configure(prune=True, unsettledInterval="1h")
    lab.write("kept.yaml", entry("kept"))
    both = lab.write("both.yaml", entry("parent"), entry("child", parent="parent", target=system))
    lab.daemon()
    lab.await_ready("Entry/parent", "Entry/child")
    both.unlink()
    until(lambda: set(lab.live()) == {"kept"}, lambda: (lab.live(), lab.status("Entry/parent")))
    until(lambda: not lab.status("Entry/parent") and not lab.status("Entry/child"))
    child, parent = lab.changes("Entry/child")[-1], lab.changes("Entry/parent")[-1]
    assert (child["action"], parent["action"]) == ("delete", "delete")
    assert child["ended_at"] <= parent["started_at"]


def test_failing_and_hanging_ones_do_not_hold_up_the_healthy(lab: Lab) -> None:
    """20 that fail again and again, 5 whose system never answers, and 40 that are to be made beside them.

    Nobody waits for the hanging ones: their looks have a deadline of a minute here, and a wait for just one of them
    would break the bound.
    """
    lab.configure(observeTimeout="60s")
    failing = [entry(f"f{n}", target=f"f{n}", behave="fail") for n in range(20)]
    hanging = [entry(f"h{n}", target=f"h{n}", behave="observe-hang") for n in range(5)]
    healthy = [entry(f"e{n}", target=f"e{n}") for n in range(40)]
    lab.write("bad.yaml", *failing, *hanging)
    daemon = lab.daemon()
    until(lambda: len(lab.rows("SELECT * FROM statuses WHERE failures > 1")) == 20)
    started = time.monotonic()
    lab.write("good.yaml", *healthy)
    lab.await_ready(*(f"Entry/e{n}" for n in range(40)), within=40)
    took = time.monotonic() - started
    print(f"40 healthy beside 20 failing and 5 hanging: {took:.1f} s")
    assert took < 40
    # an edit is no slower either
    started = time.monotonic()
    lab.write("good.yaml", *(entry(f"e{n}", "two", target=f"e{n}") for n in range(40)))
    until(lambda: all(lab.text_of(f"e{n}") == "two" for n in range(40)), within=40)
    assert daemon.terminate(within=45) == 0


def test_what_cannot_be_reached_is_unknown_and_never_made_again(lab: Lab) -> None:
    lab.write("a.yaml", entry("a", "one", {"interval": "1s"}))
    lab.daemon()
    lab.await_ready("Entry/a")
    lab.write("a.yaml", entry("a", "one", {"interval": "1s"}, behave="observe-unreachable"))
    status = lab.await_reason("Entry/a", "Unreachable")
    assert status["ready"] == "Unknown"
    lab.spoil("a", None)
    assert stays(lambda: lab.live() == {}, 2.0)
    lab.write("a.yaml", entry("a", "one", {"interval": "1s"}))
    until(lambda: lab.text_of("a") == "one")


def test_a_look_that_hangs_is_given_up_and_told(lab: Lab) -> None:
    lab.configure(observeTimeout="500ms")
    lab.write("a.yaml", entry("a", behave="observe-hang"))
    lab.write("b.yaml", entry("b", target="other"))
    lab.daemon()
    told = lab.await_reason("Entry/a", "Unreachable")
    assert "no answer within 0.5 s" in told["message"] or "has not ended yet" in told["message"]
    lab.await_ready("Entry/b")


def test_what_never_keeps_still_is_no_busy_loop(lab: Lab) -> None:
    """Each look sees something else than the plan was made from, so the change is planned anew, at a growing pace."""
    lab.write("a.yaml", document("Odd", "a", {"text": "x", "breaks": "restless"}, SELDOM))
    lab.daemon()
    lab.await_reason("Odd/a", "Moved")
    before = len(lab.events("Odd/a", "Moved"))
    time.sleep(3)
    told = len(lab.events("Odd/a", "Moved")) - before
    assert told <= 12, f"{told} attempts in three seconds"
    assert not (lab.root / "odd-a").exists()
