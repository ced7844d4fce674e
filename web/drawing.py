"""Where the boxes and lines of the dependency graph go: layers from left (needed first) to right. Pure geometry.

The usual four steps: a layer for each node (longest path), a bend in every layer that a long edge passes, an order in
each layer that crosses few lines (medians of neighbours, swept to and fro), and heights as near to the neighbours as
the distance between boxes allows (isotonic regression).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from reconciler.model.resource import ResourceRef
from reconciler.store.views import Edge, GraphView, Node

WIDTH = 216
HEIGHT = 44
LAYER = 304
ROW = 60
MARGIN = 16
SWEEPS = 6

Place = tuple[ResourceRef, int]
"""A node in its layer, or a bend of a long edge: (its needing end, -1 - number of the edge) is unique."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node with its upper left corner."""

    node: Node
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """An edge as an SVG path from what is needed to what needs it."""

    edge: Edge
    path: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes and lines, and the size of it all in pixels."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def draw(graph: GraphView) -> Drawing:
    """The geometry of a graph; the same graph gives the same drawing. Cycles, which no plan allows, are drawn too."""
    layers = _layers(graph)
    columns: dict[int, list[Place]] = defaultdict(list)
    for node in graph.nodes:
        columns[layers[node.ref]].append((node.ref, 0))
    paths = _with_bends(graph.edges, layers, columns)
    neighbours = _neighbours(paths)
    ordered = [columns[layer] for layer in sorted(columns)]
    _order(ordered, neighbours)
    heights = _heights(ordered, neighbours)
    lowest = max(heights.values(), default=0.0)
    where = {place: (MARGIN + layer * LAYER, heights[place]) for layer, row in enumerate(ordered) for place in row}
    boxes = tuple(Box(node, where[node.ref, 0][0], round(where[node.ref, 0][1], 1)) for node in graph.nodes)
    lines = tuple(
        Line(edge, _path([where[place] for place in path])) for edge, path in zip(graph.edges, paths, strict=True)
    )
    width = 2 * MARGIN + max(0, len(ordered) - 1) * LAYER + WIDTH
    return Drawing(boxes, lines, width, lowest + HEIGHT + MARGIN)


def _layers(graph: GraphView) -> dict[ResourceRef, int]:
    """The longest way down to something that needs nothing. An edge that closes a cycle does not count."""
    needs: dict[ResourceRef, list[ResourceRef]] = defaultdict(list)
    for edge in graph.edges:
        needs[edge.source].append(edge.target)
    layers: dict[ResourceRef, int] = {}
    begun: set[ResourceRef] = set()
    for node in graph.nodes:
        stack = [node.ref]
        while stack:
            ref = stack[-1]
            ahead = [need for need in needs[ref] if need not in layers and need not in begun and need != ref]
            begun.add(ref)
            if ahead:
                stack.extend(ahead)
                continue
            stack.pop()
            if ref not in layers:
                layers[ref] = max((layers[need] + 1 for need in needs[ref] if need in layers), default=0)
    return layers


def _with_bends(
    edges: Sequence[Edge], layers: Mapping[ResourceRef, int], columns: dict[int, list[Place]]
) -> list[list[Place]]:
    """For each edge the places that it runs through, from the needed to the needing; bends are put into `columns`."""
    paths = []
    for number, edge in enumerate(edges):
        first, last = layers[edge.target], layers[edge.source]
        bends: list[Place] = []
        for layer in range(first + 1, last):
            bend = (edge.source, -1 - (number * 1000 + layer))
            columns[layer].append(bend)
            bends.append(bend)
        paths.append([(edge.target, 0), *bends, (edge.source, 0)])
    return paths


def _neighbours(paths: Sequence[Sequence[Place]]) -> dict[Place, tuple[list[Place], list[Place]]]:
    """For each place those one layer to the left, and those one layer to the right."""
    found: dict[Place, tuple[list[Place], list[Place]]] = defaultdict(lambda: ([], []))
    for path in paths:
        for left, right in pairwise(path):
            found[left][1].append(right)
            found[right][0].append(left)
    return found


def _order(ordered: list[list[Place]], neighbours: Mapping[Place, tuple[list[Place], list[Place]]]) -> None:
    """Sort each layer by the mean place of its neighbours, sweeping to the right and back."""
    for sweep in range(SWEEPS):
        side = sweep % 2
        rows = ordered[1:] if side == 0 else ordered[-2::-1]
        rank = {place: index for row in ordered for index, place in enumerate(row)}
        for row in rows:
            row.sort(key=lambda place: _mean([rank[other] for other in neighbours[place][side]], rank[place]))
            rank.update({place: index for index, place in enumerate(row)})


def _heights(
    ordered: Sequence[Sequence[Place]], neighbours: Mapping[Place, tuple[list[Place], list[Place]]]
) -> dict[Place, float]:
    heights = {place: float(index * ROW) for row in ordered for index, place in enumerate(row)}
    for sweep in range(SWEEPS):
        side = sweep % 2
        for row in ordered if side == 0 else reversed(ordered):
            wanted = [_mean([heights[other] for other in neighbours[place][side]], heights[place]) for place in row]
            heights.update(zip(row, _apart(wanted), strict=True))
    top = min(heights.values(), default=0.0)
    return {place: height - top + MARGIN for place, height in heights.items()}


def _apart(wanted: Sequence[float]) -> list[float]:
    """The heights nearest to those wanted that keep the order and a ROW between each two (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for index, height in enumerate(wanted):
        total, size = height - index * ROW, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / size:
            before, count = pools.pop()
            total, size = total + before, size + count
        pools.append((total, size))
    flat = [total / size for total, size in pools for _ in range(size)]
    return [height + index * ROW for index, height in enumerate(flat)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A smooth line from the right edge of the first box through the bends to the left edge of the last."""
    half = HEIGHT / 2
    x, y = points[0][0] + WIDTH, points[0][1] + half
    parts = [f"M{x:.0f} {y:.1f}"]
    for number, (left, top) in enumerate(points[1:], 2):
        is_last = number == len(points)
        nx, ny = left - (6 if is_last else 0), top + half
        middle = (x + nx) / 2
        parts.append(f"C{middle:.0f} {y:.1f} {middle:.0f} {ny:.1f} {nx:.0f} {ny:.1f}")
        x, y = nx, ny
        if not is_last:
            x = left + WIDTH
            parts.append(f"H{x:.0f}")
    return "".join(parts)


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
