"""Resources as they are listed and described: `get`, `describe`, `/resources`."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from reconciler.model.resource import ResourceRef
from reconciler.model.secret import SECRET_MARK
from reconciler.store.clock import now_of
from reconciler.store.tables import approvals, resources, statuses
from reconciler.store.views.base import View, mask
from reconciler.store.views.standing import Standing, as_flag, is_suspended, joined, rank_column, standing_column


@dataclass(frozen=True, slots=True)
class ResourceView(View):
    """A line of `get`. place: `path:line` of its document. ready: True, False or Unknown. standing: see standing.py.

    dependencies: its `dependsOn` and what its kind reads out of its spec. failures: in a row.
    """

    ref: ResourceRef
    standing: Standing
    ready: str
    reason: str
    message: str
    labels: Mapping[str, str]
    owner: str
    place: str
    revision: str
    generation: int
    observed_generation: int
    failures: int
    suspended: bool
    vanished: bool
    dependencies: tuple[ResourceRef, ...]
    created_at: float
    updated_at: float
    checked_at: float | None
    applied_at: float | None
    last_run: int | None


@dataclass(frozen=True, slots=True)
class ConditionView(View):
    """One condition, as in kstatus."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition: float


@dataclass(frozen=True, slots=True)
class DiffView(View):
    """One field that differs; a secret's values are `***`."""

    path: str
    before: Any
    after: Any
    secret: bool = False


@dataclass(frozen=True, slots=True)
class SuspensionView(View):
    """Who left it alone, why and until when. by hand, or `document` where the specs say so."""

    reason: str
    by: str
    since: float | None
    until: float | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class ResourceDetail(View):
    """Everything about one resource. pending: the change that waits for an approval: fingerprint, action, why.

    approved: an approval was given and not used yet. requested, handled: tokens of `reconcile`, equal when it was done.
    protected: kept by the store, whatever the document says now. needed_by: resources that need this one.
    """

    resource: ResourceView
    spec: Any
    lifecycle: Mapping[str, Any]
    digest: str
    conditions: tuple[ConditionView, ...]
    drift: tuple[DiffView, ...]
    pending: Mapping[str, Any] | None
    approved: bool
    suspension: SuspensionView | None
    requested: str
    handled: str
    protected: bool
    vanished_at: float | None
    vanished_why: str
    needed_by: tuple[ResourceRef, ...]


@dataclass(frozen=True, slots=True)
class Concern(View):
    """A resource that somebody should look at, and since when that is so, if known."""

    resource: ResourceView
    since: float | None


def list_resources(
    connection: Connection,
    *,
    kind: str | None = None,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    ready: str | None = None,
) -> list[ResourceView]:
    """Resources sorted by kind and name. name: a glob. labels: all have to match. ready: True, False or Unknown."""
    chosen = _listed(now_of(connection)).order_by(resources.c.kind, resources.c.name)
    if kind is not None:
        chosen = chosen.where(resources.c.kind == kind)
    if ready is not None:
        chosen = chosen.where(statuses.c.ready == ready)
    matches = re.compile(fnmatch.translate(name or "*")).match
    wanted = dict(labels or {}).items()
    found = (view_of(row) for row in connection.execute(chosen) if matches(row.name))
    return [view for view in found if wanted <= view.labels.items()]


def worst(connection: Connection, standings: tuple[Standing, ...], limit: int) -> list[Concern]:
    """The worst `limit` resources of these standings; within one standing by kind and name."""
    now = now_of(connection)
    standing = standing_column(now)
    order = (rank_column(standing), resources.c.kind, resources.c.name)
    extra = (statuses.c.conditions, statuses.c.suspend_until, resources.c.vanished_at)
    chosen = _listed(now).add_columns(*extra).where(standing.in_(standings)).order_by(*order).limit(limit)
    return [Concern(view_of(row), _since(row)) for row in connection.execute(chosen)]


def resource_detail(connection: Connection, ref: ResourceRef) -> ResourceDetail | None:
    """Everything about one resource, or None when there is no such resource."""
    now = now_of(connection)
    extra = (
        resources.c.spec,
        resources.c.lifecycle,
        resources.c.digest,
        resources.c.vanished_at,
        resources.c.vanished_why,
        *(statuses.c[name] for name in ("conditions", "drift", "pending", "requested_at", "handled_at", "protected")),
        *(statuses.c[name] for name in ("suspend_reason", "suspend_by", "suspend_since", "suspend_until")),
    )
    chosen = _listed(now).add_columns(*extra)
    row = connection.execute(chosen.where(resources.c.kind == ref.kind, resources.c.name == ref.name)).one_or_none()
    if row is None:
        return None
    pending = mask(json.loads(row.pending)) if row.pending else None
    return ResourceDetail(
        resource=view_of(row),
        spec=mask(json.loads(row.spec)),
        lifecycle=json.loads(row.lifecycle),
        digest=row.digest,
        conditions=_conditions(row.conditions or "[]"),
        drift=diffs_of(row.drift or "[]"),
        pending=pending,
        approved=pending is not None and _is_approved(connection, ref, str(pending.get("fingerprint", ""))),
        suspension=_suspension(row, now),
        requested=row.requested_at or "",
        handled=row.handled_at or "",
        protected=bool(row.protected),
        vanished_at=row.vanished_at,
        vanished_why=row.vanished_why,
        needed_by=_needed_by(connection, ref),
    )


