"""The state of everything on one page, what is wrong first: `/`, `doctor`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, and_, func, select

from reconciler.model.resource import ResourceRef
from reconciler.model.result import StepOutcome
from reconciler.store.clock import now_of
from reconciler.store.events import Event
from reconciler.store.leases import is_dead
from reconciler.store.tables import changes, leases, problems, resources, runs, sources, statuses, steps
from reconciler.store.views.base import View
from reconciler.store.views.happenings import list_events
from reconciler.store.views.resources import Concern, worst
from reconciler.store.views.runs import RunView, duration_of, list_runs
from reconciler.store.views.standing import STANDINGS, WRONG, joined, standing_column

DAEMON_LEASE = "daemon"
ALARM_AGE = 86_400.0
_SHOWN = 50


@dataclass(frozen=True, slots=True)
class DaemonView(View):
    """Whether somebody looks after everything. state: alive, stopped (gave its lease back), gone (died), never.

    since: when it started. until: while it is alive when its lease expires, else when it was last heard of, if known.
    """

    state: Literal["alive", "stopped", "gone", "never"]
    holder: str = ""
    pid: int = 0
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class RunningStep(View):
    """A step that is open now. step_count: how many of its change were begun. alive: its lease is held and not expired;
    where it is not, its process died and nobody has cleaned up yet."""

    ref: ResourceRef
    run: int
    action: str
    step: int
    name: str
    title: str
    step_count: int
    progress: float
    note: str
    holder: str
    alive: bool
    started_at: float
    duration: float


@dataclass(frozen=True, slots=True)
class ProblemView(View):
    """What is wrong with a document. ref: None where it is not even known which resource is meant."""

    owner: str
    path: str
    line: int
    column: int
    message: str
    ref: ResourceRef | None
    at: float


@dataclass(frozen=True, slots=True)
class SourceView(View):
    """A place that specs are read from. read_at: when it was last read as a whole."""

    owner: str
    readable: bool
    message: str
    revision: str
    read_at: float | None


@dataclass(frozen=True, slots=True)
class Overview(View):
    """Everything that the first page tells.

    counts: kind → standing → how many. reasons: how many resources have this (kind, ready, reason). alarms: of the last
    day, without those whose resource was seen ready since. wrong: the worst 50 resources; wrong_count: all of them.
    """

    now: float
    resource_count: int
    wrong_count: int
    counts: Mapping[str, Mapping[str, int]]
    reasons: tuple[Mapping[str, Any], ...]
    alarms: tuple[Event, ...]
    wrong: tuple[Concern, ...]
    problems: tuple[ProblemView, ...]
    problem_count: int
    sources: tuple[SourceView, ...]
    daemon: DaemonView
    last_run: RunView | None
    running: tuple[RunningStep, ...]


def overview(connection: Connection) -> Overview:
    """How everything is."""
    now = now_of(connection)
    counts, reasons = _counts(connection, now)
    latest = list_runs(connection, limit=1)
    return Overview(
        now=now,
        resource_count=sum(sum(row.values()) for row in counts.values()),
        wrong_count=sum(row.get(word, 0) for row in counts.values() for word in WRONG),
        counts=counts,
        reasons=reasons,
        alarms=_alarms(connection, now),
        wrong=tuple(worst(connection, WRONG, _SHOWN)),
        problems=tuple(list_problems(connection, _SHOWN)),
        problem_count=int(connection.execute(select(func.count()).select_from(problems)).scalar_one()),
        sources=tuple(list_sources(connection)),
        daemon=daemon_view(connection),
        last_run=latest[0] if latest else None,
        running=tuple(running_steps(connection, _SHOWN)),
    )


def daemon_view(connection: Connection) -> DaemonView:
    """Who holds the daemon's lease, and whether that process still exists where that can be known."""
    row = connection.execute(select(leases).where(leases.c.name == DAEMON_LEASE)).one_or_none()
    if row is None:
        return DaemonView("never")
    if not row.owner:
        return DaemonView("stopped", row.holder, row.pid, row.acquired_at)
    state: Literal["alive", "gone"] = "alive" if _is_held(row, now_of(connection)) else "gone"
    return DaemonView(state, row.holder, row.pid, row.acquired_at, row.expires_at)


