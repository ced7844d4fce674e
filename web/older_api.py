"""`/api/…` as the predecessor had it: the same clusters and tasks under the older routes and field names.

It asks for nothing of its own: a body is translated into a document, and what is wrong with that back into the names
of the body.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response

from reconciler.kinds.cluster.ports import ranges_of
from reconciler.loading.documents import FindingsError
from reconciler.store import views
from web import clusters, clusters_api, tasks_api
from web.answers import actor, writer
from web.bodies import json_body
from web.reading import reading
from web.translation import Places, told_back, translated
from web.writing import Accepted

blueprint = Blueprint("older", __name__, url_prefix="/api")
_PLACES: Places = {
    ("name",): ("metadata", "name"),
    ("provider",): ("spec", "provider"),
    ("cluster_subnet",): ("spec", "subnet"),
    **{(field,): ("spec", "ports", port) for field, port in clusters.PORTS.items()},
}
_STATES = {"succeeded": "completed", "blocked": "running", "superseded": "cancelled"}


@blueprint.get("/health")
def health() -> dict[str, str]:
    """That somebody answers."""
    return {"status": "healthy"}


@blueprint.get("/config")
def config() -> dict[str, Any]:
    """What a form needs: providers, and the ranges out of which ports are given."""
    runtime = writer().runtime
    schema = runtime.kinds[clusters.KIND].schema["properties"]["provider"]
    ranges = ranges_of(runtime.kind_settings(clusters.KIND))
    columns = {port: field for field, port in clusters.PORTS.items()}
    return {
        "providers": list(schema["enum"]),
        "default_provider": schema["default"],
        "port_ranges": {columns[port]: {"min": one.start, "max": one.stop - 1} for port, one in ranges.items()},
    }


@blueprint.get("/clusters")
def listed() -> Response:
    """A list of clusters."""
    with reading() as connection:
        found = clusters.list_clusters(connection)
    return make_response([view.to_older_json() for view in found])


@blueprint.post("/clusters")
def create() -> Response:
    """202 with a task. Ports that are left out or null are given."""
    body = json_body(frozenset(field for (field,) in _PLACES))
    try:
        return _accepted(writer().create(translated(body, _PLACES, clusters.KIND), actor()))
    except FindingsError as error:
        raise told_back(error, _PLACES) from error


@blueprint.get("/clusters/<name>")
def one(name: str) -> dict[str, Any]:
    """A cluster."""
    return clusters_api.found(name).to_older_json()


@blueprint.get("/clusters/<name>/status")
def status(name: str) -> dict[str, Any]:
    """A cluster with `error_message`."""
    view = clusters_api.found(name)
    problem = view.reconcile_error or (view.message if view.ready == "False" else None)
    return view.to_older_json() | {"error_message": problem}


@blueprint.delete("/clusters/<name>")
def delete(name: str) -> Response:
    """202 with a task."""
    return _accepted(writer().delete(clusters_api.ref(name), actor()))


@blueprint.post("/clusters/<name>/start")
def start(name: str) -> Response:
    """202 with a task."""
    return _accepted(writer().run(clusters_api.ref(name), True, actor()))


@blueprint.post("/clusters/<name>/stop")
def stop(name: str) -> Response:
    """202 with a task."""
    return _accepted(writer().run(clusters_api.ref(name), False, actor()))


@blueprint.get("/tasks/<int:task_id>")
def task(task_id: int) -> dict[str, Any]:
    """A task with its progress and the titles of its steps."""
    view = tasks_api.found_task(task_id)
    with reading() as connection:
        change = views.history(connection, view.ref, limit=1) if view.run is not None else []
    logs = [f"{step.title or step.name}: {step.outcome}" for one in change if one.run == view.run for step in one.steps]
    return {
        "task_id": view.id,
        "cluster_name": view.ref.name,
        "action": view.action,
        "status": _STATES.get(view.state, view.state),
        "progress": view.percent,
        "message": view.message,
        "error": view.error or None,
        "logs": logs,
        "created_at": view.created_at,
        "started_at": view.started_at,
        "completed_at": view.finished_at,
    }


def _accepted(what: Accepted) -> Response:
    body = {"task_id": what.task, "status": "pending", "message": what.message}
    return make_response(body, 202, {"Location": f"/api/tasks/{what.task}"})
