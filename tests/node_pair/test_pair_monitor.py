"""The monitor: its four combinations, and what each look leaves in the rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pair_store import PAIR, SPEC, PairStore, opened, resource

from reconciler.kinds.node_pair.monitor import Alarm, facts, seen, verdict
from reconciler.model.observation import Observation
from reconciler.model.resource import ResourceRef

ADDRESSES = {"master": "10.77.0.2", "backup": "10.77.0.3"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PairStore]:
    with opened(tmp_path) as made:
        yield made


def rsync(role: str, status: str = "RUNNING", **told: Any) -> dict[str, Any]:
    """What a look says of rsync on a node."""
    usual = {"paused": False, "reason": None, "pause_time": None, "detail": ""}
    return {"status": status, "address": ADDRESSES[role], **usual, **told}


def look(store: PairStore, master: dict[str, Any], backup: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A look a minute after the one before; what is told of the pair from then on."""
    store.clock.now += 60
    known = {"rsync": {"master": master, "backup": backup or rsync("backup")}, **more}
    observation = Observation(ResourceRef("NodePair", PAIR), {}, facts=known, observed_at=store.clock.now)
    seen(store.records, resource(), observation)
    return facts(store.reading)[PAIR]


def test_row_4_16_the_four_combinations_of_status_and_upgrade() -> None:
    should_not = Alarm("RsyncRuns", "rsync runs during an upgrade, and should not: it is left alone")
    should = Alarm("RsyncStopped", "rsync does not run, and should: no upgrade is under way")
    assert [
        verdict("RUNNING", True),
        verdict("RUNNING", False),
        verdict("STOPPED", False),
        verdict("STOPPED", True),
    ] == [should_not, None, should, None]


def test_what_could_not_be_looked_at_or_was_paused_by_hand_is_no_alarm() -> None:
    assert verdict("UNKNOWN", True) is None
    assert verdict("UNKNOWN", False) is None
    assert verdict("STOPPED", False, "MANUAL") is None
    assert verdict("STOPPED", False, "UPGRADE") is not None, "an upgrade that is over leaves no pause behind"
    assert verdict("RUNNING", True, "MANUAL") is not None


def test_row_4_11_both_nodes_are_told_with_interval_pause_and_last_synchronization(store: PairStore) -> None:
    told = look(store, rsync("master"), versions={"master": "2.0", "backup": "1.0"}, serving={"master": True})
    assert (told["interval"], told["lastSyncTime"], told["lookedAt"]) == (300.0, None, store.clock.now)
    assert {role: told["nodes"][role]["address"] for role in ADDRESSES} == ADDRESSES
    assert (told["nodes"]["master"]["version"], told["nodes"]["master"]["serving"]) == ("2.0", True)
    assert told["nodes"]["backup"]["serving"] is None
    assert told["nodes"]["master"]["rsync"] == {
        "status": "RUNNING",
        "paused": False,
        "reason": None,
        "pauseTime": None,
        "resumeTime": None,
        "checkedAt": store.clock.now,
        "detail": "",
    }
    paused = rsync("master", "STOPPED", paused=True, reason="UPGRADE", pause_time=77.0)
    standing = look(store, paused)["nodes"]["master"]["rsync"]
    assert (standing["paused"], standing["reason"], standing["pauseTime"]) == (True, "UPGRADE", 77.0)
    assert standing["resumeTime"] is None

    away = rsync("master", "UNKNOWN", detail="no route to host")
    standing = look(store, away, rsync("backup", "STOPPED"))["nodes"]["master"]["rsync"]
    assert (standing["status"], standing["detail"]) == ("UNKNOWN", "no route to host")
    assert (standing["paused"], standing["pauseTime"]) == (True, 77.0), "that nobody could look ends no pause"

    standing = look(store, rsync("master"))["nodes"]["master"]["rsync"]
    assert (standing["paused"], standing["pauseTime"], standing["resumeTime"]) == (False, 77.0, store.clock.now)
    resumed = store.clock.now
    standing = look(store, rsync("master"))["nodes"]["master"]["rsync"]
    assert standing["resumeTime"] == resumed


def test_each_look_is_a_record_of_both_nodes(store: PairStore) -> None:
    look(store, rsync("master"))
    look(store, rsync("master", "UNKNOWN"), rsync("backup", "STOPPED"))
    rows = store.records.list("rsync_status_record", pair=PAIR)
    assert [(row["node_type"], row["node_ip"], row["service_status"]) for row in rows] == [
        ("MASTER", ADDRESSES["master"], "RUNNING"),
        ("BACKUP", ADDRESSES["backup"], "RUNNING"),
        ("MASTER", ADDRESSES["master"], "UNKNOWN"),
        ("BACKUP", ADDRESSES["backup"], "STOPPED"),
    ]
    assert rows[2]["check_time"] - rows[0]["check_time"] == 60


def test_a_pair_that_is_let_go_or_was_not_looked_at_leaves_no_row(store: PairStore) -> None:
    known = {"rsync": {"master": rsync("master")}}
    ref = ResourceRef("NodePair", PAIR)
    seen(store.records, resource(state="absent"), Observation(ref, facts=known))
    seen(store.records, resource(), Observation(ref, unknown="nobody answers", unreachable=True))
    assert facts(store.reading) == {}
    broken = {**SPEC, "backup": SPEC["master"]}
    seen(store.records, resource(spec=broken), Observation(ref, {}, facts=known))
    assert facts(store.reading) == {}


def test_a_pair_without_rsync_is_told_all_the_same(store: PairStore) -> None:
    spec = {name: value for name, value in SPEC.items() if name != "rsync"}
    known = {"versions": {"master": "2.0", "backup": "2.0"}, "locked": {"master": ["/etc/shop"]}}
    observation = Observation(ResourceRef("NodePair", PAIR), {}, facts=known, observed_at=9.0)
    seen(store.records, resource(spec=spec), observation)
    told = facts(store.reading)[PAIR]
    assert (told["interval"], told["nodes"]["master"]["rsync"]) == (None, None)
    assert told["nodes"]["master"]["locked"] == ["/etc/shop"]
    assert store.records.list("rsync_status_record") == []
