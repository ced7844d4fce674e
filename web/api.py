"""The JSON twins of the pages, under `/api/v2/`: reads. Shapes and errors are described in API.md beside this file."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, request

from reconciler.model.resource import ResourceRef
from reconciler.store import events, views
from web.listing import listing
from web.reading import reading, whole_number

PREFIX = "/api/v2"
blueprint = Blueprint("api", __name__, url_prefix=PREFIX)

Json = dict[str, Any]
LIMIT = 1_000
HIGHEST = 20_000
_ENDPOINTS = {
    "/overview": "how everything is, what is wrong first",
    "/resources": "resources: q, kind, name (glob), label, ready, standing, sort=worst|name, limit, offset",
    "/resources/<kind>/<name>": "one resource with its history and events",
    "/runs": "runs, newest first: limit, before",
    "/runs/<run_id>": "one run with its changes",
    "/steps/<step_id>/log": "a step's captured output: after",
    "/events": "events, oldest first: after, limit; with before= newest first",
    "/graph": "who needs whom",
    "/problems": "what is wrong with documents and sources",
    "/clusters": "clusters; POST creates one",
    "/clusters/<name>": "one cluster; DELETE deletes it",
    "/clusters/<name>/status": "how it stands, with its newest task",
    **{
        f"/{plural}{rest}": text
        for plural, word in (("projects", "project"), ("applicationsets", "application set"))
        for rest, text in (
            ("", f"{word}s; POST creates one"),
            ("/<name>", f"one {word}; DELETE deletes it"),
            ("/<name>/status", "how it stands, with its newest task"),
        )
    },
    "/projects/<name>/environments": "its environments in order of promotion, with their Flux state",
    "/rsync/<pair>": "a pair of nodes: rsync, pauses, upgrade, what waits for a person",
    "/rsync/<pair>/history": "its synchronizations, newest first: limit",
    "/tasks": "what was asked for, newest first: resource, limit, before",
    "/tasks/<task_id>": "one task with its progress",
}


@blueprint.get("/")
def index() -> Json:
    """What there is."""
    return {"endpoints": [{"path": PREFIX + path, "returns": text} for path, text in _ENDPOINTS.items()]}


@blueprint.get("/overview")
def overview() -> Json:
    """Overview."""
    with reading() as connection:
        return views.overview(connection).to_json()


@blueprint.get("/resources")
def resources() -> Json:
    """`{resources, total, offset, next}`."""
    with reading() as connection:
        found = listing(connection, LIMIT, HIGHEST)
    return {
        "resources": [view.to_json() for view in found.shown],
        "total": found.total,
        "offset": found.offset,
        "next": found.next_offset,
    }


@blueprint.get("/resources/<kind>/<name>")
def resource(kind: str, name: str) -> Json:
    """ResourceDetail with `history` and `events`."""
    ref = ResourceRef(kind, name)
    with reading() as connection:
        detail = views.resource_detail(connection, ref)
        if detail is None:
            abort(404, f"there is no {kind[:63]} called {name[:63]}")
        history = views.history(connection, ref)
        happened = views.list_events(connection, limit=50, ref=ref)
    more = {"history": [change.to_json() for change in history], "events": [event.to_json() for event in happened]}
    return detail.to_json() | more


@blueprint.get("/runs")
def runs() -> Json:
    """`{runs, next}`; next: the `before` of the next part, or null."""
    limit = max(1, whole_number("limit", 50, 500))
    with reading() as connection:
        found = views.list_runs(connection, limit=limit + 1, before=whole_number("before", 0, 2**62) or None)
    more = found[limit - 1].id if len(found) > limit else None
    return {"runs": [run.to_json() for run in found[:limit]], "next": more}


@blueprint.get("/runs/<int:run_id>")
def run(run_id: int) -> Json:
    """RunDetail."""
    with reading() as connection:
        detail = views.run_detail(connection, run_id) if run_id < 2**62 else None
    if detail is None:
        abort(404, f"there is no run {run_id}")
    return detail.to_json()


@blueprint.get("/steps/<int:step_id>/log")
def log(step_id: int) -> Json:
    """`{chunks, last}`; last: what to give as `after` for what comes next."""
    after = whole_number("after", 0, 2**62)
    with reading() as connection:
        chunks = views.step_log(connection, step_id, after=after) if step_id < 2**62 else []
    return {"chunks": [chunk.to_json() for chunk in chunks], "last": chunks[-1].id if chunks else after}


@blueprint.get("/events")
def happenings() -> Json:
    """`{events, last}`; last: what to give as `after` for what comes next."""
    limit = max(1, whole_number("limit", 200, 1_000))
    after = whole_number("after", 0, 2**62)
    with reading() as connection:
        if "before" in request.args:
            found = views.list_events(connection, limit=limit, before=whole_number("before", 2**62, 2**62))
        else:
            found = events.listed(connection, after=after, limit=limit)
    last = max((event.id for event in found), default=after)
    return {"events": [event.to_json() for event in found], "last": last}


@blueprint.get("/graph")
def graph() -> Json:
    """GraphView."""
    with reading() as connection:
        return views.dependency_graph(connection).to_json()


@blueprint.get("/problems")
def problems() -> Json:
    """`{problems, sources}`."""
    with reading() as connection:
        found, sources = views.list_problems(connection), views.list_sources(connection)
    return {"problems": [problem.to_json() for problem in found], "sources": [source.to_json() for source in sources]}
