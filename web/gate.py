"""What a write has to bring before any route sees it: our own origin, and the token or a session with its form token.

Asked by `app` before every request that is no read, whatever route it is for, so that none can be forgotten. A route
that proves its caller in a way of its own (the sign-in form) is marked with `brings_own_proof`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from flask import current_app, g, redirect, request
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, TooManyRequests, Unauthorized
from werkzeug.wrappers import Response

from web.admission import Admission, Session, foreign_origin

READS = ("GET", "HEAD")
WRITES = ("POST", "DELETE")
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
_MARK = "_brings_own_proof"
_TOKEN_NAMES = frozenset({"token", "access_token", "api_token", "api-token", "apitoken", "authorization"})
_log = logging.getLogger("reconciler.web")

View = TypeVar("View", bound=Callable[..., Any])


def brings_own_proof(view: View) -> View:
    """Mark a view that finds out by itself who asks."""
    setattr(view, _MARK, True)
    return view


def find_session(admission: Admission) -> None:
    """Remember for this request who is signed in, and refuse one whose address holds a token: addresses are logged."""
    g.session = admission.session(request.cookies.get(admission.cookie, ""))
    for name, value in request.args.items():
        if name.lower() in _TOKEN_NAMES or admission.is_token(value):
            raise BadRequest("a token does not belong into an address: send it as Authorization: Bearer")


def admit_write(admission: Admission) -> None:
    """Find out who asks for a write, as `g.actor`; raises the HTTPException that answers everybody else."""
    why = foreign_origin(request.host, request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site"))
    if why:
        raise Forbidden(f"this write is refused: {why}")
    view = current_app.view_functions.get(request.endpoint or "")
    if view is not None and getattr(view, _MARK, False):
        return
    is_api = request.path.startswith("/api/")
    if request.routing_exception is not None and not is_api:
        raise request.routing_exception  # what is only read stays so, whoever asks
    if is_api:
        if not admission.admits(request.headers.get("Authorization", "")):
            raise wrong_token(admission)
        g.actor = f"api token from {request.remote_addr}"
    else:
        g.actor = f"{_signed_in(admission).actor} from {request.remote_addr}"
    wait = admission.writes.take()
    if wait:
        raise _slow_down("too many writes", wait)


def wrong_token(admission: Admission) -> HTTPException:
    """The answer to a missing or wrong token: 401, and 429 once there were many. The right token is never kept out."""
    wait = admission.wrong_tokens.take()
    if wait:
        return _slow_down("too many wrong tokens", wait)
    _log.warning("%s %s from %s without the token", request.method, request.path[:200], request.remote_addr)
    answer = Unauthorized("send the token of the home's file api-token as Authorization: Bearer")
    answer.www_authenticate = None
    return answer


def to_sign_in() -> Response:
    """Where somebody signs in, and comes back from."""
    here = request.full_path.rstrip("?") if request.method in READS else "/"
    return redirect(f"/sign-in?{urlencode({'next': here})}", 303)


def session() -> Session | None:
    """Who is signed in; None for everybody else, and where nothing can be written."""
    return cast("Session | None", g.get("session"))


def _signed_in(admission: Admission) -> Session:
    found = session()
    if found is None:
        raise HTTPException(response=to_sign_in())
    if not admission.is_form_token(found, request.form.get(FORM_TOKEN, "")):
        raise Forbidden("this form was not made for your session: open it again")
    return found


def _slow_down(what: str, wait: float) -> TooManyRequests:
    return TooManyRequests(f"{what}: wait a moment", retry_after=max(1, round(wait)))
