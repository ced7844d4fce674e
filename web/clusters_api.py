"""`/api/v2/clusters`: listed, created, deleted, started, stopped. Described in docs/api.md."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort

from reconciler.errors import SpecError
from reconciler.loading.documents import FindingsError
from reconciler.loading.messages import Finding
from reconciler.model.resource import ResourceRef
from reconciler.store import views
from web import clusters
from web.answers import accepted, actor, writer
from web.bodies import json_body
from web.reading import reading

blueprint = Blueprint("clusters", __name__, url_prefix="/api/v2/clusters")
FIELDS = frozenset({"apiVersion", "kind", "metadata", "lifecycle", "spec"})


@blueprint.get("")
def listed() -> dict[str, Any]:
    """`{clusters}`, by name."""
    with reading() as connection:
        return {"clusters": [view.to_json() for view in clusters.list_clusters(connection)]}


@blueprint.post("")
def create() -> Response:
    """202 with a task. The body is the document of a cluster; `apiVersion` and `kind` may be left out."""
    body = json_body(FIELDS)
    if body.setdefault("kind", clusters.KIND) != clusters.KIND:
        raise FindingsError([Finding(("kind",), f"expected {clusters.KIND}")], None)
    body.setdefault("spec", {})
    return accepted(writer().create(body, actor()))


@blueprint.get("/<name>")
def one(name: str) -> dict[str, Any]:
    """A cluster."""
    return found(name).to_json()


@blueprint.get("/<name>/status")
def status(name: str) -> dict[str, Any]:
    """How it stands: states, conditions and its newest task."""
    view = found(name)
    with reading() as connection:
        detail = views.resource_detail(connection, clusters.ref_of(name))
        newest = views.list_tasks(connection, limit=1, ref=clusters.ref_of(name))
    shown = ("name", "desired_state", "actual_state", "running", "ready", "reason", "message", "nodes_ready")
    return {
        key: value
        for key, value in view.to_json().items()
        if key in {_camel(name) for name in (*shown, "nodes_total", "server_ip", "last_reconciled_at")}
    } | {
        "errorMessage": view.reconcile_error,
        "conditions": [condition.to_json() for condition in detail.conditions] if detail is not None else [],
        "task": newest[0].to_json() if newest else None,
    }


@blueprint.delete("/<name>")
def delete(name: str) -> Response:
    """202 with a task."""
    return accepted(writer().delete(ref(name), actor()))


@blueprint.post("/<name>/start")
def start(name: str) -> Response:
    """202 with a task."""
    json_body(frozenset())
    return accepted(writer().run(ref(name), True, actor()))


@blueprint.post("/<name>/stop")
def stop(name: str) -> Response:
    """202 with a task."""
    json_body(frozenset())
    return accepted(writer().run(ref(name), False, actor()))


def found(name: str) -> clusters.ClusterView:
    """A cluster; 404 where there is none."""
    with reading() as connection:
        view = clusters.cluster(connection, ref(name).name)
    if view is None:
        abort(404, f"there is no cluster called {name[:63]}")
    return view


def ref(name: str) -> ResourceRef:
    """The reference of a cluster; 404 for what none can be called."""
    try:
        return clusters.ref_of(name)
    except SpecError:
        abort(404, f"there is no cluster called {name[:63]!r}")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
