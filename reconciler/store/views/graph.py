"""Who needs whom, by `dependsOn` and by what kinds read out of specs: `/graph`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from reconciler.model.resource import ResourceRef
from reconciler.store.clock import now_of
from reconciler.store.tables import resources, statuses
from reconciler.store.views.base import View
from reconciler.store.views.resources import dependencies_of
from reconciler.store.views.standing import Standing, joined, standing_column


@dataclass(frozen=True, slots=True)
class Node(View):
    """A resource; standing `missing` for one that is needed and that nobody wrote."""

    ref: ResourceRef
    standing: Standing | str
    reason: str


@dataclass(frozen=True, slots=True)
class Edge(View):
    """`source` needs `target`."""

    source: ResourceRef
    target: ResourceRef


@dataclass(frozen=True, slots=True)
class GraphView(View):
    """Every resource that needs another or is needed; single: how many have nothing to do with any other."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    single: int


def dependency_graph(connection: Connection) -> GraphView:
    """The whole graph, nodes and edges sorted."""
    standing = standing_column(now_of(connection)).label("standing")
    chosen = select(resources.c.kind, resources.c.name, resources.c.needs, statuses.c.reason, standing)
    found: dict[ResourceRef, Node] = {}
    edges: list[Edge] = []
    for row in connection.execute(chosen.select_from(joined())):
        ref = ResourceRef(row.kind, row.name)
        found[ref] = Node(ref, row.standing, row.reason or "")
        edges.extend(Edge(ref, need) for need in dependencies_of(row.needs))
    involved = {ref for edge in edges for ref in (edge.source, edge.target)}
    nodes = (found.get(ref) or Node(ref, "missing", "NotFound") for ref in sorted(involved))
    return GraphView(tuple(nodes), tuple(sorted(edges, key=_ends)), len(found.keys() - involved))


def _ends(edge: Edge) -> tuple[ResourceRef, ResourceRef]:
    return edge.source, edge.target
