"""The forms of the page: sign in, create, delete, suspend, and the buttons. They need no script.

Each does what the API does, through the same `Writer`: only who asks is found out in another way (`gate`). Registered
by `app` where writing is possible at all.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, current_app, make_response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from reconciler.errors import DatabaseError, ReconcilerError
from reconciler.loading.documents import FindingsError
from reconciler.loading.messages import Finding
from reconciler.model.resource import ResourceRef
from reconciler.store import views
from web.admission import Admission
from web.answers import actor, status_of, writer
from web.form_fields import document_of, elsewhere, filled_in, groups_of, left_out
from web.gate import brings_own_proof, session, to_sign_in, wrong_token
from web.reading import reading, render
from web.tasks_api import ref as ref_of
from web.writing import Accepted

blueprint = Blueprint("forms", __name__)
ADMISSION = "reconciler-admission"
USUAL_KIND = "Cluster"
_NAME = ("metadata", "name")


@blueprint.get("/sign-in")
def sign_in() -> AnyResponse:
    """Asks for the token."""
    if session() is not None:
        return redirect(_local(request.args.get("next", "/")), 303)
    return _sign_in_page("", 200)


@blueprint.post("/sign-in")
@brings_own_proof
def check_token() -> AnyResponse:
    """The right token opens a session: a signed cookie that no script can read and no other site can make be sent."""
    admission = _admission()
    if not admission.is_token(request.form.get("token", "").strip()):
        refused = wrong_token(admission)
        if refused.code != 401:
            raise refused
        return _sign_in_page("This is not the token.", 401)
    answer = redirect(_local(request.form.get("next", "/")), 303)
    is_secure = request.is_secure or request.headers.get("Origin", "").startswith("https://")
    answer.set_cookie(
        admission.cookie,
        admission.open_session(),
        max_age=admission.lifetime,
        httponly=True,
        samesite="Strict",
        secure=is_secure,
    )
    return answer


@blueprint.post("/sign-out")
def sign_out() -> AnyResponse:
    """Ends the session of this browser."""
    answer = redirect("/", 303)
    answer.delete_cookie(_admission().cookie, httponly=True, samesite="Strict")
    return answer


@blueprint.get("/new")
def new() -> AnyResponse:
    """An empty form for a resource."""
    if session() is None:
        return to_sign_in()
    return _creation(_kind(request.args.get("kind", USUAL_KIND)), {}, (), 200)


@blueprint.post("/new")
def create() -> AnyResponse:
    """Creates, or shows the form again with what is wrong beside the fields."""
    kind = _kind(request.form.get("kind", ""))
    groups = groups_of(writer().runtime.kinds[kind].schema)
    filled = request.form.to_dict()
    try:
        return _followed(writer().create(document_of(groups, filled, kind), actor()))
    except FindingsError as error:
        return _creation(kind, filled, error.findings, 422)
    except DatabaseError:
        raise
    except ReconcilerError as error:
        return _creation(kind, filled, [Finding(_NAME, error.message)], status_of(error))


@blueprint.get("/resources/<kind>/<name>/delete")
def ask_delete(kind: str, name: str) -> AnyResponse:
    """Asks for the name, so that nothing is deleted by a slip."""
    return _asked("delete.html", ref_of(kind, name))


@blueprint.post("/resources/<kind>/<name>/delete")
def delete(kind: str, name: str) -> AnyResponse:
    """Deletes, once the name was typed."""
    ref = ref_of(kind, name)
    if request.form.get("name", "").strip() != ref.name:
        return _asked("delete.html", ref, {"name": f"Type {ref.name} to delete it."}, 422)
    try:
        return _followed(writer().delete(ref, actor()))
    except DatabaseError:
        raise
    except ReconcilerError as error:
        return _asked("delete.html", ref, {"name": error.message}, status_of(error))


@blueprint.get("/resources/<kind>/<name>/suspend")
def ask_suspend(kind: str, name: str) -> AnyResponse:
    """Asks why, and for how long."""
    return _asked("suspend.html", ref_of(kind, name))


@blueprint.post("/resources/<kind>/<name>/suspend")
def suspend(kind: str, name: str) -> AnyResponse:
    """Suspends."""
    ref = ref_of(kind, name)
    reason, until = request.form.get("reason", "").strip(), request.form.get("until", "").strip()
    if not reason:
        return _asked("suspend.html", ref, {"reason": "Say why, for whoever finds it."}, 422)
    try:
        return _followed(writer().suspend(ref, reason, until[:80], actor()))
    except DatabaseError:
        raise
    except ReconcilerError as error:
        field = "until" if error.reason == "BadTime" else "reason"
        return _asked("suspend.html", ref, {field: error.message}, status_of(error))


@blueprint.post("/resources/<kind>/<name>/<any(start,stop,resume,reconcile,approve):action>")
def act(kind: str, name: str, action: str) -> AnyResponse:
    """A button of the resource's page."""
    ref, what = ref_of(kind, name), writer()
    try:
        if action == "approve":
            done = what.approve(ref, request.form.get("fingerprint", ""), actor())
        elif action == "resume":
            done = what.resume(ref, actor())
        elif action == "reconcile":
            done = what.reconcile(ref, actor())
        else:
            done = what.run(ref, action == "start", actor())
    except DatabaseError:
        raise
    except ReconcilerError as error:
        abort(status_of(error), error.message)
    return _followed(done)


def _creation(kind: str, filled: dict[str, str], findings: Any, status: int) -> Response:
    kinds = writer().runtime.kinds
    schema = kinds[kind].schema
    groups = filled_in(groups_of(schema), filled, findings)
    values = {
        "kind": kind,
        "kinds": sorted(kinds),
        "groups": groups,
        "left_out": left_out(schema),
        "others": elsewhere(groups, findings),
        "wrong": len(findings),
    }
    with reading() as connection:
        return make_response(render(connection, "new.html", **values), status)


def _asked(template: str, ref: ResourceRef, errors: dict[str, str] | None = None, status: int = 200) -> AnyResponse:
    """A page that asks something before it is done. errors: by field."""
    if session() is None:
        return to_sign_in()
    with reading() as connection:
        detail = views.resource_detail(connection, ref)
        if detail is None:
            abort(404, f"There is no {ref}.")
        page = render(connection, template, ref=ref, detail=detail, errors=errors or {}, filled=request.form)
    return make_response(page, status)


def _followed(done: Accepted) -> AnyResponse:
    """To the page of the task, which renews itself."""
    return redirect(f"/tasks/{done.task}", 303)


def _sign_in_page(error: str, status: int) -> Response:
    back = request.values.get("next", "/")
    with reading() as connection:
        return make_response(render(connection, "sign-in.html", error=error, back=_local(back)), status)


def _kind(name: str) -> str:
    """A kind that there is; 404 for any other."""
    if name not in writer().runtime.kinds:
        abort(404, f"There is no kind {name[:63]!r}.")
    return name


def _local(address: str) -> str:
    """An address of this page, whatever was asked for: nobody is sent elsewhere after signing in."""
    found = urlsplit(address.replace("\\", "/"))
    is_ours = not found.scheme and not found.netloc and found.path.startswith("/") and not found.path.startswith("//")
    return address if is_ours and address.isprintable() and len(address) < 2000 else "/"


def _admission() -> Admission:
    return cast(Admission, current_app.extensions[ADMISSION])
