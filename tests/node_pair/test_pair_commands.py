"""`reconciler rsync`: what a person sees of a pair's rsync and does with it, on real nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from pair import REF, Pair
from pair_faults import cut_off
from pair_ground import OLD_TEXT

from reconciler.kinds.node_pair.nodes.locks import ConfigurationLock
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.pause_marks import Pause
from reconciler.kinds.node_pair.nodes.rsync_control import RsyncControl
from reconciler.kinds.node_pair.rows import PairRows
from reconciler.kinds.node_pair.spec import ROLES, ConfigurationSpec, NodePairSpec, NodeSpec
from reconciler.kinds.node_pair.states import Event
from reconciler.kinds.node_pair.tables import metadata
from reconciler.model.resource import Resource, ResourceRef
from reconciler.store import leases
from reconciler.store.database import Database
from reconciler.store.kind_records import KindRecords
from reconciler.store.owners import Owner
from reconciler.transports.ssh import Ssh

RUN = "3f2a9c1b7d20"
WHY = "both nodes differ in app.conf"
CONF = "/srv/data/conf"
LOCKED = ConfigurationSpec((CONF,), {}, "immutable", 7200.0, "/var/lib/reconciler-node/backups")


def rsync(pair: Pair, verb: str, *arguments: str, code: int | None = 0) -> Any:
    """`reconciler rsync`; what it printed, as JSON where it is."""
    wants_json = "-o" in arguments
    ran = pair.place.run("rsync", verb, "lab", *arguments, code=code)
    return ran.json if wants_json and ran.out else ran.out + ran.err


def is_active(pair: Pair, role: str, *units: str) -> list[str]:
    return pair.ground.run(role, f"systemctl is-active {' '.join(units)}").stdout.split()


def change(pair: Pair, role: str, text: str, name: str = "app.conf") -> None:
    """Somebody writes a file of the configuration on a node."""
    (pair.ground.data(role) / "conf" / name).write_text(text)


def contents(pair: Pair) -> list[str]:
    return [pair.content(role) for role in ROLES]


@contextmanager
def rows_of(pair: Pair) -> Iterator[PairRows]:
    """The pair's rows in the store, to be written as a step writes them."""
    database = Database.at(pair.place.database_file)
    lease = leases.acquire(database, REF, Owner.this_process("test"))
    try:
        yield PairRows(KindRecords(database, metadata.tables, lease), "lab", lambda: 1_800_000_000.0)
    finally:
        lease.release()
        database.close()


def leave_to_a_person(pair: Pair) -> None:
    """As an upgrade leaves a pair that it cannot end: rsync paused, the configuration locked, waiting."""
    spec = NodePairSpec.of(Resource(ResourceRef.parse(REF), pair.spec)).rsync
    assert spec is not None
    for role in ROLES:
        place = pair.ground.place(role)
        with closing(Ssh(place)) as ssh:
            node = Node(NodeSpec(role, place), ssh)
            RsyncControl(node, spec, "lab").pause(Pause("UPGRADE", RUN, 1_700_000_000.0))
            ConfigurationLock(node, LOCKED, "lab").take(RUN, 4_000_000_000.0)
    with rows_of(pair) as rows:
        for event in (Event.STARTED, Event.UPGRADE_BEGAN, Event.NEEDS_PERSON):
            rows.move(event, WHY)


def force(pair: Pair, role: str, text: str) -> None:
    """Somebody changes what is locked."""
    pair.ground.said(role, f"chattr -i {CONF}/* {CONF}")
    change(pair, role, text)
    pair.ground.said(role, f"chattr +i {CONF}/* {CONF}")


def locked(pair: Pair) -> list[str]:
    """What can still not be written."""
    return [role for role in ROLES if " " in pair.ground.run(role, f"lsattr {CONF} | grep -- '^....i'").stdout]


