"""Dependencies: in which order, who needs whom, where it goes in circles. Called by planner, loader and page."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush

from reconciler.model.resource import ResourceRef

Graph = Mapping[ResourceRef, Collection[ResourceRef]]
"""Each resource with what it needs. What is needed but has no entry of its own is outside the graph."""


def topological(graph: Graph) -> list[ResourceRef]:
    """Every key of the graph, what is needed before what needs it, otherwise by name. Cycles come last, by name."""
    missing = {ref: sum(1 for need in set(needs) if need in graph and need != ref) for ref, needs in graph.items()}
    dependents = reverse(graph)
    ready = [ref for ref, count in missing.items() if count == 0]
    heapify(ready)
    ordered: list[ResourceRef] = []
    while ready:
        ref = heappop(ready)
        ordered.append(ref)
        for dependent in dependents.get(ref, ()):
            missing[dependent] -= 1
            if missing[dependent] == 0:
                heappush(ready, dependent)
    if len(ordered) < len(graph):
        ordered.extend(sorted(set(graph) - set(ordered)))
    return ordered


def reverse(graph: Graph) -> dict[ResourceRef, set[ResourceRef]]:
    """Each needed resource with those that need it; a resource that names itself is left out."""
    dependents: dict[ResourceRef, set[ResourceRef]] = {}
    for ref, needs in graph.items():
        for need in needs:
            if need != ref:
                dependents.setdefault(need, set()).add(ref)
    return dependents


def reachable(graph: Mapping[ResourceRef, Iterable[ResourceRef]], start: Iterable[ResourceRef]) -> set[ResourceRef]:
    """Everything that can be reached from `start` along the graph, `start` included."""
    seen = set(start)
    waiting = deque(seen)
    while waiting:
        for following in graph.get(waiting.popleft(), ()):
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return seen


def find_cycle(graph: Graph) -> list[ResourceRef] | None:
    """One cycle as `[A, B, A]`, or None. The same graph always gives the same cycle."""
    done: set[ResourceRef] = set()
    for start in sorted(graph):
        path: list[ResourceRef] = []
        on_path: set[ResourceRef] = set()
        stack: list[tuple[ResourceRef, bool]] = [(start, False)]
        while stack:
            ref, leaving = stack.pop()
            if leaving:
                path.pop()
                on_path.discard(ref)
                done.add(ref)
            elif ref in on_path:
                return [*path[path.index(ref) :], ref]
            elif ref not in done:
                path.append(ref)
                on_path.add(ref)
                stack.append((ref, True))
                stack.extend((need, False) for need in sorted(graph[ref], reverse=True) if need in graph)
    return None
