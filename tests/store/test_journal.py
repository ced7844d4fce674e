"""The journal: intent before, outcome after, what a dead holder left open, and plans that are used once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, update

from reconciler.errors import LeaseLostError, StalePlanError
from reconciler.model.plan import Action, Change, FieldDiff, PlannedStep
from reconciler.model.resource import Resource, ResourceRef
from reconciler.model.result import StepOutcome
from reconciler.store import journal, leases, remembered, statuses
from reconciler.store.database import Database
from reconciler.store.journal import RunStart
from reconciler.store.leases import Lease
from reconciler.store.owners import Owner
from reconciler.store.tables import changes, processes, runs, step_logs, steps
from reconciler.store.tables import leases as leases_table

REF = ResourceRef("Entry", "one")
CHANGE = Change(
    REF,
    Action.UPDATE,
    Resource(REF, {}, generation=3),
    "spec.a differs",
    diffs=(FieldDiff("spec.a", 1, 2), FieldDiff("spec.p", "***", "***", True)),
    fingerprint="f" * 64,
)
STEP = PlannedStep("write", "Write the entry", 3, "exact")
ME = Owner.this_process("test")


@pytest.fixture
def lease(database: Database) -> Lease:
    return leases.acquire(database, str(REF), ME)


def started(database: Database, **values: str) -> int:
    with database.write() as connection:
        return journal.start_run(database, connection, RunStart(ME, "apply", **values))


def rows(database: Database, table: object) -> list[dict[str, object]]:
    with database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table))]  # type: ignore[call-overload]


def take_over(database: Database, lease: Lease) -> Lease:
    with database.write() as connection:
        connection.execute(update(leases_table).values(expires_at=0.0))
    return leases.acquire(database, lease.name, Owner.this_process("successor"))


def test_a_step_is_written_before_it_runs_and_closed_after(database: Database, lease: Lease) -> None:
    run_id = started(database, summary="Plan: 1 to update")
    change_id = journal.start_change(lease, run_id, CHANGE)
    step_id = journal.open_step(lease, change_id, 0, STEP)
    (row,) = rows(database, steps)
    assert (row["outcome"], row["epoch"], row["ended_at"]) == ("open", lease.epoch, None)
    journal.close_step(lease, step_id, StepOutcome.DONE, {"number": 7})
    (row,) = rows(database, steps)
    assert (row["outcome"], row["progress"], json.loads(str(row["outputs"]))) == ("done", 100.0, {"number": 7})
    (change,) = rows(database, changes)
    assert (change["action"], change["generation"], change["verdict"]) == ("update", 3, "")
    assert json.loads(str(change["diffs"])) == [["spec.a", 1, 2, False], ["spec.p", "***", "***", True]]


def test_from_its_first_step_on_a_resource_counts_as_touched(database: Database, lease: Lease) -> None:
    from reconciler.store.tables import statuses as statuses_table

    run_id = started(database)
    journal.start_change(lease, run_id, CHANGE)
    (row,) = rows(database, statuses_table)
    assert (row["touched"], row["last_run"]) == (1, run_id)


def test_an_approval_is_used_up_by_the_change_that_it_allows(database: Database, lease: Lease) -> None:
    with database.write() as connection:
        statuses.approve(database, connection, REF, CHANGE.fingerprint, "ann")
        statuses.approve(database, connection, REF, "another", "ann")
    journal.start_change(lease, started(database), CHANGE)
    with database.read() as connection:
        assert remembered.approved(connection) == {(REF, "another")}


def test_progress_never_falls_and_is_at_most_100(database: Database, lease: Lease) -> None:
    step_id = journal.open_step(lease, journal.start_change(lease, started(database), CHANGE), 0, STEP)
    seen = []
    for percent in (30.0, 10.0, 250.0):
        journal.note_progress(lease, step_id, percent, f"at {percent}")
        seen.append((rows(database, steps)[0]["progress"], rows(database, steps)[0]["note"]))
    assert seen == [(30.0, "at 30.0"), (30.0, "at 10.0"), (100.0, "at 250.0")]


def test_what_a_step_prints_is_kept_in_order(database: Database, lease: Lease) -> None:
    step_id = journal.open_step(lease, journal.start_change(lease, started(database), CHANGE), 0, STEP)
    for text in ("one\n", "two\n"):
        journal.append_log(lease, step_id, text)
    assert [row["text"] for row in rows(database, step_logs)] == ["one\n", "two\n"]


def test_a_plan_file_is_used_up_by_the_run_that_starts(database: Database) -> None:
    first = started(database, plan_digest="d" * 64)
    with pytest.raises(StalePlanError, match=f"already applied by run {first}") as caught:
        started(database, plan_digest="d" * 64)
    assert caught.value.reason == "PlanConsumed"
    assert len(rows(database, runs)) == 1, "the refused run leaves no trace"
    started(database, plan_digest="e" * 64)


def test_a_successor_marks_what_was_open_as_unconfirmed(database: Database, lease: Lease) -> None:
    change_id = journal.start_change(lease, started(database), CHANGE)
    done = journal.open_step(lease, change_id, 0, STEP)
    journal.close_step(lease, done, StepOutcome.DONE)
    journal.open_step(lease, change_id, 1, replace(STEP, name="stamp"))
    successor = take_over(database, lease)
    assert journal.close_interrupted(successor, REF) == [change_id]
    assert [row["outcome"] for row in rows(database, steps)] == ["done", "unconfirmed"]
    (change,) = rows(database, changes)
    assert (change["verdict"], change["reason"]) == ("unknown", "Interrupted")
    assert change["ended_at"] is not None
    assert journal.close_interrupted(successor, REF) == []


@pytest.mark.parametrize("what", ["an open change", "a process"])
def test_whether_anything_is_left_can_be_read_without_a_write(database: Database, lease: Lease, what: str) -> None:
    other = leases.acquire(database, "Entry/two", ME)
    change_id = journal.start_change(lease, started(database), CHANGE)
    journal.note_process(lease, None, 4242, 99, "sleep 3600")
    with database.write() as connection:
        if what == "a process":
            journal.end_change(connection, change_id, "changed", "Applied", "", 0.0)
        else:
            connection.execute(delete(processes))
        assert journal.is_anything_left(connection, REF)
        assert not journal.is_anything_left(connection, ResourceRef.parse(other.name))
    take_over(database, lease)
    with database.write() as connection:
        connection.execute(delete(processes))
        journal.end_change(connection, change_id, "changed", "Applied", "", 0.0)
        assert not journal.is_anything_left(connection, REF)


def test_nothing_is_written_for_a_holder_that_lost_its_lease(database: Database, lease: Lease) -> None:
    change_id = journal.start_change(lease, started(database), CHANGE)
    step_id = journal.open_step(lease, change_id, 0, STEP)
    take_over(database, lease)
    before = [rows(database, table) for table in (changes, steps, step_logs, processes)]
    for write in (
        lambda: journal.open_step(lease, change_id, 1, STEP),
        lambda: journal.close_step(lease, step_id, StepOutcome.DONE),
        lambda: journal.append_log(lease, step_id, "late"),
        lambda: journal.note_progress(lease, step_id, 50.0, "late"),
        lambda: journal.note_process(lease, step_id, 1, 1, "late"),
        lambda: journal.start_change(lease, 1, CHANGE),
    ):
        with pytest.raises(LeaseLostError):
            write()
    assert [rows(database, table) for table in (changes, steps, step_logs, processes)] == before


def test_processes_of_a_dead_holder_are_found_and_those_of_another_boot_forgotten(
    database: Database, lease: Lease
) -> None:
    step_id = journal.open_step(lease, journal.start_change(lease, started(database), CHANGE), 0, STEP)
    row_id = journal.note_process(lease, step_id, 4242, 99, "sleep 3600")
    journal.note_process(lease, step_id, 4343, 99, "sleep 3600")
    with database.write() as connection:
        connection.execute(update(processes).where(processes.c.pgid == 4343).values(boot_id="before the reboot"))
    successor = take_over(database, lease)
    (orphan,) = journal.orphans(successor)
    assert (orphan.row_id, orphan.pgid, orphan.start_time, orphan.argv) == (row_id, 4242, 99, "sleep 3600")
    assert [row["pgid"] for row in rows(database, processes)] == [4242]
    journal.forget_process(successor, row_id)
    assert journal.orphans(successor) == []


def test_processes_of_other_resources_are_none_of_ours(database: Database, lease: Lease) -> None:
    other = leases.acquire(database, "Entry/two", ME)
    journal.note_process(other, None, 4242, 99, "sleep 3600")
    assert journal.orphans(lease) == []


def test_a_closed_step_has_no_processes_left(database: Database, lease: Lease) -> None:
    step_id = journal.open_step(lease, journal.start_change(lease, started(database), CHANGE), 0, STEP)
    journal.note_process(lease, step_id, 4242, 99, "true")
    journal.close_step(lease, step_id, StepOutcome.FAILED, None, "it failed")
    assert rows(database, processes) == []
    assert rows(database, steps)[0]["message"] == "it failed"


def test_what_is_left_open_is_found_once_nobody_alive_can_be_working_on_it(database: Database, lease: Lease) -> None:
    step_id = journal.open_step(lease, journal.start_change(lease, started(database), CHANGE), 0, STEP)
    journal.note_process(lease, step_id, 4242, 99, "sleep 3600")
    leases.acquire(database, "daemon", replace(ME, pid_start=1))
    leases.acquire(database, "Entry/dead", replace(ME, pid_start=1))
    leases.acquire(database, "Entry/elsewhere", replace(ME, boot_id="elsewhere", pid_start=1))

    def found() -> list[str]:
        with database.read() as connection:
            return [str(ref) for ref in journal.left_open(connection)]

    assert found() == ["Entry/dead"]
    with database.write() as connection:
        connection.execute(update(leases_table).where(leases_table.c.name == lease.name).values(expires_at=0.0))
    assert found() == ["Entry/dead"], (
        "who lives may be only slow: whoever needs the resource takes it over, nobody else"
    )
    with database.write() as connection:
        connection.execute(update(leases_table).where(leases_table.c.name == lease.name).values(pid_start=1))
    assert found() == ["Entry/dead", "Entry/one"]


def test_runs_of_dead_processes_are_closed_and_others_left_open(database: Database) -> None:
    mine = started(database)
    with database.write() as connection:
        dead = replace(ME, pid_start=1)
        lost = journal.start_run(database, connection, RunStart(dead, "apply"))
        elsewhere = replace(ME, boot_id="elsewhere", pid_start=1)
        remote = journal.start_run(database, connection, RunStart(elsewhere, "daemon"))
    assert journal.close_runs_of_the_dead(database) == 1
    states = {row["id"]: row["state"] for row in rows(database, runs)}
    assert states == {mine: "running", lost: "interrupted", remote: "running"}
