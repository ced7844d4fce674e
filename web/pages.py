"""The pages, as HTML that needs no script. Each function reads one state of the store and renders one template."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, abort, request
from sqlalchemy import Connection

from reconciler.errors import TerminalError
from reconciler.model.resource import ResourceRef
from reconciler.store import views
from web.answers import writer
from web.drawing import draw
from web.gate import session
from web.listing import listing
from web.permitted import permitted
from web.reading import reading, render, whole_number
from web.recorded import facts_of

blueprint = Blueprint("pages", __name__)

RESOURCES = 500
ALL_RESOURCES = 20_000
RUNS = 50
EVENTS = 100
LOG = 64_000
_log = logging.getLogger("reconciler.web")


@blueprint.get("/")
def overview() -> str:
    """What is wrong, what changed, what is running."""
    with reading() as connection:
        found = views.overview(connection)
        latest = views.list_events(connection, limit=12)
        return render(connection, "overview.html", found=found, latest=latest)


@blueprint.get("/resources")
def resources() -> str:
    """The list, worst first, with its filter."""
    with reading() as connection:
        return render(connection, "resources.html", list=listing(connection, RESOURCES, ALL_RESOURCES))


@blueprint.get("/resources/<kind>/<name>")
def resource(kind: str, name: str) -> str:
    """Everything about one resource. The logs of its newest change stand in the page, older ones behind a link."""
    ref = ResourceRef(kind, name)
    with reading() as connection:
        detail = views.resource_detail(connection, ref)
        history = views.history(connection, ref)
        if detail is None and not history:
            abort(404, f"There is no {kind[:63]} called {name[:63]}.")
        logs = {
            step.id: _tail(connection, step.id) for step in (history[0].steps if history else ()) if step.log_chunks
        }
        events = views.list_events(connection, limit=30, ref=ref)
        values: dict[str, Any] = {"ref": ref, "detail": detail, "history": history, "logs": logs, "events": events}
        values["recorded"] = _recorded(connection, ref)
        if detail is not None and session() is not None:
            values["permitted"] = permitted(writer().runtime, connection, detail)
        return render(connection, "resource.html", **values)


@blueprint.get("/runs")
def runs() -> str:
    """Runs, newest first."""
    with reading() as connection:
        found = views.list_runs(connection, limit=RUNS + 1, before=whole_number("before", 0, 2**62) or None)
        return render(connection, "runs.html", runs=found[:RUNS], more=len(found) > RUNS)


@blueprint.get("/runs/<int:run_id>")
def run(run_id: int) -> str:
    """One run and its changes."""
    with reading() as connection:
        detail = views.run_detail(connection, run_id) if run_id < 2**62 else None
        if detail is None:
            abort(404, f"There is no run {run_id}.")
        return render(connection, "run.html", detail=detail)


@blueprint.get("/steps/<int:step_id>/log")
def log(step_id: int) -> Response:
    """A step's whole log, as plain text."""
    with reading() as connection:
        chunks = views.step_log(connection, step_id, limit=100_000) if step_id < 2**62 else []
    if not chunks:
        abort(404, f"Step {step_id} logged nothing, or is not there.")
    return Response("".join(chunk.text for chunk in chunks), mimetype="text/plain")


@blueprint.get("/tasks/<int:task_id>")
def task(task_id: int) -> str:
    """What became of something that was asked for."""
    with reading() as connection:
        found = views.task(connection, task_id) if task_id < 2**62 else None
        if found is None:
            abort(404, f"There is no task {task_id}.")
        is_there = views.resource_detail(connection, found.ref) is not None
        return render(connection, "task.html", task=found, is_there=is_there)


@blueprint.get("/activity")
def activity() -> str:
    """Events, newest first."""
    chosen = request.args.get("type", "")
    types = {"alarm": ("alarm",), "warning": ("warning", "alarm")}.get(chosen, ())
    with reading() as connection:
        before = whole_number("before", 0, 2**62) or None
        found = views.list_events(connection, limit=EVENTS + 1, before=before, types=types)
        more = len(found) > EVENTS
        return render(connection, "activity.html", events=found[:EVENTS], more=more, chosen=chosen if types else "")


@blueprint.get("/graph")
def graph() -> str:
    """Who needs whom."""
    with reading() as connection:
        found = views.dependency_graph(connection)
        needs: dict[ResourceRef, list[ResourceRef]] = {node.ref: [] for node in found.nodes}
        for edge in found.edges:
            needs[edge.source].append(edge.target)
        return render(connection, "graph.html", graph=found, drawing=draw(found), needs=needs)


def _recorded(connection: Connection, ref: ResourceRef) -> Mapping[str, Any]:
    """What its kind's records say of a resource. A kind that fails at that costs the page nothing else."""
    try:
        return facts_of(connection, ref.kind).get(ref.name, {})
    except TerminalError as error:
        _log.warning("%s: %s", ref, error.message)
        return {}


def _tail(connection: Connection, step_id: int) -> tuple[str, bool]:
    """The end of a step's log, and whether something was left out before it."""
    text = "".join(chunk.text for chunk in views.step_log(connection, step_id))
    return text[-LOG:], len(text) > LOG
