"""Runs, changes, steps and logs as they are shown: `history`, `logs`, `/runs`, a resource's page."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from reconciler.model.resource import ResourceRef
from reconciler.model.result import VERDICTS, StepOutcome
from reconciler.store.clock import now_of
from reconciler.store.leases import is_dead
from reconciler.store.tables import changes, commits, runs, step_logs, steps
from reconciler.store.views.base import View, mask_outputs
from reconciler.store.views.resources import DiffView, diffs_of

_PART = 400
_COMMIT = (commits.c.author, commits.c.subject)


@dataclass(frozen=True, slots=True)
class RunView(View):
    """A line of the list of runs. recap: how many changes ended with which verdict; `running` counts the open ones.

    revision: the commit that it carried out, with author and subject where they are known; "" without git.
    state: running, succeeded, partial, failed, interrupted. lost: it is said to run, but its process is gone.
    duration: seconds, so far while it runs.
    """

    id: int
    actor: str
    trigger: str
    revision: str
    author: str
    subject: str
    state: str
    lost: bool
    summary: str
    started_at: float
    ended_at: float | None
    duration: float
    recap: Mapping[str, int]
    change_count: int


@dataclass(frozen=True, slots=True)
class StepView(View):
    """One step. progress: 0 to 100. outputs: what it returned, secrets as `***`. log_chunks: how often it logged."""

    id: int
    sequence: int
    name: str
    title: str
    weight: int
    outcome: str
    progress: float
    note: str
    message: str
    outputs: Any
    log_chunks: int
    started_at: float
    ended_at: float | None
    duration: float


@dataclass(frozen=True, slots=True)
class ChangeView(View):
    """One change of a run. verdict: "" while it runs. generation: of the document that it applied.

    lost: it is said to run, but the process of its run is gone; the next run finds out how far it came. before_digest,
    after_digest: of the observed state that it started from and of the desired state that it leads to.
    """

    id: int
    run: int
    ref: ResourceRef
    actor: str
    trigger: str
    revision: str
    author: str
    subject: str
    action: str
    why: str
    diffs: tuple[DiffView, ...]
    verdict: str
    lost: bool
    reason: str
    message: str
    generation: int
    before_digest: str
    after_digest: str
    started_at: float
    ended_at: float | None
    duration: float
    steps: tuple[StepView, ...]


@dataclass(frozen=True, slots=True)
class RunDetail(View):
    """A run with its changes, oldest first. omitted: how many more there are."""

    run: RunView
    changes: tuple[ChangeView, ...]
    omitted: int


@dataclass(frozen=True, slots=True)
class LogChunk(View):
    """A piece of a step's captured output. id: what to ask for the rest with."""

    id: int
    at: float
    text: str


