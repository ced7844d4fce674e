"""Tasks as they are followed: each is the view of its resource's next finished attempt. `/api/v2/tasks`.

    pending      nothing has begun; the message says what it waits for
    running      its change is under way
    blocked      a guard holds it back: somebody has to act
    succeeded    done and verified, or nothing was to be done
    failed       the attempt failed; whether it is tried again is the resource's own story
    superseded   something newer was asked of the resource before this began

An attempt that a newer generation, a shutdown or a crash ended does not count: the next one does. Computed from rows
alone, so it is the same from every process and after every crash.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, func, select

from reconciler.model.resource import ResourceRef
from reconciler.model.result import StepOutcome
from reconciler.store.clock import now_of
from reconciler.store.tables import changes, tasks
from reconciler.store.views.base import View
from reconciler.store.views.resources import ResourceView, view_and_handled
from reconciler.store.views.runs import ChangeView, StepView, changes_after
from reconciler.store.views.standing import AGAIN

ENDED = ("succeeded", "failed", "superseded")
_FINAL = {"ok": "succeeded", "changed": "succeeded", "failed": "failed", "unreachable": "failed", "blocked": "failed"}
_HELD = ("blocked", "stalled", "vanished")
_DONE = ("ready", "drifted")


@dataclass(frozen=True, slots=True)
class TaskView(View):
    """A task. percent: 0 to 100, of the weights of its change's steps. step: what is being done, or was done last.

    result: the verdict of its change, "" while it has none. error: why it failed or is blocked. generation: of the
    desired state that it is about. started_at, finished_at: of its change. duration: seconds, so far while it runs.
    """

    id: int
    ref: ResourceRef
    action: str
    state: str
    percent: float
    step: str
    message: str
    result: str
    error: str
    generation: int
    actor: str
    run: int | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    duration: float

    @property
    def is_over(self) -> bool:
        """Nothing more will happen to it."""
        return self.state in ENDED


def task(connection: Connection, task_id: int) -> TaskView | None:
    """One task, or None."""
    row = connection.execute(select(tasks).where(tasks.c.id == task_id)).one_or_none()
    return None if row is None else _view(connection, row)


def list_tasks(
    connection: Connection, *, limit: int, before: int | None = None, ref: ResourceRef | None = None
) -> list[TaskView]:
    """The newest `limit` tasks, newest first. before: only smaller ids. ref: only of this resource."""
    chosen = select(tasks).order_by(tasks.c.id.desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(tasks.c.id < before)
    if ref is not None:
        chosen = chosen.where(tasks.c.kind == ref.kind, tasks.c.name == ref.name)
    return [_view(connection, row) for row in connection.execute(chosen).all()]


def _view(connection: Connection, row: Row[Any]) -> TaskView:
    ref = ResourceRef(row.kind, row.name)
    blank = TaskView(
        id=row.id,
        ref=ref,
        action=row.action,
        state="pending",
        percent=0.0,
        step="",
        message="nobody has begun with it yet",
        result="",
        error="",
        generation=row.generation,
        actor=row.actor,
        run=None,
        created_at=row.at,
        started_at=None,
        finished_at=None,
        duration=0.0,
    )
    until = _next_begins(connection, row)
    attempts = [
        change
        for change in changes_after(connection, ref, row.after_change, until)
        if change.generation >= row.generation
    ]
    counted = next((change for change in attempts if _counts(change)), None)
    if counted is not None:
        return _of_change(connection, blank, counted)
    if until is not None:
        return replace(blank, state="superseded", message="something newer was asked of it before this began")
    return _of_standing(connection, blank, row, now_of(connection))


def _next_begins(connection: Connection, row: Row[Any]) -> int | None:
    """After which change the next task of the same resource begins; None when there is none."""
    later = select(func.min(tasks.c.id)).where(tasks.c.kind == row.kind, tasks.c.name == row.name, tasks.c.id > row.id)
    chosen = select(tasks.c.after_change).where(tasks.c.id == later.scalar_subquery())
    return connection.execute(chosen).scalar_one_or_none()


def _counts(change: ChangeView) -> bool:
    """False for an attempt that ended without saying anything about what was wanted."""
    if change.lost:
        return False
    return not change.verdict or (change.verdict in _FINAL and change.reason not in AGAIN)


def _of_change(connection: Connection, blank: TaskView, change: ChangeView) -> TaskView:
    state = _FINAL[change.verdict] if change.verdict else "running"
    step = change.steps[-1] if change.steps else None
    failed = change.message or change.reason if state == "failed" else ""
    return replace(
        blank,
        state=state,
        percent=100.0 if state == "succeeded" else _percent(connection, change),
        step=(step.title or step.name) if step else "",
        message=_progress_message(change, step, state),
        result=change.verdict,
        error=failed,
        run=change.run,
        started_at=change.started_at,
        finished_at=change.ended_at,
        duration=change.duration,
    )


def _progress_message(change: ChangeView, step: StepView | None, state: str) -> str:
    if state != "running":
        return change.message
    return step.note if step is not None else "about to begin"


def _percent(connection: Connection, change: ChangeView) -> float:
    """How much of the planned weight is done; below 100 as long as the change is not."""
    planned = int(connection.execute(select(changes.c.weight).where(changes.c.id == change.id)).scalar_one())
    whole = max(planned, sum(step.weight for step in change.steps), 1)
    done: float = sum(
        step.weight * step.progress
        for step in change.steps
        if step.outcome in (StepOutcome.DONE.value, StepOutcome.OPEN.value)
    )
    return round(min(done / whole, 99.0), 1)


def _of_standing(connection: Connection, blank: TaskView, row: Row[Any], now: float) -> TaskView:
    """A task without a change of its own: what the resource's last look says."""
    found = view_and_handled(connection, blank.ref)
    if found is None:
        if row.action == "delete":
            return _nothing_to_do(blank, "it is not there", None)
        return replace(blank, state="superseded", message="the resource was deleted")
    view, handled = found
    if view.observed_generation < row.generation or (row.token and handled != row.token):
        return replace(blank, message=_waits_for(view), duration=max(0.0, now - row.at))
    if row.action == "suspend" or view.standing in _DONE:
        return _nothing_to_do(blank, view.message, view.checked_at)
    if view.standing in _HELD:
        return replace(blank, state="blocked", message=view.message, error=view.message or view.reason)
    return replace(blank, message=view.message or view.reason)


def _waits_for(view: ResourceView) -> str:
    return "it is suspended" if view.suspended else "nobody has looked at it since"


def _nothing_to_do(blank: TaskView, message: str, at: float | None) -> TaskView:
    """It was as wanted already."""
    return replace(blank, state="succeeded", percent=100.0, message=message, result="ok", finished_at=at)
