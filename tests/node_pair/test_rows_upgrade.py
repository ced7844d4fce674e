"""Acceptance rows of the upgrade of a pair, on plain nodes, through the command line. Machines: test_rows_machines."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pair import NAME, Pair
from pair_faults import fault
from pair_ground import NEW, NEW_TEXT, OLD, OLD_TEXT, ONCE, Call, Ground, until
from place import Place
from upgrade_log import LOGGED, control, held, log_rsync, said_by_rsync

from reconciler.kinds.node_pair.spec import ROLES

PAUSED = """SELECT * FROM rsync_status_record
WHERE node_type = 'MASTER' AND is_paused = 1 AND paused_reason = 'UPGRADE' ORDER BY status_id"""
RESUMED = """SELECT * FROM rsync_status_record
WHERE node_type = 'MASTER' AND is_paused = 0 AND resume_time IS NOT NULL ORDER BY status_id"""
SYNCS = "SELECT * FROM config_sync_record ORDER BY sync_id"
SEQUENCE_1 = """MANAGER COORDINATOR, COORDINATOR MASTER, MASTER COORDINATOR, COORDINATOR MASTER, MASTER COORDINATOR,
COORDINATOR STORE, STORE STORE, COORDINATOR STORE, STORE STORE, COORDINATOR MANAGER, MANAGER COORDINATOR,
COORDINATOR MASTER, MASTER COORDINATOR, COORDINATOR MASTER, MASTER COORDINATOR, COORDINATOR MASTER, MASTER BACKUP,
BACKUP MASTER, MASTER COORDINATOR, COORDINATOR STORE, STORE STORE, COORDINATOR STORE, STORE STORE,
COORDINATOR MANAGER"""
HANGING = "86399.25"
AFTER = ("is rsync still stopped", "start rsync", "synchronize once", "inserted config_sync_record")


def named(pair: Pair, chinese: str) -> dict[str, Any]:
    """A step of the newest upgrade by its name in the document."""
    found = pair.rows("SELECT * FROM upgrade_progress WHERE display_name = ? ORDER BY id DESC", chinese)
    return found[0]


@dataclass(frozen=True, slots=True)
class Upgraded:
    """An upgrade that went well. half: versions while the master was being installed.

    said_half, said: what rsync had been told on the master by then, and in all. ran_half: whether it ran then.
    leaks: processes that showed the root key. printed: by the command line.
    """

    pair: Pair
    half: dict[str, str]
    said_half: list[tuple[float, str]]
    ran_half: bool
    said: list[tuple[float, str]]
    calls: list[Call]
    contents: list[str]
    leaks: list[str]
    printed: list[str]


@pytest.fixture(scope="module")
def upgraded(folders: Ground, tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> Upgraded:
    """One upgrade for all rows that are about one that goes well. The root key is part of what it writes."""
    folders.reset()
    place = Place(tmp_path_factory.mktemp("upgraded"), fresh_database)
    pair = Pair(place, folders)
    log_rsync(pair)
    pair.want_new()
    pair.set_content(f"{NEW_TEXT}\nkey = {folders.root_key}\n")
    leaks: list[str] = []
    over = threading.Event()
    watcher = threading.Thread(target=watch_processes, args=(folders.root_key.encode(), over, leaks))
    watcher.start()
    try:
        with held(pair, "master", "install") as printed:
            half, said_half = pair.versions(), said_by_rsync(pair, "master")
            ran_half = control(pair, "master", "status") == 0
    finally:
        over.set()
        watcher.join()
        place.close()
    assert printed[-1] == "0", printed
    contents = [pair.content(role) for role in ROLES]
    said = said_by_rsync(pair, "master")
    folders.disconnect()
    return Upgraded(pair, half, said_half, ran_half, said, pair.calls(), contents, leaks, printed)


def watch_processes(key: bytes, over: threading.Event, seen: list[str]) -> None:
    """Look at the arguments and environments of all processes, again and again. The nodes' are among them."""
    while not over.is_set():
        for path in (*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")):
            if key in read(path):
                seen.append(str(path))
        time.sleep(0.1)


def read(path: Path) -> bytes:
    """What a file of /proc holds; nothing when its process is gone."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_row_4_01_rsync_is_paused_before_the_first_command_of_the_upgrade(upgraded: Upgraded) -> None:
    pair = upgraded.pair
    first = next(call.at for call in upgraded.calls if call.name in ONCE)
    before = [verb for at, verb in upgraded.said if at < first]
    stop = before.index("stop")
    assert "status" in before[:stop]
    assert "status" in before[stop:]
    row = pair.rows(PAUSED)[0]
    assert row["service_status"] == "STOPPED"
    assert row["pause_time"] <= row["check_time"] <= first
    step = named(pair, "暂停 rsync")
    assert (step["status"], step["ended_at"] <= first) == ("DONE", True)


def test_row_4_04_rsync_is_resumed_when_both_nodes_are_done_and_not_before(upgraded: Upgraded) -> None:
    pair = upgraded.pair
    assert upgraded.half["backup"] == NEW
    assert "start" not in [verb for _, verb in upgraded.said_half]
    assert not upgraded.ran_half
    done = max(call.at for call in upgraded.calls if call.name == "start")
    (started,) = [at for at, verb in upgraded.said if verb == "start"]
    assert started > done
    row = pair.rows(RESUMED)[-1]
    assert (row["service_status"], row["resume_time"] >= done) == ("RUNNING", True)
    assert named(pair, "恢复 rsync")["status"] == "DONE"
    assert [row["sync_status"] for row in pair.rows(SYNCS)] == ["SUCCESS"]


def test_row_4_07_equal_trees_are_verified(upgraded: Upgraded) -> None:
    (row,) = upgraded.pair.rows(SYNCS)
    assert row["sync_status"] == "SUCCESS"
    assert row["checksum_before"] == row["checksum_after"]
    assert re.fullmatch("[0-9a-f]{64}", row["checksum_before"])
    assert named(upgraded.pair, "同步验证")["status"] == "DONE"


def test_row_4_18_the_messages_come_in_the_order_of_sequence_1(upgraded: Upgraded) -> None:
    said = upgraded.pair.rows("SELECT * FROM upgrade_messages ORDER BY sequence")
    assert [f"{row['sender']} {row['receiver']}" for row in said] == re.split(r",\s+", SEQUENCE_1)
    assert [row["sequence"] for row in said] == list(range(1, 25))
    assert all(before["at"] <= after["at"] for before, after in pairwise(said))
    texts = [row["text"] for row in said]
    assert [next(n for n, text in enumerate(texts) if text.startswith(one)) for one in AFTER] == [11, 13, 15, 22]


def test_row_4_20_the_root_key_never_leaves_the_nodes(upgraded: Upgraded) -> None:
    """It is even part of what is written: only its file may hold it."""
    pair, key = upgraded.pair, upgraded.pair.ground.root_key
    assert [key in content for content in upgraded.contents] == [True, True]
    assert upgraded.leaks == []
    assert key not in str(upgraded.printed)
    holds = [path for path in pair.place.root.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert holds == []


def test_row_4_02_an_upgrade_goes_on_when_rsync_does_not_stop_and_stops_it_afterwards(plain_pair: Pair) -> None:
    log_rsync(plain_pair)
    commands = plain_pair.spec["rsync"]["commands"]
    fails = plain_pair.ground.service("master") / "stop-fails"
    fails.touch()
    refusing = f"{LOGGED.format(verb='refused')}; exit 1"
    commands["stop"] = f'if test -e "$LAB_NODE/service/stop-fails"; then {refusing}; fi\n{commands["stop"]}'
    plain_pair.want_new()
    with held(plain_pair, "master", "start"):
        assert plain_pair.state() == "UPGRADING"
        fails.unlink()
    assert plain_pair.versions() == {"master": NEW, "backup": NEW}
    step = named(plain_pair, "暂停 rsync")
    assert step["status"] == "FAILED"
    assert "check" in step["message"]
    assert plain_pair.alarms() == ["RsyncNotPaused"]
    verified = max(call.at for call in plain_pair.calls("start"))
    again = [at for at, verb in said_by_rsync(plain_pair, "master") if verb == "stop" and at > verified]
    assert again, "it is stopped once both nodes are verified"
    assert (plain_pair.upgrades()[-1]["status"], plain_pair.state()) == ("SUCCESS", "RSYNC_RUNNING")
    assert plain_pair.content("backup") == NEW_TEXT


def test_row_4_02_an_upgrade_goes_on_when_there_is_no_rsync_to_pause(plain_pair: Pair) -> None:
    for role in ROLES:
        control(plain_pair, role, "stop")
    rsync = {**plain_pair.spec["rsync"], "control": "sysv", "unit": "no-such-script"}
    del rsync["commands"]
    plain_pair.want_new(rsync=rsync)
    plain_pair.apply(1)
    assert plain_pair.versions() == {"master": NEW, "backup": NEW}
    assert plain_pair.content("master") == plain_pair.content("backup") == NEW_TEXT
    assert named(plain_pair, "暂停 rsync")["status"] == "FAILED"
    assert "RsyncNotPaused" in plain_pair.alarms()


def test_row_4_03_an_rsync_that_starts_during_the_upgrade_is_an_alarm_and_left_alone(plain_pair: Pair) -> None:
    log_rsync(plain_pair)
    plain_pair.want_new()
    looks = "SELECT 1 FROM rsync_status_record"
    with held(plain_pair, "backup", "install"):
        stops = [verb for _, verb in said_by_rsync(plain_pair, "master")].count("stop")
        assert control(plain_pair, "master", "start") == 0
        until(lambda: "RsyncRuns" in plain_pair.alarms(), "the alarm")
        records = len(plain_pair.rows(looks))
        until(lambda: len(plain_pair.rows(looks)) > records + 3, "two more looks")
        assert [verb for _, verb in said_by_rsync(plain_pair, "master")].count("stop") == stops
        assert control(plain_pair, "master", "status") == 0
    assert plain_pair.alarms() == ["RsyncRuns"]
    assert plain_pair.upgrades()[-1]["status"] == "SUCCESS"


def hanging(pair: Pair, seconds: str) -> None:
    """Want an upgrade whose synchronization does not end by itself."""
    sync = {"command": f"sleep {HANGING} & sleep {HANGING}"}
    pair.want_new(rsync={**pair.spec["rsync"], "timeout": seconds, "sync": sync})


def timed_out(pair: Pair) -> dict[str, Any]:
    """The synchronization that hung, of which nothing is left."""
    left = [one for one in Path("/proc").glob("[0-9]*/cmdline") if HANGING.encode() in read(one).split(b"\0")]
    assert not left, "it is killed with its children"
    (row,) = pair.rows(SYNCS)
    assert row["sync_status"] == "TIMEOUT"
    assert (pair.upgrades()[-1]["status"], pair.state()) == ("PARTIAL", "RSYNC_RUNNING")
    return row


def test_row_4_06_a_synchronization_that_hangs_is_killed(plain_pair: Pair) -> None:
    hanging(plain_pair, "2s")
    plain_pair.write(version=OLD)
    plain_pair.apply(1)
    row = timed_out(plain_pair)
    assert 1 <= row["sync_duration_seconds"] <= 30
    assert len(row["checksum_before"]) == len(row["checksum_after"]) == 64


@pytest.mark.soak
def test_row_4_06_a_synchronization_that_hangs_is_killed_after_two_minutes(plain_pair: Pair) -> None:
    hanging(plain_pair, "120s")
    plain_pair.apply(1)
    assert 115 <= timed_out(plain_pair)["sync_duration_seconds"] <= 125


def test_row_4_05_rsync_that_does_not_start_is_tried_three_times(plain_pair: Pair) -> None:
    log_rsync(plain_pair)
    plain_pair.spec["rsync"]["commands"]["start"] = f"{LOGGED.format(verb='start')}; exit 1"
    plain_pair.want_new()
    plain_pair.apply(1)
    assert [verb for _, verb in said_by_rsync(plain_pair, "master")].count("start") == 3
    assert plain_pair.upgrades()[-1]["status"] == "PARTIAL"
    assert plain_pair.progress()["resume_rsync"] == "FAILED"
    assert plain_pair.alarms() == ["RsyncNotResumed"]
    assert plain_pair.state() == "WAIT_MANUAL"
    assert plain_pair.versions() == {"master": NEW, "backup": NEW}


def test_row_4_07_one_byte_that_differs_is_an_alarm_and_left_to_a_person(plain_pair: Pair) -> None:
    (conf,) = plain_pair.spec["configuration"]["paths"]
    rsync = {**plain_pair.spec["rsync"], "sync": {"command": f"printf x >>{conf}/app.conf"}}
    plain_pair.want_new(rsync=rsync)
    plain_pair.apply(1)
    assert plain_pair.alarms() == ["ConfigurationDiffers"]
    step = named(plain_pair, "同步验证")
    assert step["status"] == "FAILED"
    assert "app.conf" in step["message"]
    assert plain_pair.state() == "WAIT_MANUAL"
    assert [control(plain_pair, role, "status") != 0 for role in ROLES] == [True, True]


def test_row_4_09_a_node_that_fails_leaves_both_as_they_were(plain_pair: Pair) -> None:
    fault(plain_pair.ground, "backup", "install", times=1)
    plain_pair.want_new()
    plain_pair.apply(1)
    is_as_before(plain_pair, "install_backup")


def test_row_4_09_the_configuration_is_restored_from_its_backup(plain_pair: Pair) -> None:
    """Root can write past a lock without systemd: what it wrote meanwhile is taken back, on both nodes."""
    (conf,) = plain_pair.spec["configuration"]["paths"]
    sums = {role: whole(plain_pair, role) for role in ROLES}
    fault(plain_pair.ground, "master", "start", times=1)
    plain_pair.want_new()
    with held(plain_pair, "backup", "install"):
        plain_pair.ground.said("backup", f"echo changed >{conf}/app.conf; echo new >{conf}/other.conf")
        plain_pair.ground.said("master", f"rm -f {conf}/app.conf && cp -p {conf}/root.key {conf}/app.conf")
    assert {role: whole(plain_pair, role) for role in ROLES} == sums
    is_as_before(plain_pair, "start_master")


def is_as_before(pair: Pair, failed: str) -> None:
    """After an upgrade that failed in this step."""
    assert pair.versions() == {"master": OLD, "backup": OLD}
    assert pair.serving() == ["master"]
    assert {one: pair.content(one) for one in ROLES} == dict.fromkeys(ROLES, OLD_TEXT)
    assert [control(pair, one, "status") for one in ROLES] == [0, 0]
    assert pair.rows(SYNCS) == []
    (upgrade,) = pair.upgrades()
    assert upgrade["status"] == "ROLLED_BACK"
    assert upgrade["message"].startswith(failed)
    assert pair.state() == "RSYNC_RUNNING"


def whole(pair: Pair, role: str) -> str:
    """The checksum of each file, and the mode of each."""
    (conf,) = pair.spec["configuration"]["paths"]
    return pair.ground.said(role, f"cd {conf} && sha256sum * && stat -c '%n %a %U' *")


def test_row_4_10_what_both_sides_changed_is_left_to_a_person(plain_pair: Pair) -> None:
    plain_pair.want_new()
    (conf,) = plain_pair.spec["configuration"]["paths"]
    with held(plain_pair, "backup", "install"):
        for role in ROLES:
            plain_pair.ground.said(role, f"echo {role} >{conf}/other.conf")
    assert plain_pair.alarms() == ["ConfigurationConflict"]
    assert (plain_pair.state(), plain_pair.upgrades()[-1]["status"]) == ("WAIT_MANUAL", "PARTIAL")
    assert control(plain_pair, "master", "status") != 0
    assert plain_pair.rows(SYNCS) == []
    assert "other.conf" in " ".join(row["text"] for row in plain_pair.rows("SELECT text FROM step_logs"))
    plain_pair.place.run("rsync", "resolve", NAME, "--keep", "master", "--yes")
    assert plain_pair.state() == "RSYNC_RUNNING"
    assert control(plain_pair, "master", "status") == 0
    assert plain_pair.ground.said("backup", f"cat {conf}/other.conf") == "master"
    assert plain_pair.plan() is None


def test_row_4_19_an_upgrade_whose_process_is_killed_goes_on_to_its_end(plain_pair: Pair) -> None:
    plain_pair.want_new()
    assert plain_pair.dies("ran:pause_rsync")
    assert control(plain_pair, "master", "status") != 0
    assert plain_pair.dies("ran:install_master")
    plain_pair.converge()
    assert plain_pair.versions() == {"master": NEW, "backup": NEW}
    assert control(plain_pair, "master", "status") == 0
    assert plain_pair.ground.said("master", f"find {plain_pair.spec['configuration']['paths'][0]} ! -perm -u+w") == ""
    assert [row["status"] for row in plain_pair.upgrades()] == ["SUCCESS"]
    names = [(call.role, call.name, call.environ["VERSION"]) for call in plain_pair.calls(*ONCE)]
    assert len(names) == len(set(names)), "nothing ran twice"
