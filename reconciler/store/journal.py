"""The journal: runs, changes, steps, their logs and processes. Written by `engine.executor`, always under a lease.

A step's intent is written before it runs and its outcome after it, so that after a crash the open row says what may or
may not have happened. Everything about a resource is written through `Lease.fenced()`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from reconciler.errors import StalePlanError
from reconciler.model.digest import digest
from reconciler.model.plan import Change, PlannedStep
from reconciler.model.resource import ResourceRef
from reconciler.model.result import StepOutcome
from reconciler.store.database import Database
from reconciler.store.leases import Lease, is_dead
from reconciler.store.owners import Owner, boot_id
from reconciler.store.tables import (
    approvals,
    changes,
    consumed_plans,
    leases,
    processes,
    runs,
    statuses,
    step_logs,
    steps,
)
from reconciler.store.unfinished import is_unfinished

INTERRUPTED = "Interrupted"
_NEW_CHANGE, _NEW_STEP, _NEW_LOG, _NEW_PROCESS = (insert(table) for table in (changes, steps, step_logs, processes))
_STEP = update(steps).where(steps.c.id == bindparam("of"))
_STEP_SO_FAR = _STEP.where(steps.c.progress < bindparam("percent"))
_PROCESSES_OF_STEP = delete(processes).where(processes.c.step_id == bindparam("of"))
_PROCESS = delete(processes).where(processes.c.id == bindparam("of"))
"""Made once: each step comes with several of them."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process group that a dead or superseded holder left behind."""

    row_id: int
    pgid: int
    start_time: int
    argv: str


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known when a run starts. plan: as JSON, or None. plan_digest: of the plan file that it uses up, or ""."""

    owner: Owner
    trigger: str
    revision: str = ""
    summary: str = ""
    plan: Any = None
    plan_digest: str = ""


def start_run(database: Database, connection: Connection, start: RunStart) -> int:
    """Open a run. A plan file is used up in this very transaction: a second run of it raises StalePlanError."""
    now = database.now(connection)
    values = {
        "actor": start.owner.holder[:128],
        "boot_id": start.owner.boot_id,
        "pid": start.owner.pid,
        "pid_start": start.owner.pid_start,
        "trigger": start.trigger,
        "revision": start.revision,
        "state": "running",
        "summary": start.summary,
        "plan": None if start.plan is None else json.dumps(start.plan),
        "started_at": now,
    }
    run_id = _inserted(connection.execute(insert(runs).values(values)))
    if start.plan_digest:
        used = connection.execute(select(consumed_plans).where(consumed_plans.c.digest == start.plan_digest)).first()
        if used is not None:
            raise StalePlanError("PlanConsumed", f"this plan was already applied by run {used.run_id}")
        connection.execute(insert(consumed_plans).values(digest=start.plan_digest, run_id=run_id, at=now))
    return run_id


def end_run(database: Database, connection: Connection, run_id: int, state: str) -> None:
    """Close a run: succeeded, partial, failed or interrupted."""
    ended = {"state": state, "ended_at": database.now(connection)}
    connection.execute(update(runs).where(runs.c.id == run_id).values(ended))


def start_change(lease: Lease, run_id: int, change: Change, planned: Mapping[str, Any] | None = None) -> int:
    """Open a change: from here on something may exist, so the resource counts as touched. Uses up its approval.

    planned: what is needed to continue it after a crash, where its kind wants that.
    """
    ref = change.ref
    with lease.fenced() as connection:
        now = lease.database.now(connection)
        values = {
            "run_id": run_id,
            "kind": ref.kind,
            "name": ref.name,
            "action": change.action.value,
            "why": change.why,
            "diffs": json.dumps([[entry.path, entry.before, entry.after, entry.secret] for entry in change.diffs]),
            "fingerprint": change.fingerprint,
            "generation": change.resource.generation,
            "weight": sum(step.weight for step in change.steps),
            "before_digest": digest(change.before),
            "after_digest": digest(change.after),
            "planned": None if planned is None else json.dumps(planned),
            "started_at": now,
        }
        change_id = _inserted(connection.execute(_NEW_CHANGE, values))
        lease.database.upsert(connection, statuses, ref._asdict(), {"touched": 1, "last_run": run_id})
        used = (approvals.c.kind == ref.kind) & (approvals.c.name == ref.name)
        connection.execute(delete(approvals).where(used, approvals.c.fingerprint == change.fingerprint))
    return change_id


def open_step(lease: Lease, change_id: int, sequence: int, step: PlannedStep) -> int:
    """Write the intent of a step. Returns its id."""
    with lease.fenced() as connection:
        values = {
            "change_id": change_id,
            "sequence": sequence,
            "name": step.name,
            "title": step.title,
            "weight": step.weight,
            "outcome": StepOutcome.OPEN.value,
            "epoch": lease.epoch,
            "outputs": "{}",
            "message": "",
            "started_at": lease.database.now(connection),
        }
        return _inserted(connection.execute(_NEW_STEP, values))


def close_step(
    lease: Lease, step_id: int, outcome: StepOutcome, outputs: Mapping[str, Any] | None = None, message: str = ""
) -> None:
    """Write the outcome of a step, and that none of its processes is left."""
    with lease.fenced() as connection:
        values: dict[str, Any] = {
            "of": step_id,
            "outcome": outcome.value,
            "outputs": json.dumps(outputs or {}),
            "message": message,
            "ended_at": lease.database.now(connection),
        }
        if outcome is StepOutcome.DONE:
            values["progress"] = 100.0
        connection.execute(_STEP, values)
        connection.execute(_PROCESSES_OF_STEP, {"of": step_id})


def note_progress(lease: Lease, step_id: int, percent: float, note: str) -> None:
    """How far a step is; a lower figure than before is kept at the higher."""
    with lease.fenced() as connection:
        connection.execute(_STEP, {"of": step_id, "note": note[:512]})
        connection.execute(_STEP_SO_FAR, {"of": step_id, "percent": percent, "progress": min(percent, 100.0)})


def append_log(lease: Lease, step_id: int, text: str) -> None:
    """Add to the captured output of a step."""
    with lease.fenced() as connection:
        values = {"step_id": step_id, "at": lease.database.now(connection), "text": text}
        connection.execute(_NEW_LOG, values)


def end_change(connection: Connection, change_id: int, verdict: str, reason: str, message: str, now: float) -> None:
    """Close a change, in the transaction that writes the resource's status."""
    values = {"verdict": verdict, "reason": reason, "message": message, "ended_at": now}
    connection.execute(update(changes).where(changes.c.id == change_id).values(values))