def running_steps(connection: Connection, limit: int = _SHOWN) -> list[RunningStep]:
    """The steps that are open now, the oldest first."""
    begun = select(func.count()).where(steps.c.change_id == changes.c.id).correlate(changes).scalar_subquery()
    lease = and_(leases.c.name == changes.c.kind.concat("/").concat(changes.c.name))
    columns = (
        *(changes.c[name] for name in ("kind", "name", "run_id", "action")),
        *(steps.c[name] for name in ("id", "title", "progress", "note", "started_at", "ended_at")),
        steps.c.name.label("step_name"),
        begun.label("step_count"),
        *(leases.c[name] for name in ("owner", "holder", "boot_id", "pid", "pid_start", "expires_at")),
    )
    path = runs.join(changes, changes.c.run_id == runs.c.id).join(steps, steps.c.change_id == changes.c.id)
    chosen = select(*columns).select_from(path.outerjoin(leases, lease))
    is_open = and_(runs.c.state == "running", changes.c.verdict == "", steps.c.outcome == StepOutcome.OPEN.value)
    now = now_of(connection)
    rows = connection.execute(chosen.where(is_open).order_by(steps.c.started_at).limit(limit))
    return [_running(row, now) for row in rows]


def list_problems(connection: Connection, limit: int = 1000) -> list[ProblemView]:
    """What is wrong with documents, by place."""
    order = (problems.c.path, problems.c.line, problems.c.column, problems.c.id)
    return [
        ProblemView(
            owner=row.owner,
            path=row.path,
            line=row.line,
            column=row.column,
            message=row.message,
            ref=ResourceRef(row.kind, row.name) if row.kind and row.name else None,
            at=row.at,
        )
        for row in connection.execute(select(problems).order_by(*order).limit(limit))
    ]


def list_sources(connection: Connection) -> list[SourceView]:
    """Where specs come from, and whether that could be read the last time."""
    rows = connection.execute(select(sources).order_by(sources.c.owner))
    return [SourceView(row.owner, bool(row.readable), row.message, row.revision, row.read_at) for row in rows]


def _counts(connection: Connection, now: float) -> tuple[dict[str, dict[str, int]], tuple[dict[str, Any], ...]]:
    standing = standing_column(now).label("standing")
    ready = func.coalesce(statuses.c.ready, "Unknown").label("ready")
    reason = func.coalesce(statuses.c.reason, "").label("reason")
    inner = select(resources.c.kind, standing, ready, reason).select_from(joined()).subquery()
    grouped = select(inner, func.count().label("number")).group_by(*inner.c).order_by(inner.c.kind)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(STANDINGS, 0))
    reasons: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in connection.execute(grouped):
        counts[row.kind][row.standing] += row.number
        reasons[row.kind, row.ready, row.reason] += row.number
    listed = tuple(
        {"kind": kind, "ready": ready_, "reason": reason_, "count": number}
        for (kind, ready_, reason_), number in sorted(reasons.items())
    )
    return dict(counts), listed


def _alarms(connection: Connection, now: float) -> tuple[Event, ...]:
    found = list_events(connection, limit=_SHOWN, types=("alarm",), since=now - ALARM_AGE)
    return tuple(event for event in found if not _is_over(connection, event))


def _is_over(connection: Connection, event: Event) -> bool:
    """True when the resource was seen ready after the alarm."""
    if event.ref is None:
        return False
    same = (statuses.c.kind == event.ref.kind) & (statuses.c.name == event.ref.name)
    row = connection.execute(select(statuses.c.ready, statuses.c.checked_at).where(same)).one_or_none()
    return row is not None and row.ready == "True" and (row.checked_at or 0.0) > event.at


def _running(row: Row[Any], now: float) -> RunningStep:
    return RunningStep(
        ref=ResourceRef(row.kind, row.name),
        run=row.run_id,
        action=row.action,
        step=row.id,
        name=row.step_name,
        title=row.title,
        step_count=row.step_count,
        progress=row.progress,
        note=row.note,
        holder=row.holder or "",
        alive=_is_held(row, now),
        started_at=row.started_at,
        duration=duration_of(row, now),
    )


def _is_held(row: Row[Any], now: float) -> bool:
    """A lease that is not expired, and whose process is not known to be dead (known only on the same boot)."""
    if not row.owner or row.expires_at is None or row.expires_at <= now:
        return False
    return not is_dead(row)
