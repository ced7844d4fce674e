"""The drawing of any graph has no overlapping boxes, leads from left to right, and is finished quickly."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.resource import ResourceRef
from reconciler.store.views import Edge, GraphView, Node
from web.drawing import HEIGHT, WIDTH, Drawing, draw


def graph(edges: list[tuple[int, int]]) -> GraphView:
    """A graph of numbered clusters; (a, b): a needs b."""
    refs = {number: ResourceRef("Cluster", f"n{number:04}") for edge in edges for number in edge}
    nodes = tuple(Node(ref, "ready", "") for ref in sorted(refs.values()))
    return GraphView(nodes, tuple(sorted((Edge(refs[a], refs[b]) for a, b in edges), key=str)), 0)


def check(drawing: Drawing) -> None:
    """No box overlaps another or leaves the drawing."""
    columns: dict[float, list[float]] = {}
    for box in drawing.boxes:
        assert 0 <= box.x <= drawing.width - WIDTH
        assert 0 <= box.y <= drawing.height - HEIGHT
        columns.setdefault(box.x, []).append(box.y)
    for heights in columns.values():
        ordered = sorted(heights)
        assert all(lower - upper >= HEIGHT for upper, lower in pairwise(ordered))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)).map(lambda pair: (max(pair), min(pair))), max_size=60)
)
def test_boxes_never_overlap_and_needs_stand_on_the_left(pairs: list[tuple[int, int]]) -> None:
    edges = [pair for pair in pairs if pair[0] != pair[1]]
    drawing = draw(graph(edges))
    check(drawing)
    places = {box.node.ref: box.x for box in drawing.boxes}
    assert all(places[line.edge.target] < places[line.edge.source] for line in drawing.lines)
    assert len(drawing.lines) == len(edges)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_even_cycles_are_drawn(edges: list[tuple[int, int]]) -> None:
    check(draw(graph(edges)))


def test_a_chain_is_one_straight_line() -> None:
    drawing = draw(graph([(1, 0), (2, 1), (3, 2)]))
    assert len({box.y for box in drawing.boxes}) == 1
    assert [box.x for box in drawing.boxes] == sorted({box.x for box in drawing.boxes})


def test_two_separate_pairs_do_not_cross() -> None:
    drawing = draw(graph([(2, 0), (3, 1)]))
    places = {box.node.ref.name: box.y for box in drawing.boxes}
    assert (places["n0000"] < places["n0001"]) == (places["n0002"] < places["n0003"])


def test_the_same_graph_gives_the_same_drawing() -> None:
    edges = [(5, 1), (5, 2), (4, 2), (4, 0), (3, 0)]
    assert draw(graph(edges)) == draw(graph(list(reversed(edges))))


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw(GraphView((), (), 3)).boxes == ()


@pytest.mark.parametrize("depth", [1, 8, 400])
def test_hundreds_of_nodes_are_drawn(depth: int, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(7)
    edges = [(number, chance.randrange(max(0, number - 800 // depth), number)) for number in range(1, 800)]
    started = time.perf_counter()
    drawing = draw(graph(edges))
    with capsys.disabled():
        print(f"\n800 nodes, {depth}: {time.perf_counter() - started:.3f} s")
    check(drawing)
    assert len(drawing.boxes) == 800
