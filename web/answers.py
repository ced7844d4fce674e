"""How the API answers: that something was accepted, and each error with its status. Used by every blueprint of it."""

from __future__ import annotations

from typing import Any, cast

from flask import Response, current_app, g, make_response

from reconciler.errors import (
    BlockedError,
    DatabaseError,
    LeaseHeldError,
    ReconcilerError,
    SpecError,
    StalePlanError,
    UsageError,
)
from reconciler.loading.documents import FindingsError, described
from web.bodies import pointer
from web.writing import Accepted, Writer

WRITER = "reconciler-writer"
_BY_REASON = {"Protected": 403, "NoSuchResource": 404, "NothingPending": 409, "NotSuspended": 409, "BadTime": 422}
_BY_CLASS: tuple[tuple[type[ReconcilerError], int], ...] = (
    (FindingsError, 422),
    (SpecError, 422),
    (StalePlanError, 409),
    (BlockedError, 409),
    (LeaseHeldError, 409),
    (DatabaseError, 503),
    (UsageError, 400),
)


def writer() -> Writer:
    """What writes. Only there in an application that may write."""
    return cast(Writer, current_app.extensions[WRITER])


def actor() -> str:
    """Who asks, as `app` found out before the request."""
    return str(g.actor)


def accepted(what: Accepted) -> Response:
    """202 with the task and where it is followed."""
    body = {"taskId": what.task, "resource": str(what.ref), "state": "pending", "message": what.message}
    return make_response(body, 202, {"Location": f"/api/v2/tasks/{what.task}"})


def status_of(error: ReconcilerError) -> int:
    """The HTTP status that says what an error says."""
    if error.reason in _BY_REASON:
        return _BY_REASON[error.reason]
    return next((status for kind, status in _BY_CLASS if isinstance(error, kind)), 500)


def error_body(error: ReconcilerError) -> dict[str, Any]:
    """`{reason, message}`, and for a body that is wrong `errors`: a JSON pointer and a message each."""
    body: dict[str, Any] = {"reason": error.reason, "message": error.message}
    if isinstance(error, FindingsError):
        body["message"] = "; ".join(described(finding) for finding in error.findings)
        body["errors"] = [{"field": pointer(one.path), "message": one.message} for one in error.findings]
    return body
