"""What people ask about a resource beside changing it: approve, suspend, resume, look now. For CLI and `web.writing`.

Each function writes in the caller's transaction, tells who asked as an event, and requests a look; it returns the token
of that look, which is over when the resource's `handled_at` equals it.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.errors import BlockedError, StalePlanError, UsageError
from reconciler.model.duration import parse_duration
from reconciler.model.resource import ResourceRef
from reconciler.store import events, statuses

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reconciler.store.database import Database

LONGEST_REASON = 512


def approve(database: Database, connection: Connection, ref: ResourceRef, fingerprint: str, actor: str) -> str:
    """Allow exactly the change with this fingerprint, once."""
    statuses.approve(database, connection, ref, fingerprint, actor)
    return _asked(database, connection, ref, ("Approved", f"change {fingerprint[:12]} approved"), actor)


def pending_change(connection: Connection, ref: ResourceRef, seen: str = "") -> str:
    """The fingerprint of the change that waits for an approval. seen: the one that somebody has looked at, or "".

    Raises UsageError when there is none, StalePlanError when another one waits by now.
    """
    status = _status(connection, ref)
    if status.pending is None:
        raise UsageError("NothingPending", f"{ref} waits for no approval; plan or let the daemon look first")
    fingerprint = str(status.pending["fingerprint"])
    if seen and seen != fingerprint:
        raise StalePlanError("PlanMoved", f"{ref} waits for another change by now: look at it first")
    return fingerprint


def suspend(
    database: Database, connection: Connection, ref: ResourceRef, actor: str, why: tuple[str, float | None]
) -> str:
    """Leave a resource alone. why: the reason, and when it should end (seconds since the epoch) or None."""
    _status(connection, ref)
    reason, until = why[0][:LONGEST_REASON], why[1]
    statuses.suspend(connection, ref, reason, actor, (database.now(connection), until))
    return _asked(database, connection, ref, ("Suspended", reason), actor)


def resume(database: Database, connection: Connection, ref: ResourceRef, actor: str) -> str:
    """End a suspension by hand. Raises UsageError where there is none."""
    _status(connection, ref)
    if not statuses.resume(connection, ref):
        raise UsageError("NotSuspended", f"{ref} is not suspended by hand")
    return _asked(database, connection, ref, ("Resumed", "resumed"), actor)


def look(connection: Connection, ref: ResourceRef) -> str:
    """Ask for a look now. Raises BlockedError for a resource that is suspended by hand: nobody would look."""
    if _status(connection, ref).suspend is not None:
        raise BlockedError("Suspended", f"{ref} is suspended: reconciler resume {ref}")
    return _request(connection, ref)


def moment(text: str, now: float) -> float:
    """A time, or a duration from now, as seconds since the epoch. Raises UsageError for one that is over."""
    try:
        found = now + parse_duration(text)
    except ValueError:
        try:
            found = datetime.fromisoformat(text).astimezone().timestamp()
        except (ValueError, OverflowError, OSError) as error:
            shown = text[:80]
            raise UsageError("BadTime", f"{shown}: write a duration such as 2h, or 2030-01-31T08:00") from error
    if found <= now:
        raise UsageError("BadTime", f"{text} is over already")
    return found


def _status(connection: Connection, ref: ResourceRef) -> statuses.Status:
    found = statuses.load(connection, [ref]).get(ref)
    if found is None:
        raise UsageError("NoSuchResource", f"there is no {ref}")
    return found


def _asked(database: Database, connection: Connection, ref: ResourceRef, told: tuple[str, str], actor: str) -> str:
    reason, message = told
    event = events.Event("normal", reason, message, ref, actor[:128])
    events.add(connection, database.now(connection), [event])
    return _request(connection, ref)


def _request(connection: Connection, ref: ResourceRef) -> str:
    token = uuid.uuid4().hex
    statuses.request(connection, ref, token)
    return token
