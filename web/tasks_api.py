"""`/api/v2/tasks`, and what can be asked of a resource of any kind. Described in docs/api.md."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, request
from werkzeug.exceptions import BadRequest

from reconciler.errors import SpecError
from reconciler.model.resource import ResourceRef
from reconciler.store import views
from web.answers import accepted, actor, writer
from web.bodies import json_body, text_field
from web.reading import reading, whole_number

blueprint = Blueprint("tasks", __name__, url_prefix="/api/v2")
_NOTHING: frozenset[str] = frozenset()


@blueprint.get("/tasks")
def tasks() -> dict[str, Any]:
    """`{tasks, next}`, newest first: resource, limit, before."""
    limit = max(1, whole_number("limit", 50, 200))
    before = whole_number("before", 0, 2**62) or None
    with reading() as connection:
        found = views.list_tasks(connection, limit=limit + 1, before=before, ref=_wanted())
    more = found[limit - 1].id if len(found) > limit else None
    return {"tasks": [task.to_json() for task in found[:limit]], "next": more}


@blueprint.get("/tasks/<int:task_id>")
def task(task_id: int) -> dict[str, Any]:
    """TaskView."""
    return found_task(task_id).to_json()


@blueprint.delete("/resources/<kind>/<name>")
def delete(kind: str, name: str) -> Response:
    """202 with a task."""
    return accepted(writer().delete(ref(kind, name), actor()))


@blueprint.post("/resources/<kind>/<name>/approve")
def approve(kind: str, name: str) -> Response:
    """202 with a task. Body: `{fingerprint}` of the change that was looked at, or nothing for whichever waits."""
    seen = text_field(json_body(frozenset({"fingerprint"})), "fingerprint", 64)
    return accepted(writer().approve(ref(kind, name), seen, actor()))


@blueprint.post("/resources/<kind>/<name>/suspend")
def suspend(kind: str, name: str) -> Response:
    """202 with a task. Body: `{reason, until}`; until, a duration or a time, may be left out."""
    body = json_body(frozenset({"reason", "until"}))
    reason, until = text_field(body, "reason", 512, required=True), text_field(body, "until", 40)
    return accepted(writer().suspend(ref(kind, name), reason, until, actor()))


@blueprint.post("/resources/<kind>/<name>/resume")
def resume(kind: str, name: str) -> Response:
    """202 with a task."""
    json_body(_NOTHING)
    return accepted(writer().resume(ref(kind, name), actor()))


@blueprint.post("/resources/<kind>/<name>/reconcile")
def reconcile(kind: str, name: str) -> Response:
    """202 with a task."""
    json_body(_NOTHING)
    return accepted(writer().reconcile(ref(kind, name), actor()))


def found_task(task_id: int) -> views.TaskView:
    """A task; 404 where there is none."""
    with reading() as connection:
        view = views.task(connection, task_id) if task_id < 2**62 else None
    if view is None:
        abort(404, f"there is no task {task_id}")
    return view


def ref(kind: str, name: str) -> ResourceRef:
    """A reference out of a path; 404 for what nothing can be called."""
    try:
        return ResourceRef.parse(f"{kind}/{name}")
    except SpecError:
        abort(404, f"there is no {kind[:63]!r} called {name[:63]!r}")


def _wanted() -> ResourceRef | None:
    text = request.args.get("resource", "")
    try:
        return ResourceRef.parse(text) if text else None
    except SpecError as error:
        raise BadRequest(error.message) from error