def test_row_4_11_status_asks_both_nodes_and_a_node_that_is_away_is_unknown(pair: Pair) -> None:
    before = rsync(pair, "status", str(pair.place.specs), "-o", "json")
    assert before["stateName"] == "never looked at"
    pair.apply()
    told = rsync(pair, "status", "-o", "json")
    assert {role: node["rsync"]["status"] for role, node in told["nodes"].items()} == dict.fromkeys(ROLES, "RUNNING")
    assert (told["interval"], told["lastSyncTime"], told["state"]) == (300.0, None, "RSYNC_RUNNING")
    words = {"COMP_WORDS": "reconciler rsync status l", "COMP_CWORD": "3"}
    assert pair.place.run(env={"_RECONCILER_COMPLETE": "bash_complete", **words}).out == "plain,lab\n"
    recorded = pair.rows("SELECT * FROM rsync_status_record")
    with cut_off(pair.ground, "backup"):
        told = rsync(pair, "status", "-o", "json", code=6)
        assert told["nodes"]["master"]["rsync"]["status"] == "RUNNING"
        assert told["nodes"]["backup"]["rsync"]["status"] == "UNKNOWN"
        assert told["nodes"]["backup"]["rsync"]["detail"]
        assert pair.rows("SELECT * FROM rsync_status_record") == recorded, "a look of a person is no record"
        pair.apply(code=6)
    newest = pair.rows("SELECT node_type, service_status FROM rsync_status_record ORDER BY status_id")[-2:]
    assert [(row["node_type"], row["service_status"]) for row in newest] == [
        ("MASTER", "RUNNING"),
        ("BACKUP", "UNKNOWN"),
    ]


def test_what_is_paused_by_hand_stays_so_until_it_is_resumed_by_hand(pair: Pair) -> None:
    pair.apply()
    rsync(pair, "pause")
    assert is_active(pair, "master", "rsync") == ["inactive"]
    assert is_active(pair, "backup", "rsync", "config-sync.timer") == ["inactive", "inactive"]
    (row,) = pair.rows("SELECT * FROM rsync_status_record WHERE node_type = 'MASTER' ORDER BY status_id DESC LIMIT 1")
    assert (row["is_paused"], row["paused_reason"], row["service_status"]) == (1, "MANUAL", "STOPPED")
    assert row["pause_time"] > row["check_time"] - 120
    assert pair.plan() is None, "nobody resumes what a person paused"
    assert "paused by hand" in rsync(pair, "status")
    rsync(pair, "pause")
    told = rsync(pair, "resume", "-o", "json")
    assert is_active(pair, "master", "rsync") == ["active"]
    assert is_active(pair, "backup", "rsync", "config-sync.timer") == ["active", "active"]
    standing = told["nodes"]["master"]["rsync"]
    assert (standing["status"], standing["paused"]) == ("RUNNING", False)
    assert standing["resumeTime"] >= standing["pauseTime"]
    happened = [row["reason"] for row in pair.rows("SELECT reason FROM events WHERE name = 'lab' ORDER BY id")]
    assert happened[-3:] == ["RsyncPaused", "RsyncPaused", "RsyncResumed"]

    with rows_of(pair) as rows:
        upgrade = rows.begin_upgrade(RUN, {}, "2.0", ())
        rows.move(Event.STARTED, "upgrade to 2.0", upgrade)
    for verb, arguments in (("pause", ()), ("resume", ()), ("sync", ("-y",))):
        assert RUN in rsync(pair, verb, *arguments, code=7), "an upgrade has it in hand"
    assert is_active(pair, "master", "rsync") == ["active"]


