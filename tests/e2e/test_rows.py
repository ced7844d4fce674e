"""Rows of the capability table on the suite's own kind, whose live system is one file: the same way as for clusters."""

from __future__ import annotations

import pytest
from place import Place, entry


def summary(place: Place, *arguments: str) -> str:
    """The line that people look for."""
    return next(
        line for line in place.run("plan", place.specs, *arguments).out.splitlines() if line.startswith("Plan:")
    )


def test_row_9_02_plan_diff_apply(place: Place) -> None:
    """What a plan shows is what is done, step by step, and then there is nothing left to do."""
    place.write("a.yaml", entry("keep"), entry("change", size=1), entry("remake", color="red"), entry("remove"))
    place.apply()
    place.write(
        "a.yaml",
        entry("keep"),
        entry("change", size=2),
        entry("remake", {"replace": "allow"}, color="blue"),
        entry("remove", {"state": "absent"}),
        entry("make", parent="keep"),
    )
    assert summary(place) == "Plan: 1 to create, 1 to update, 1 to replace, 1 to delete, 1 unchanged"
    shown = place.plan("--detailed-exitcode", code=2)
    place.run("diff", place.specs, code=1)
    place.apply()
    run = place.rows("SELECT max(id) AS id FROM runs")[0]["id"]
    done = place.rows(
        "SELECT c.kind || '/' || c.name AS ref, c.action, s.name AS step, s.outcome FROM changes c "
        "JOIN steps s ON s.change_id = c.id WHERE c.run_id = ? ORDER BY s.id",
        run,
    )
    planned = {ref: (change["action"], [step["name"] for step in change["steps"]]) for ref, change in shown.items()}
    made = {
        ref: (next(row["action"] for row in done if row["ref"] == ref), [r["step"] for r in done if r["ref"] == ref])
        for ref in {row["ref"] for row in done}
    }
    assert made == planned
    assert {row["outcome"] for row in done} == {"done"}
    assert place.plan("--detailed-exitcode") == {}
    place.run("diff", place.specs, code=0)
    assert place.there() == {
        "keep": {"text": "hello"},
        "change": {"text": "hello", "size": 2},
        "remake": {"text": "hello", "color": "blue"},
        "make": {"text": "hello"},
    }


def test_row_9_03_live_drift(place: Place) -> None:
    """What was deleted by hand is one create in the next plan, and what was changed by hand one update."""
    place.write("a.yaml", entry("one"), entry("two"), entry("three"))
    place.apply()
    place.put({"two": {"text": "by hand"}, "three": {"text": "hello"}})
    assert summary(place) == "Plan: 1 to create, 1 to update, 0 to replace, 0 to delete, 1 unchanged"
    shown = place.plan()
    assert shown["Entry/one"]["why"] == "it was applied before and is gone"
    assert shown["Entry/two"]["diffs"] == [
        {"path": "spec.text", "before": "by hand", "after": "hello", "secret": False}
    ]
    place.apply()
    assert place.there() == {name: {"text": "hello"} for name in ("one", "two", "three")}


def test_row_9_04_spec_removed_without_and_with_prune(place: Place) -> None:
    """Reported first, deleted when somebody says so, dependents before what they need, the protected one never."""
    place.write("base.yaml", entry("base"))
    place.write("top.yaml", entry("top", parent="base"))
    place.write("guarded.yaml", entry("guarded", {"deletion": "protect"}))
    place.write("other.yaml", entry("other"))
    place.apply()
    for name in ("base", "top", "guarded"):
        (place.specs / f"{name}.yaml").unlink()
    shown = place.plan()
    assert {change["obstacle"]["reason"] for change in shown.values()} == {"NotInSpecs"}
    place.apply()
    assert place.there().keys() == {"base", "top", "guarded", "other"}
    reported = place.run("get", "-o", "json").json["items"]
    assert {one["ref"] for one in reported if one["vanished"]} == {"Entry/base", "Entry/top", "Entry/guarded"}
    pruned = place.apply("--prune", code=None)
    assert place.there().keys() == {"guarded", "other"}
    assert place.calls("remove") == ["remove top", "remove base"]
    assert "protected" in pruned.out
    assert pruned.code == 3
    assert place.apply("--prune", code=None).code == 7
    assert place.there().keys() == {"guarded", "other"}


def test_row_9_06_hung_command(place: Place) -> None:
    """A command that never ends is killed in time and its resource failed; nobody else waits for it."""
    place.write("a.yaml", entry("hangs", behave="hang", seconds=0.5), entry("needs", parent="hangs"), entry("fine"))
    ended = place.apply("-o", "json", code=3)
    verdicts = {line["ref"]: line["verdict"] for line in ended.stream if line["type"] == "change_ended"}
    assert verdicts == {"Entry/hangs": "failed", "Entry/needs": "skipped", "Entry/fine": "changed"}
    order = [line["ref"] for line in ended.stream if line["type"] == "change_ended"]
    assert order.index("Entry/fine") < order.index("Entry/hangs")
    assert place.there() == {"fine": {"text": "hello"}}
    assert place.rows("SELECT * FROM processes") == []
    ready = next(one for one in place.status("hangs")["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Deadline")
    assert "did not end within 0.5 s and was killed" in ready["message"]


@pytest.mark.parametrize("how", ["observe-hang", "observe-unreachable"])
def test_row_9_06_hung_target(place: Place, how: str) -> None:
    """A system that does not answer is unknown in time; nothing is done to it, and nobody else waits for it."""
    place.settings["OBSERVE_TIMEOUT"] = "1s"
    place.write("a.yaml", entry("dark", target="dark", behave=how), entry("needs", parent="dark"), entry("fine"))
    ended = place.apply("-o", "json", code=3)
    targets = ended.stream[-1]["targets"]
    assert targets["dark"]["unreachable"] == 1
    assert (targets["file"]["changed"], targets["file"]["skipped"]) == (1, 1)
    assert place.there() == {"fine": {"text": "hello"}}
    place.run("plan", place.specs, code=6)
