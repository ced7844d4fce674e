"""The rows of a pair: the document's tables with their rules, upgrades, how rsync was, and what was synchronized."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pair_store import RUN, PairStore, opened, spec_of
from sqlalchemy import CheckConstraint, inspect

from reconciler.errors import DatabaseError, TerminalError
from reconciler.kinds.node_pair import rows as rows_module
from reconciler.kinds.node_pair.rows import Standing
from reconciler.kinds.node_pair.rsync_output import SyncedFile
from reconciler.kinds.node_pair.spec import Role
from reconciler.kinds.node_pair.states import Event, PairState
from reconciler.kinds.node_pair.syncing import Status, Synced
from reconciler.kinds.node_pair.tables import metadata

ADDRESSES = ("10.77.0.2", "10.77.0.3")
SUM = "9f" * 32
PAUSED = Standing(paused=True, pause_time=5.0, resume_time=None, reason="UPGRADE")
AWAY = Standing(paused=True, pause_time=5.0, resume_time=None, reason="UPGRADE", detail="does not answer")
UPGRADE = f"INSERT INTO upgrade_history (upgrade_id, identity, version) VALUES (7, '{RUN}', '2.0')"
STATUS = (
    "INSERT INTO rsync_status_record (node_type, node_ip, service_status) VALUES ('MASTER', '10.77.0.2', 'RUNNING')"
)
SYNC = (
    "INSERT INTO config_sync_record (upgrade_id, from_node_ip, to_node_ip, sync_time, sync_status, checksum_before, "
    f"checksum_after) VALUES (7, '10.77.0.2', '10.77.0.3', 1.0, 'SUCCESS', '{SUM}', '{SUM}')"
)


APP = SyncedFile("/etc/shop/app.conf", "updated")


def synced(at: float, status: Status = "SUCCESS") -> Synced:
    """What a synchronization says of itself."""
    return Synced(status, at, 1.6, (APP,), SUM, SUM)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PairStore]:
    with opened(tmp_path) as made:
        yield made


def columns(store: PairStore, table: str) -> list[tuple[Any, ...]]:
    """Name, type, NOT NULL and part of the primary key, as the database has them."""
    found = store.sql(f"PRAGMA table_info({table})")
    return [(row["name"], row["type"], bool(row["notnull"]), bool(row["pk"])) for row in found]


def refused(store: PairStore, statement: str) -> None:
    with pytest.raises(DatabaseError, match="constraint failed"):
        store.sql(statement)


def test_row_4_13_rsync_status_record_has_its_ten_columns(store: PairStore) -> None:
    assert columns(store, "rsync_status_record")[:10] == [
        ("status_id", "INTEGER", True, True),
        ("node_type", "VARCHAR(10)", True, False),
        ("node_ip", "VARCHAR(50)", True, False),
        ("service_status", "VARCHAR(20)", True, False),
        ("is_paused", "SMALLINT", True, False),
        ("pause_time", "DOUBLE", False, False),
        ("resume_time", "DOUBLE", False, False),
        ("paused_reason", "VARCHAR(200)", False, False),
        ("check_time", "DOUBLE", True, False),
        ("created_at", "DOUBLE", True, False),
    ]
    store.sql(STATUS)
    (row,) = store.sql("SELECT *, (julianday('now') - 2440587.5) * 86400.0 AS now FROM rsync_status_record")
    assert (row["status_id"], row["is_paused"], row["pause_time"], row["paused_reason"]) == (1, 0, None, None)
    assert row["now"] - 60 < row["check_time"] <= row["now"]
    assert row["now"] - 60 < row["created_at"] <= row["now"]
    refused(store, STATUS.replace("'MASTER'", "'WITNESS'"))
    refused(store, STATUS.replace("'RUNNING'", "'PAUSED'"))
    refused(store, STATUS.replace("'10.77.0.2'", "NULL"))
    for column, bad in (("paused_reason", "'BOREDOM'"), ("is_paused", "2"), ("check_time", "NULL")):
        refused(store, f"UPDATE rsync_status_record SET {column} = {bad}")
    store.sql("UPDATE rsync_status_record SET paused_reason = 'MANUAL', is_paused = 1, service_status = 'UNKNOWN'")


def test_row_4_14_config_sync_record_has_its_thirteen_columns(store: PairStore) -> None:
    assert columns(store, "config_sync_record")[:13] == [
        ("sync_id", "INTEGER", True, True),
        ("upgrade_id", "INTEGER", False, False),
        ("from_node_ip", "VARCHAR(50)", True, False),
        ("to_node_ip", "VARCHAR(50)", True, False),
        ("sync_time", "DOUBLE", True, False),
        ("sync_duration_seconds", "INTEGER", False, False),
        ("sync_status", "VARCHAR(20)", True, False),
        ("files_synced", "INTEGER", False, False),
        ("files_failed", "INTEGER", False, False),
        ("checksum_before", "VARCHAR(64)", True, False),
        ("checksum_after", "VARCHAR(64)", True, False),
        ("error_message", "TEXT", False, False),
        ("created_at", "DOUBLE", True, False),
    ]
    refused(store, SYNC)  # there is no upgrade 7
    store.sql(UPGRADE)
    store.sql(SYNC)
    refused(store, SYNC.replace("'SUCCESS'", "'MAYBE'"))
    refused(store, SYNC.replace(f"'{SUM}'", "NULL", 1))
    refused(store, "DELETE FROM upgrade_history WHERE upgrade_id = 7")
    (row,) = store.sql("SELECT * FROM config_sync_record")
    assert (row["sync_id"], row["files_synced"], row["error_message"]) == (1, None, None)
    assert row["created_at"] > 1_700_000_000
    store.sql("INSERT INTO config_sync_file (sync_id, path, action, status) VALUES (1, '/etc/shop', 'sent', 'done')")
    refused(store, "INSERT INTO config_sync_file (sync_id, path, action, status) VALUES (2, '/etc', 'sent', 'done')")
    store.sql("DELETE FROM config_sync_record")
    assert store.sql("SELECT * FROM config_sync_file") == [], "files go with their record"


def test_what_the_tables_say_is_what_the_migration_makes(store: PairStore) -> None:
    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, metadata)
        assert [one for one in found if one[0] != "remove_table" and one[0] != "remove_index"] == []
        made = {
            name: {one["name"] for one in inspect(connection).get_check_constraints(name)} for name in metadata.tables
        }
    declared = {
        name: {one.name for one in table.constraints if isinstance(one, CheckConstraint)}
        for name, table in metadata.tables.items()
    }
    assert made == declared
    assert sum(len(names) for names in made.values()) == 9


def test_row_4_12_of_twelve_synchronizations_the_ten_newest_are_told(store: PairStore) -> None:
    rows = store.rows()
    rows.ensure(spec_of())
    upgrade = rows.begin_upgrade(RUN, {"master": "1.0", "backup": "1.0"}, "2.0", ["synchronize"])
    for number in range(12):
        bad = (APP, SyncedFile("/etc/shop/old", "deleted", "failed"))
        partly = Synced("PARTIAL", 100.0 + number, 2.4, bad, SUM, "0" * 64, "rsync: unlink failed")
        rows.note_sync(upgrade if number % 2 else None, ADDRESSES, partly if number == 11 else synced(100.0 + number))
    store.rows("other").note_sync(None, ADDRESSES, synced(500.0))
    told = rows.history()
    assert [one["startedAt"] for one in told] == [111.0 - number for number in range(10)]
    assert told[0] == {
        "id": 12,
        "upgradeId": upgrade,
        "from": "10.77.0.2",
        "to": "10.77.0.3",
        "startedAt": 111.0,
        "duration": 2,
        "status": "PARTIAL",
        "filesSynced": 1,
        "filesFailed": 1,
        "files": [
            {"path": "/etc/shop/app.conf", "action": "updated", "status": "ok"},
            {"path": "/etc/shop/old", "action": "deleted", "status": "failed"},
        ],
        "checksumBefore": SUM,
        "checksumAfter": "0" * 64,
        "error": "rsync: unlink failed",
    }
    assert (told[1]["upgradeId"], told[1]["error"], len(told[1]["files"])) == (None, "", 1)
    assert len(rows.history(limit=3)) == 3
    assert rows.status()["lastSync"] == told[0]


def test_a_synchronization_that_is_recorded_again_is_the_same(store: PairStore) -> None:
    rows = store.rows()
    first = rows.note_sync(None, ADDRESSES, synced(100.0))
    assert rows.note_sync(None, ADDRESSES, synced(100.0, "TIMEOUT")) == first
    (told,) = rows.history()
    assert told["status"] == "TIMEOUT"
    assert len(told["files"]) == 1


def test_an_upgrade_is_one_row_with_its_steps_in_both_languages(store: PairStore) -> None:
    rows, steps = store.rows(), ("pause_rsync", "install_backup", "resume_rsync")
    rows.ensure(spec_of())
    assert rows.open_upgrade() is None
    upgrade = rows.begin_upgrade(RUN, {"master": "1.0", "backup": "1.1"}, "2.0", steps)
    assert rows.begin_upgrade(RUN, {"master": "2.0", "backup": "2.0"}, "2.0", ()) == upgrade, "the same after a crash"
    opened_one = rows.open_upgrade()
    assert opened_one is not None
    assert (opened_one["identity"], opened_one["master_version"], opened_one["version"]) == (RUN, "1.0", "2.0")
    rows.step_began(upgrade, "pause_rsync")
    store.clock.now += 3
    rows.step_ended(upgrade, "pause_rsync", "DONE", "both stopped")
    rows.step_began(upgrade, "install_backup")
    rows.step_ended(upgrade, "install_backup", "FAILED", "exit status 3")
    rows.step_began(upgrade, "undo-install_backup")
    rows.end_upgrade(upgrade, "ROLLED_BACK", "install_backup failed")
    told = rows.status()["upgrade"]
    assert (told["run"], told["status"], told["from"]) == (RUN, "ROLLED_BACK", {"master": "1.0", "backup": "1.1"})
    shown = [(one["displayName"], one["name"], one["status"], one["message"]) for one in told["steps"]]
    assert shown == [
        ("暂停 rsync", "Pause rsync", "DONE", "both stopped"),
        ("升级备节点", "Install on the backup", "FAILED", "exit status 3"),
        ("恢复 rsync", "Resume rsync", "SKIPPED", ""),
        ("回滚: 升级备节点", "Take back: Install on the backup", "RUNNING", ""),
    ]
    assert told["steps"][0]["endedAt"] - told["steps"][0]["startedAt"] == 3
    assert rows.open_upgrade() is None
    with pytest.raises(DatabaseError, match="constraint failed"):
        store.sql(
            "INSERT INTO upgrade_progress (upgrade_id, step, display_name, sequence) VALUES (1, 'pause_rsync', '', 9)"
        )


def test_a_transition_that_a_step_makes_once_more_is_made_once(store: PairStore) -> None:
    rows = store.rows()
    upgrade = rows.begin_upgrade(RUN, {}, "2.0", ())
    for _ in range(2):
        assert rows.move(Event.STARTED, "version 2.0", upgrade) is PairState.UPGRADE_PAUSED
    for _ in range(2):
        assert rows.move(Event.UPGRADE_BEGAN, "rsync is paused", upgrade) is PairState.UPGRADING
    with pytest.raises(TerminalError, match="UPGRADING") as refusal:
        rows.move(Event.STARTED, "version 2.0", upgrade)
    assert refusal.value.reason == "NoSuchTransition"
    assert len(store.records.list("pair_transitions")) == 2
    rows.move(Event.NEEDS_PERSON, "rsync runs and does not stop", upgrade)
    assert rows.wait_reason() == "rsync runs and does not stop"
    todo = [one["command"] for one in rows.status()["todo"]]
    assert todo == [f"reconciler rsync resolve shop --keep {side}" for side in ("master", "backup")]
    rows.move(Event.RESOLVED, "the master was kept")
    assert (rows.wait_reason(), rows.status()["todo"]) == ("", [])


def test_records_of_rsync_are_let_go_once_there_are_many(store: PairStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "KEPT_STATUSES", 20)
    rows = store.rows()
    for _ in range(60):
        store.clock.now += 15
        rows.note_rsync("master", ADDRESSES[0], "STOPPED", **PAUSED)
        rows.note_rsync("backup", "b" * 70, "UNKNOWN", **AWAY)
    kept = store.records.list("rsync_status_record", pair="shop")
    assert len(kept) == 20 + 20, "the oldest went at the hundredth"
    assert kept[-1]["check_time"] == store.clock.now
    assert {(row["node_type"], row["node_ip"]) for row in kept} == {("MASTER", ADDRESSES[0]), ("BACKUP", "b" * 50)}
    newest = rows.status()["nodes"]["backup"]["rsync"]
    assert (newest["status"], newest["detail"], newest["pauseTime"]) == ("UNKNOWN", "does not answer", 5.0)


def test_messages_of_an_upgrade_keep_their_order_and_their_participants(store: PairStore) -> None:
    rows = store.rows()
    upgrade = rows.begin_upgrade(RUN, {}, "2.0", ())
    rows.said(upgrade, "MANAGER", "COORDINATOR", "start the upgrade")
    rows.said(upgrade, "COORDINATOR", "MASTER", "check rsync")
    rows.said(upgrade, "COORDINATOR", "MASTER", "check rsync")
    told = store.records.list("upgrade_messages", upgrade_id=upgrade)
    assert [one["sequence"] for one in told] == [1, 2, 3]
    with pytest.raises(DatabaseError, match="constraint failed"):
        rows.said(upgrade, "PASSERBY", "MASTER", "hello")  # type: ignore[arg-type]


def test_a_baseline_is_of_both_sides_and_goes_with_the_pair(store: PairStore) -> None:
    rows = store.rows()
    assert rows.baseline() == {}
    assert not rows.is_known()
    sums: dict[Role, dict[str, str]] = {
        "master": {"/etc/shop/app.conf": SUM},
        "backup": {"/etc/shop/app.conf": "0" * 64},
    }
    rows.keep_baseline(sums)
    assert rows.baseline() == sums
    upgrade = rows.begin_upgrade(RUN, {}, "2.0", ())
    rows.move(Event.STARTED, "version 2.0", upgrade)
    rows.end_upgrade(upgrade, "SUCCESS", "")
    rows.note_rsync("master", ADDRESSES[0], "RUNNING", **PAUSED)
    rows.forget()
    assert not rows.is_known()
    assert (rows.baseline(), rows.status(), rows.state()) == ({}, {}, PairState.RSYNC_RUNNING)
    left = {table: len(store.records.list(table, pair="shop")) for table in ("upgrade_history", "rsync_status_record")}
    assert left == {"upgrade_history": 1, "rsync_status_record": 0}, "what was done stays recorded"


def test_a_pair_is_brought_to_its_document_and_written_only_when_it_differs(store: PairStore) -> None:
    rows = store.rows()
    rows.ensure(spec_of())
    (before,) = store.sql("SELECT * FROM node_pairs")
    assert (before["master_address"], before["backup_address"], before["sync_interval"]) == (*ADDRESSES, 300.0)
    store.clock.now += 60
    rows.ensure(spec_of())
    assert store.sql("SELECT * FROM node_pairs") == [before]
    assert store.rows().status()["interval"] == 300.0
