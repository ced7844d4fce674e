"""`/api/v2/clusters`: what clusters have beside other collections: their own view, starting and stopping."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response, abort
from sqlalchemy import Connection

from reconciler.model.resource import ResourceRef
from web import clusters
from web.answers import accepted, actor, writer
from web.bodies import json_body
from web.collection import Collection, Json
from web.collection_api import blueprint_of
from web.reading import reading

_STANDING = ("name", "desiredState", "actualState", "running", "ready", "reason", "message", "nodesReady")


@dataclass(frozen=True, slots=True)
class Clusters(Collection):
    """Clusters, with what is recorded of each."""

    def listed(self, connection: Connection) -> list[Json]:
        """Those that are only recorded as well."""
        return [view.to_json() for view in clusters.list_clusters(connection)]

    def one(self, connection: Connection, name: str) -> Json | None:
        """See ClusterView."""
        view = clusters.cluster(connection, name)
        return view.to_json() if view is not None else None

    def standing(self, shown: Json) -> Json:
        """States, nodes and what went wrong."""
        names = (*_STANDING, "nodesTotal", "serverIp", "lastReconciledAt")
        return {name: shown[name] for name in names} | {"errorMessage": shown["reconcileError"]}


CLUSTERS = Clusters("clusters", clusters.KIND)
blueprint = blueprint_of(CLUSTERS)


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
    return CLUSTERS.ref(name)
