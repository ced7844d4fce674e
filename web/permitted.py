"""What may be done with a resource now, so that a page offers just that. It asks the same guards as the API."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from reconciler.engine import desired
from reconciler.engine.runtime import Runtime
from reconciler.errors import ReconcilerError
from reconciler.store import views
from reconciler.store.remembered import load_records


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. name: the last part of its address. is_page: it asks something first, on a page of its own."""

    name: str
    label: str
    is_page: bool = False
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Permitted:
    """What can be done, and why something usual cannot."""

    actions: tuple[Action, ...] = ()
    notes: tuple[str, ...] = ()


def permitted(runtime: Runtime, connection: Connection, detail: views.ResourceDetail) -> Permitted:
    """For one resource as it is shown."""
    found: list[Action] = []
    notes: list[str] = []
    if detail.pending is not None and not detail.approved:
        found.append(Action("approve", f"Approve: {detail.pending.get('action', 'change')}", tone="good"))
    is_by_hand = detail.suspension is not None and detail.suspension.by != "document"
    if is_by_hand:
        found.append(Action("resume", "Resume"))
    else:
        found.append(Action("reconcile", "Look now"))
    found.extend(_running(runtime, connection, detail))
    if detail.suspension is None:
        found.append(Action("suspend", "Suspend…", is_page=True))
    if detail.lifecycle.get("state") != "absent":
        why = _why_not_deleted(runtime, connection, detail)
        if why:
            notes.append(f"It cannot be deleted here: {why}")
        else:
            found.append(Action("delete", "Delete…", is_page=True, tone="bad"))
    return Permitted(tuple(found), tuple(notes))


def _running(runtime: Runtime, connection: Connection, detail: views.ResourceDetail) -> list[Action]:
    """Start or stop, for kinds that know such a thing and resources that the store owns."""
    ref = detail.resource.ref
    kind = runtime.kinds.get(ref.kind)
    if kind is None or "running" not in kind.schema.get("properties", {}) or detail.lifecycle.get("state") == "absent":
        return []
    record = load_records(connection, [ref]).get(ref)
    if record is None or record.vanished or not desired.is_stored(record):
        return []
    return [Action("stop", "Stop") if detail.spec.get("running", True) else Action("start", "Start")]


def _why_not_deleted(runtime: Runtime, connection: Connection, detail: views.ResourceDetail) -> str:
    try:
        is_wanted = desired.check_deletable(runtime, connection, detail.resource.ref)
    except ReconcilerError as error:
        return error.message
    return "" if is_wanted else "no document names it any more, so it is deleted by pruning"