def is_anything_left(connection: Connection, ref: ResourceRef) -> bool:
    """Whether an earlier holder of a resource's lease has left a process or an open change in the journal."""
    process = select(processes.c.id).where(processes.c.lease == bindparam("lease"))
    change = select(changes.c.id).where(
        changes.c.kind == bindparam("kind"), changes.c.name == bindparam("name"), changes.c.verdict == ""
    )
    values = {**ref._asdict(), "lease": str(ref)}
    return any(connection.execute(one.limit(1), values).first() is not None for one in (process, change))


def close_interrupted(lease: Lease, ref: ResourceRef, *, keep: bool = False) -> list[int]:
    """Mark what an earlier holder left open: steps as unconfirmed, changes as interrupted. Returns change ids.

    keep: leave open those changes that are to be continued.
    """
    with lease.fenced() as connection:
        now = lease.database.now(connection)
        chosen = select(changes.c.id).where(
            changes.c.kind == ref.kind, changes.c.name == ref.name, changes.c.verdict == ""
        )
        open_ids = list(connection.execute(chosen).scalars())
        for change_id in open_ids:
            still_open = (steps.c.change_id == change_id) & (steps.c.outcome == StepOutcome.OPEN.value)
            message = "its process ended while the step ran"
            unconfirmed = {"outcome": StepOutcome.UNCONFIRMED.value, "message": message, "ended_at": now}
            connection.execute(update(steps).where(still_open).values(unconfirmed))
            if not (keep and is_unfinished(connection, change_id)):
                end_change(connection, change_id, "unknown", INTERRUPTED, message, now)
        return open_ids


def left_open(connection: Connection) -> list[ResourceRef]:
    """Resources with a lease, a process or a change that has no end, and with nobody alive who could work on them."""
    unended = connection.execute(select(changes.c.kind, changes.c.name).where(changes.c.verdict == "")).all()
    names = {f"{row.kind}/{row.name}" for row in unended}
    names.update(connection.execute(select(processes.c.lease)).scalars())
    for row in connection.execute(select(leases).where(leases.c.owner != "")):
        (names.add if is_dead(row) else names.discard)(row.name)
    return sorted(ResourceRef.parse(name) for name in names if "/" in name)  # the daemon's own lease has none


def close_runs_of_the_dead(database: Database) -> int:
    """Mark runs whose process is provably gone as interrupted. Returns how many."""
    with database.write() as connection:
        open_runs = connection.execute(select(runs).where(runs.c.state == "running")).all()
        dead = [row.id for row in open_runs if is_dead(row)]
        values = {"state": "interrupted", "ended_at": database.now(connection)}
        connection.execute(update(runs).where(runs.c.id.in_(dead)).values(values))
    return len(dead)


def note_process(lease: Lease, step_id: int | None, pgid: int, start_time: int, argv: str) -> int:
    """Write down a process group before it starts its work, so that a successor can end it. Returns the row's id."""
    with lease.fenced() as connection:
        values = {
            "lease": lease.name,
            "step_id": step_id,
            "boot_id": boot_id(),
            "pgid": pgid,
            "start_time": start_time,
            "argv": argv,
            "started_at": lease.database.now(connection),
        }
        return _inserted(connection.execute(_NEW_PROCESS, values))


def forget_process(lease: Lease, row_id: int) -> None:
    """A process group ended."""
    with lease.fenced() as connection:
        connection.execute(_PROCESS, {"of": row_id})


def orphans(lease: Lease) -> list[Orphan]:
    """The process groups of this boot that earlier holders of the lease left in the journal."""
    with lease.fenced() as connection:
        mine = processes.c.lease == lease.name
        connection.execute(delete(processes).where(mine, processes.c.boot_id != boot_id()))
        rows = connection.execute(select(processes).where(mine)).all()
    return [Orphan(row.id, row.pgid, row.start_time, row.argv) for row in rows]


def _inserted(result: Any) -> int:
    return int(result.inserted_primary_key[0])