def test_a_synchronization_by_hand_is_shown_asked_for_and_recorded(pair: Pair) -> None:
    pair.apply()
    change(pair, "master", "greeting = good evening")
    said = rsync(pair, "sync", code=64)
    assert "updated" in said
    assert "--yes" in said
    assert contents(pair) == ["greeting = good evening", OLD_TEXT], "nobody said yes"
    told = rsync(pair, "sync", "-y", "-o", "json")
    assert (told["sync"]["status"], told["different"]) == ("SUCCESS", [])
    assert told["sync"]["checksumBefore"] == told["sync"]["checksumAfter"]
    assert contents(pair) == ["greeting = good evening"] * 2

    for role in ROLES:
        change(pair, role, f"greeting = from the {role}")
    assert "both sides" in rsync(pair, "sync", "-y", code=7)
    assert contents(pair) == ["greeting = from the master", "greeting = from the backup"]
    change(pair, "backup", "greeting = from the master")

    for number in range(12):
        change(pair, "backup", "of nobody", f"left-{number}.conf")
    assert "maxDelete" in rsync(pair, "sync", "-y", code=1)
    assert (pair.ground.data("backup") / "conf/left-11.conf").exists()
    (newest,) = rsync(pair, "history", "-o", "json")
    assert newest == told["sync"]
    assert "app.conf" in rsync(pair, "history", "-n", "1")


def test_row_4_10_a_person_says_which_side_is_right(pair: Pair) -> None:
    pair.apply()
    assert "does not wait" in rsync(pair, "resolve", "--keep", "master", "-y", code=7)
    leave_to_a_person(pair)
    assert "--keep master" in rsync(pair, "resume", code=7)
    for role in ROLES:
        force(pair, role, f"greeting = from the {role}")
    assert locked(pair) == list(ROLES)
    refused = rsync(pair, "resolve", "--keep", "backup", "--already-copied", "-y", code=1)
    assert "app.conf" in refused
    assert (pair.state(), is_active(pair, "master", "rsync")) == ("WAIT_MANUAL", ["inactive"])
    assert contents(pair) == ["greeting = from the master", "greeting = from the backup"]

    told = rsync(pair, "resolve", "--keep", "backup", "-y", "-o", "json")
    assert (told["kept"], told["state"], told["sync"]["status"]) == ("backup", "RSYNC_RUNNING", "SUCCESS")
    assert contents(pair) == ["greeting = from the backup"] * 2
    addresses = [pair.spec[role]["address"] for role in ("backup", "master")]
    assert [told["sync"]["from"], told["sync"]["to"]] == addresses
    assert (pair.state(), pair.row()["wait_reason"]) == ("RSYNC_RUNNING", None)
    assert is_active(pair, "master", "rsync") == ["active"]
    assert is_active(pair, "backup", "rsync", "config-sync.timer") == ["active", "active"]
    assert locked(pair) == []
    (last,) = pair.rows("SELECT * FROM pair_transitions ORDER BY id DESC LIMIT 1")
    assert (last["source"], last["event"], last["target"]) == ("WAIT_MANUAL", "RESOLVED", "RSYNC_RUNNING")

    leave_to_a_person(pair)
    rsync(pair, "pause")
    force(pair, "master", "greeting = the master after all")
    rsync(pair, "resolve", "--keep", "master", "-y")
    assert contents(pair) == ["greeting = the master after all"] * 2
    assert (pair.state(), is_active(pair, "master", "rsync")) == ("RSYNC_RUNNING", ["active"])


def test_what_cannot_be_synchronized_that_way_is_copied_by_hand(pair: Pair) -> None:
    """The spec's own command only goes one way; a person carries the rest, and says so."""
    sync = {"command": f"rsync -a --itemize-changes rsync://{pair.spec['master']['address']}/data/conf/ {CONF}/"}
    pair.write(rsync={**pair.spec["rsync"], "sync": sync})
    pair.apply()
    leave_to_a_person(pair)
    force(pair, "backup", "greeting = from the backup")
    said = rsync(pair, "resolve", "--keep", "backup", "-y", code=1)
    assert "--keep backup --already-copied" in said
    assert pair.state() == "WAIT_MANUAL"
    change(pair, "master", "greeting = from the backup")
    told = rsync(pair, "resolve", "--keep", "backup", "--already-copied", "-y", "-o", "json")
    assert (told["sync"], told["state"]) == (None, "RSYNC_RUNNING")
