"""What a pass found is stored once, told once, and never over what another process found later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from inside import Inside
from place import Place, entry
from sqlalchemy import update

from reconciler.store import remembered
from reconciler.store.tables import statuses

Opened = Callable[..., Inside]


def told(place: Place, reason: str = "Ready%") -> list[str]:
    rows = place.rows("SELECT reason, message FROM events WHERE reason LIKE ? ORDER BY id", reason)
    return [f"{row['reason']} {row['message']}" for row in rows]


def look(engine: Inside, **rules: Any) -> None:
    """One pass that changes nothing, recorded as the daemon does."""
    looked = engine.plan(**rules)
    engine.workspace.record()
    engine.reconciler.settle(engine.workspace, looked)


def test_what_is_as_before_is_told_once(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one"))
    engine = opened()
    engine.apply()
    assert told(place) == ["ReadyTrue AsDesired: as desired (first look)"]
    checked = engine.status("Entry/one").checked_at
    look(engine)
    look(engine)
    assert len(told(place)) == 1
    again = engine.status("Entry/one").checked_at
    assert again is not None
    assert checked is not None
    assert again > checked


def test_every_turn_of_a_resource_is_told_with_what_it_was_before(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one"))
    engine = opened()
    engine.apply()
    place.write("a.yaml", entry("one", text="new", behave="fail"))
    engine.apply()
    engine.apply()
    place.write("a.yaml", entry("one", text="new", behave="terminal"))
    engine.apply()
    place.write("a.yaml", entry("one", text="new"))
    engine.apply()
    assert [text.split(":")[0] for text in told(place)] == [
        "ReadyTrue AsDesired",
        "ReadyFalse Failed",
        "ReadyFalse Impossible",
        "ReadyTrue AsDesired",
    ]
    assert told(place)[1].endswith("(was AsDesired)")
    warnings = place.rows("SELECT type FROM events WHERE reason = 'ReadyFalse'")
    assert {row["type"] for row in warnings} == {"warning"}


def test_what_is_found_as_desired_counts_as_applied_so_that_a_dropped_field_is_noticed(
    place: Place, opened: Opened
) -> None:
    place.put({"one": {"text": "hello", "size": 5}})
    place.write("a.yaml", entry("one", size=5))
    engine = opened()
    look(engine)
    assert place.calls() == []
    place.write("a.yaml", entry("one"))
    (change,) = engine.plan().plan.effective
    assert [(entry_.path, entry_.before, entry_.after) for entry_ in change.diffs] == [("spec.size", 5, None)]


@pytest.mark.parametrize("mode", ["notify", "observe"])
def test_what_is_only_watched_is_not_taken_over(place: Place, opened: Opened, mode: str) -> None:
    place.put({"one": {"text": "hello", "size": 5}})
    place.write("a.yaml", entry("one", {"mode": mode}, size=5))
    engine = opened()
    look(engine)
    place.write("a.yaml", entry("one"))
    assert engine.plan().plan.effective == ()
    assert place.rows("SELECT touched FROM statuses") == [{"touched": 0}]


def test_an_older_look_is_not_stored_over_a_newer_one(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one"))
    engine = opened()
    engine.apply()
    place.put({})
    stale = engine.plan()
    place.put({"one": {"text": "hello"}})
    with engine.runtime.database.write() as connection:
        connection.execute(update(statuses).values(observed_generation=2))
    before = place.rows("SELECT * FROM statuses")
    stale_only = [change for change in stale.plan.changes if change.is_effective]
    assert len(stale_only) == 1
    look(engine)
    assert place.rows("SELECT * FROM statuses") == before


def test_drift_that_is_only_reported_is_shown_until_it_is_gone(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one", {"mode": "notify"}))
    place.put({"one": {"text": "other"}})
    engine = opened()
    look(engine)
    status = engine.status("Entry/one")
    assert [tuple(part[:3]) for part in status.drift] == [("spec.text", "other", "hello")]
    place.put({"one": {"text": "hello"}})
    look(engine)
    assert engine.status("Entry/one").drift == ()


def test_a_change_that_waits_for_an_approval_can_be_approved_until_it_moves(place: Place, opened: Opened) -> None:
    from reconciler.store import statuses as store

    place.write("a.yaml", entry("one", {"approval": "manual"}))
    engine = opened()
    look(engine)
    status = engine.status("Entry/one")
    assert status.pending is not None
    fingerprint = str(status.pending["fingerprint"])
    with engine.runtime.database.write() as connection:
        store.approve(engine.runtime.database, connection, status.ref, fingerprint, "ann")
    assert len(engine.plan().plan.effective) == 1
    place.write("a.yaml", entry("one", {"approval": "manual"}, text="other"))
    assert engine.plan().plan.effective == ()
    engine.workspace.record()
    place.write("a.yaml", entry("one", {"approval": "manual"}))
    looked = engine.plan()
    assert looked.plan.effective == (), "the generation has moved on, so it is another change"
    engine.workspace.record()
    engine.reconciler.settle(engine.workspace, looked)
    pending = engine.status("Entry/one").pending
    assert pending is not None
    with engine.runtime.database.write() as connection:
        store.approve(engine.runtime.database, connection, status.ref, str(pending["fingerprint"]), "ann")
    assert engine.apply()["one"].verdict == "changed"
    assert engine.status("Entry/one").pending is None
    with engine.runtime.database.read() as connection:
        assert {one[1] for one in remembered.approved(connection)} == {fingerprint}, (
            "only the one that was used is used up"
        )


def test_a_sick_resource_is_not_ready_and_not_changed(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one", behave="sick"))
    engine = opened()
    assert engine.apply()["one"].verdict == "changed"
    healthy = engine.status("Entry/one").condition("Healthy")
    assert healthy is not None
    assert (healthy.status, healthy.message) == ("False", "it is sick")
    assert engine.plan().plan.effective == ()