def view_and_handled(connection: Connection, ref: ResourceRef) -> tuple[ResourceView, str] | None:
    """One resource as it is listed, and the token of the last `reconcile` that was answered. None: not there."""
    chosen = _listed(now_of(connection)).add_columns(statuses.c.handled_at)
    row = connection.execute(chosen.where(resources.c.kind == ref.kind, resources.c.name == ref.name)).one_or_none()
    return None if row is None else (view_of(row), row.handled_at or "")


def view_of(row: Sequence[Any]) -> ResourceView:
    """A row of `_listed`, whatever columns follow, as a view.

    Unpacked by place, because a row's attributes cost 2 µs each; JSON is parsed only where something stands in it.
    """
    kind, name, labels, needs, owner, line, revision, generation, created_at, updated_at, *rest = tuple(row)
    ready, reason, message, observed, failures, checked_at, applied_at, last_run, standing, suspended, vanished, *_ = (
        rest
    )
    place = owner.removeprefix("file:")
    return ResourceView(
        ref=ResourceRef(kind, name),
        standing=standing,
        ready=ready or "Unknown",
        reason=reason or "",
        message=message or "",
        labels={} if labels == "{}" else json.loads(labels),
        owner=owner,
        place=f"{place}:{line}" if line else place,
        revision=revision,
        generation=generation,
        observed_generation=observed or 0,
        failures=failures or 0,
        suspended=bool(suspended),
        vanished=bool(vanished),
        dependencies=dependencies_of(needs),
        created_at=created_at,
        updated_at=updated_at,
        checked_at=checked_at,
        applied_at=applied_at,
        last_run=last_run,
    )


def dependencies_of(needs: str) -> tuple[ResourceRef, ...]:
    """Stored needs; most have none, and are not parsed."""
    return () if needs == "[]" else tuple(ResourceRef(*text.partition("/")[::2]) for text in json.loads(needs))


def diffs_of(text: str) -> tuple[DiffView, ...]:
    """Stored differences, `[path, before, after, secret?]` each, as they may be shown."""
    if text == "[]":
        return ()
    found = []
    for path, before, after, *rest in json.loads(text):
        secret = bool(rest and rest[0])
        shown = (_hidden(before), _hidden(after)) if secret else (mask(before), mask(after))
        found.append(DiffView(path, *shown, secret))
    return tuple(found)


def _hidden(value: Any) -> Any:
    return None if value is None else SECRET_MARK


def _listed(now: float) -> Select[Any]:
    columns = (
        *(resources.c[name] for name in ("kind", "name", "labels", "needs", "owner", "line", "revision")),
        *(resources.c[name] for name in ("generation", "created_at", "updated_at")),
        *(statuses.c[name] for name in ("ready", "reason", "message", "observed_generation", "failures")),
        *(statuses.c[name] for name in ("checked_at", "applied_at", "last_run")),
        standing_column(now).label("standing"),
        as_flag(is_suspended()).label("suspended"),
        as_flag(resources.c.vanished_at.is_not(None)).label("vanished"),
    )
    return select(*columns).select_from(joined())


def _conditions(text: str) -> tuple[ConditionView, ...]:
    return tuple(
        ConditionView(
            entry["type"],
            entry["status"],
            entry["reason"],
            entry["message"],
            entry["observedGeneration"],
            entry["lastTransitionTime"],
        )
        for entry in json.loads(text)
    )


def _since(row: Row[Any]) -> float | None:
    if row.standing == "vanished":
        return float(row.vanished_at)
    if row.standing == "overdue":
        return float(row.suspend_until)
    ready = (entry.last_transition for entry in _conditions(row.conditions or "[]") if entry.type == "Ready")
    return next(ready, None)


def _suspension(row: Row[Any], now: float) -> SuspensionView | None:
    if row.suspend_since is not None:
        overdue = row.suspend_until is not None and row.suspend_until < now
        return SuspensionView(row.suspend_reason, row.suspend_by, row.suspend_since, row.suspend_until, overdue)
    if row.suspended:
        return SuspensionView("lifecycle.suspend: true", "document", None, None, False)
    return None


def _is_approved(connection: Connection, ref: ResourceRef, fingerprint: str) -> bool:
    same = (approvals.c.kind == ref.kind) & (approvals.c.name == ref.name) & (approvals.c.fingerprint == fingerprint)
    return connection.execute(select(approvals.c.at).where(same)).first() is not None


def _needed_by(connection: Connection, ref: ResourceRef) -> tuple[ResourceRef, ...]:
    chosen = select(resources.c.kind, resources.c.name).where(resources.c.vanished_at.is_(None))
    needing = chosen.where(resources.c.needs.contains(f'"{ref}"', autoescape=True))
    rows = connection.execute(needing.order_by(resources.c.kind, resources.c.name))
    return tuple(ResourceRef(row.kind, row.name) for row in rows)
