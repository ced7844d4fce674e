"""What an upgrade refuses, and how it ends where it can neither go on nor go back: each said to people."""

from __future__ import annotations

import pytest
from pair import Pair
from pair_faults import fault
from pair_ground import NEW, OLD, OLD_TEXT, ONCE
from pair_invariants import locked
from upgrade_log import control, held

from reconciler.kinds.node_pair.spec import ROLES

MISSING = {"source": "no-such-file", "destination": "/tmp/no-such-file", "sha256": "0" * 64}


def refused(pair: Pair) -> str:
    """What an upgrade that is refused prints; nothing was done to either node, and none is recorded."""
    ran = pair.apply(1)
    assert [call for call in pair.calls(*ONCE) if call.under] == []
    assert pair.upgrades() == []
    assert pair.versions() == dict.fromkeys(ROLES, OLD)
    assert control(pair, "master", "status") == 0
    return ran.out


def test_an_upgrade_that_cannot_go_well_is_refused_before_anything_is_changed(plain_pair: Pair) -> None:
    pair, artifact = plain_pair, plain_pair.spec["artifact"]
    pair.want_new(artifact=MISSING)
    assert "no-such-file" in refused(pair)
    pair.write(artifact={**artifact, "sha256": "1" * 64})
    assert f"not {'1' * 64}" in refused(pair)
    pair.write(artifact=artifact, version="0.9.0")
    assert "allowDowngrade" in refused(pair)
    pair.write(version=NEW, minDiskSpace=1_000_000_000)
    assert "minDiskSpace" in refused(pair)
    pair.write(minDiskSpace=0)
    pair.ground.said("backup", f"SERVING=master {pair.spec['commands']['switchover']}")
    assert "the backup serves" in refused(pair)


def test_nothing_is_written_when_rsync_runs_and_cannot_be_stopped(plain_pair: Pair) -> None:
    pair = plain_pair
    pair.spec["rsync"]["commands"]["stop"] = "echo it goes on >&2; exit 1"
    pair.want_new()
    pair.apply(1)
    assert pair.alarms() == ["RsyncNotPaused", "RsyncStillRuns"]
    assert (pair.state(), pair.upgrades()[-1]["status"]) == ("WAIT_MANUAL", "PARTIAL")
    assert "rsync resolve lab --keep" in str(pair.rows("SELECT message FROM steps WHERE name = 'record'"))
    assert {role: pair.content(role) for role in ROLES} == dict.fromkeys(ROLES, OLD_TEXT)
    assert all(locked(pair, role) for role in ROLES)
    assert pair.rows("SELECT * FROM config_sync_record") == []
    assert pair.versions() == dict.fromkeys(ROLES, NEW)
    assert pair.serving() == ["master"]
    skipped = [step for step, status in pair.progress().items() if status == "SKIPPED"]
    assert skipped == ["unlock_configuration", "write_configuration", "resume_rsync", "synchronize", "compare"]


def test_what_cannot_be_taken_back_is_said_in_so_many_words(plain_pair: Pair) -> None:
    pair = plain_pair
    fault(pair.ground, "backup", "start", times=1)
    fault(pair.ground, "backup", "rollback")
    pair.want_new()
    pair.apply(None)
    assert (pair.state(), pair.upgrades()[-1]["status"]) == ("WAIT_MANUAL", "FAILED")
    reason = str(pair.row()["wait_reason"])
    assert f"the backup (127.0.0.1) runs {NEW}: put {OLD} back with" in reason
    assert f"VERSION={OLD}" in reason
    assert "rsync" not in reason.partition("To do:")[2], "that was taken back"
    assert control(pair, "master", "status") == 0
    assert not any(locked(pair, role) for role in ROLES)
    assert pair.serving() == ["master"]
    assert "RollbackIncomplete" in pair.alarms()
    assert "waits for a person" in pair.apply(None).out


def test_a_node_that_works_and_then_fails_within_its_soak_is_rolled_back(plain_pair: Pair) -> None:
    pair = plain_pair
    fault(pair.ground, "backup", "verify", skip=1)
    pair.want_new(verify={"retries": 0, "delay": "100ms", "soak": "30s"})
    pair.apply(1)
    assert "later did not" in pair.upgrades()[-1]["message"]
    assert pair.upgrades()[-1]["status"] == "ROLLED_BACK"
    assert pair.versions() == dict.fromkeys(ROLES, OLD)


def test_what_an_operator_paused_is_not_resumed_by_an_upgrade(plain_pair: Pair) -> None:
    pair = plain_pair
    pair.apply()
    pair.place.run("rsync", "pause", "lab")
    pair.want_new()
    pair.apply()
    assert pair.versions() == dict.fromkeys(ROLES, NEW)
    assert control(pair, "master", "status") != 0
    assert pair.rows("SELECT * FROM config_sync_record") == []
    pair.place.run("rsync", "resume", "lab")
    assert control(pair, "master", "status") == 0


def test_rsync_is_not_resumed_from_a_node_that_lost_the_new_configuration(plain_pair: Pair) -> None:
    pair = plain_pair
    (path,) = pair.spec["configuration"]["new"]
    back = pair.spec["commands"]["switchback"]
    pair.want_new(commands={**pair.spec["commands"], "switchback": [f"echo old >{path}", back]})
    pair.apply(1)
    assert pair.alarms() == ["WrongDirection"]
    assert pair.state() == "WAIT_MANUAL"
    assert control(pair, "master", "status") != 0
    assert pair.content("backup") != "old\n"


@pytest.mark.soak
def test_roles_that_cannot_be_restored_leave_rsync_paused(plain_pair: Pair) -> None:
    pair = plain_pair
    fault(pair.ground, "master", "switchback")
    pair.want_new()
    pair.apply(1)
    assert (pair.state(), pair.upgrades()[-1]["status"]) == ("WAIT_MANUAL", "PARTIAL")
    assert pair.serving() == ["backup"]
    assert control(pair, "master", "status") != 0
    assert pair.versions() == dict.fromkeys(ROLES, NEW)


@pytest.mark.soak
def test_an_upgrade_that_is_held_says_so_to_whoever_wants_to_operate_rsync(plain_pair: Pair) -> None:
    plain_pair.want_new()
    with held(plain_pair, "backup", "install"):
        ran = plain_pair.place.run("rsync", "resume", "lab", code=None)
        assert ran.code != 0
        assert control(plain_pair, "master", "status") != 0
    assert plain_pair.upgrades()[-1]["status"] == "SUCCESS"