def list_runs(connection: Connection, *, limit: int, before: int | None = None) -> list[RunView]:
    """The newest `limit` runs, newest first; before: only runs with a smaller id."""
    chosen = _runs().order_by(runs.c.id.desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(runs.c.id < before)
    return _run_views(connection, connection.execute(chosen).all())


def run_detail(connection: Connection, run_id: int, limit: int = 500) -> RunDetail | None:
    """One run with its first `limit` changes, or None."""
    found = _run_views(connection, connection.execute(_runs().where(runs.c.id == run_id)).all())
    if not found:
        return None
    rows = connection.execute(_changes().where(changes.c.run_id == run_id).order_by(changes.c.id).limit(limit)).all()
    return RunDetail(found[0], tuple(_change_views(connection, rows)), found[0].change_count - len(rows))


def history(connection: Connection, ref: ResourceRef, limit: int = 20) -> list[ChangeView]:
    """The newest `limit` changes of a resource, newest first, with their steps."""
    chosen = _changes().where(changes.c.kind == ref.kind, changes.c.name == ref.name)
    return _change_views(connection, connection.execute(chosen.order_by(changes.c.id.desc()).limit(limit)).all())


def changes_after(connection: Connection, ref: ResourceRef, after: int, until: int | None = None) -> list[ChangeView]:
    """The changes of a resource after change `after`, up to and with change `until`, oldest first, at most 100."""
    chosen = _changes().where(changes.c.kind == ref.kind, changes.c.name == ref.name, changes.c.id > after)
    if until is not None:
        chosen = chosen.where(changes.c.id <= until)
    return _change_views(connection, connection.execute(chosen.order_by(changes.c.id).limit(100)).all())


def step_log(connection: Connection, step_id: int, after: int = 0, limit: int = 2000) -> list[LogChunk]:
    """The newest `limit` chunks of a step's log after chunk `after`, oldest first."""
    chosen = select(step_logs).where(step_logs.c.step_id == step_id, step_logs.c.id > after)
    rows = connection.execute(chosen.order_by(step_logs.c.id.desc()).limit(limit)).all()
    return [LogChunk(row.id, row.at, row.text) for row in reversed(rows)]


def _runs() -> Select[Any]:
    of_run = [column for column in runs.c if column.name != "plan"]
    return select(*of_run, *_COMMIT).outerjoin(commits, commits.c.id == runs.c.revision)


def _run_views(connection: Connection, rows: Sequence[Row[Any]]) -> list[RunView]:
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    grouped = select(changes.c.run_id, changes.c.verdict, func.count().label("number"))
    for part in _parts([row.id for row in rows]):
        chosen = grouped.where(changes.c.run_id.in_(part)).group_by(changes.c.run_id, changes.c.verdict)
        for row in connection.execute(chosen):
            counts[row.run_id][row.verdict or "running"] = row.number
    now = now_of(connection) if rows else 0.0
    return [_run_view(row, counts[row.id], now) for row in rows]


def _run_view(row: Row[Any], counts: Mapping[str, int], now: float) -> RunView:
    return RunView(
        id=row.id,
        actor=row.actor,
        trigger=row.trigger,
        revision=row.revision,
        author=row.author or "",
        subject=row.subject or "",
        state=row.state,
        lost=row.state == "running" and is_dead(row),
        summary=row.summary,
        started_at=row.started_at,
        ended_at=row.ended_at,
        duration=duration_of(row, now),
        recap={word: counts.get(word, 0) for word in (*VERDICTS, "running")},
        change_count=sum(counts.values()),
    )


def _changes() -> Select[Any]:
    of_run = (runs.c[name] for name in ("actor", "trigger", "revision", "boot_id", "pid", "pid_start"))
    path = changes.join(runs, runs.c.id == changes.c.run_id).outerjoin(commits, commits.c.id == runs.c.revision)
    return select(changes, *of_run, *_COMMIT).select_from(path)


def _change_views(connection: Connection, rows: Sequence[Row[Any]]) -> list[ChangeView]:
    now = now_of(connection) if rows else 0.0
    found = _steps_of(connection, [row.id for row in rows], now)
    return [
        ChangeView(
            id=row.id,
            run=row.run_id,
            ref=ResourceRef(row.kind, row.name),
            actor=row.actor,
            trigger=row.trigger,
            revision=row.revision,
            author=row.author or "",
            subject=row.subject or "",
            action=row.action,
            why=row.why,
            diffs=diffs_of(row.diffs),
            verdict=row.verdict,
            lost=not row.verdict and is_dead(row),
            reason=row.reason,
            message=row.message,
            generation=row.generation,
            before_digest=row.before_digest,
            after_digest=row.after_digest,
            started_at=row.started_at,
            ended_at=row.ended_at,
            duration=duration_of(row, now),
            steps=tuple(found[row.id]),
        )
        for row in rows
    ]


def _steps_of(connection: Connection, change_ids: Sequence[int], now: float) -> dict[int, list[StepView]]:
    found: dict[int, list[StepView]] = defaultdict(list)
    for part in _parts(change_ids):
        logged = select(step_logs.c.step_id, func.count().label("number")).join(
            steps, steps.c.id == step_logs.c.step_id
        )
        counted = connection.execute(logged.where(steps.c.change_id.in_(part)).group_by(step_logs.c.step_id))
        chunks = {row.step_id: row.number for row in counted}
        chosen = select(steps).where(steps.c.change_id.in_(part)).order_by(steps.c.change_id, steps.c.sequence)
        for row in connection.execute(chosen):
            found[row.change_id].append(_step_view(row, chunks.get(row.id, 0), now))
    return found


def _step_view(row: Row[Any], chunks: int, now: float) -> StepView:
    return StepView(
        id=row.id,
        sequence=row.sequence,
        name=row.name,
        title=row.title,
        weight=row.weight,
        outcome=row.outcome,
        progress=100.0 if row.outcome == StepOutcome.DONE else row.progress,
        note=row.note,
        message=row.message,
        outputs=mask_outputs(json.loads(row.outputs)),
        log_chunks=chunks,
        started_at=row.started_at,
        ended_at=row.ended_at,
        duration=duration_of(row, now),
    )


def duration_of(row: Any, now: float) -> float:
    """Seconds from start to end, or so far; never negative, whatever the clock did."""
    return max(0.0, float((row.ended_at if row.ended_at is not None else now) - row.started_at))


def _parts(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[start : start + _PART] for start in range(0, len(ids), _PART)]
