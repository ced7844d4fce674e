"""Order: what is needed comes first, the same graph always gives the same order, and a cycle is named."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from plain_kind import ref

from reconciler.model.resource import ResourceRef
from reconciler.planning.order import find_cycle, reachable, reverse, topological

Graph = dict[ResourceRef, set[ResourceRef]]
NAMES = st.sampled_from("abcdefgh").map(ref)
ANY_GRAPH = st.dictionaries(NAMES, st.sets(NAMES, max_size=4), max_size=8)


def graph(text: str) -> Graph:
    """`a>b,c d` is: a needs b and c, d needs nothing."""
    pairs = (part.partition(">")[::2] for part in text.split())
    return {ref(name): {ref(one) for one in needs.split(",") if one} for name, needs in pairs}


def without_cycles(any_graph: Mapping[ResourceRef, set[ResourceRef]]) -> Graph:
    return {name: {need for need in needs if need < name} for name, needs in any_graph.items()}


def names(refs: list[ResourceRef] | None) -> str:
    return "".join(one.name for one in refs or ())


def test_what_is_needed_comes_first_and_names_decide_the_rest() -> None:
    assert names(topological(graph("c>b b>a a d"))) == "abcd"
    assert names(topological(graph("a>z z b"))) == "bza"


def test_what_is_outside_of_the_graph_does_not_matter() -> None:
    assert names(topological(graph("a>elsewhere"))) == "a"


def test_a_cycle_comes_last_by_name() -> None:
    assert names(topological(graph("c b>a a>b d>b"))) == "cabd"


def test_one_that_needs_itself_is_no_obstacle() -> None:
    assert names(topological(graph("a>a b>a"))) == "ab"


def test_a_cycle_is_named_from_its_first_member_round_to_it() -> None:
    assert names(find_cycle(graph("a>b b>c c>b"))) == "bcb"
    assert names(find_cycle(graph("a>a"))) == "aa"
    assert find_cycle(graph("a>b,c b>c c")) is None


def test_reachable_follows_the_graph_from_all_starts() -> None:
    found = reachable(graph("a>b b>c c d>e e f"), [ref("a"), ref("d")])
    assert names(sorted(found)) == "abcde"


def test_a_long_chain_needs_no_recursion() -> None:
    chain = {ref(f"n{number:05}"): {ref(f"n{number + 1:05}")} for number in range(20_000)}
    assert topological(chain)[0] == ref("n19999")
    assert find_cycle(chain) is None
    chain[ref("n20000")] = {ref("n00000")}
    cycle = find_cycle(chain)
    assert cycle is not None
    assert len(cycle) == 20_002


@given(ANY_GRAPH)
def test_every_key_comes_exactly_once(found: Graph) -> None:
    assert sorted(topological(found)) == sorted(found)


@given(ANY_GRAPH.map(without_cycles))
def test_without_cycles_every_need_comes_first(found: Graph) -> None:
    order = topological(found)
    for name, needs in found.items():
        for need in needs & found.keys():
            assert order.index(need) < order.index(name)
    assert find_cycle(found) is None


@given(ANY_GRAPH)
def test_a_named_cycle_is_one_and_is_always_the_same(found: Graph) -> None:
    cycle = find_cycle(found)
    if cycle is None:
        order = topological(found)
        assert all(order.index(need) < order.index(name) for name in found for need in found[name] & found.keys())
        return
    assert cycle[0] == cycle[-1]
    assert all(need in found[name] for name, need in itertools.pairwise(cycle))
    assert find_cycle(dict(reversed(found.items()))) == cycle


@given(ANY_GRAPH)
def test_reverse_is_the_graph_the_other_way_round(found: Graph) -> None:
    backwards = reverse(found)
    assert {(need, name) for name, needs in found.items() for need in needs if need != name} == {
        (name, dependent) for name, dependents in backwards.items() for dependent in dependents
    }
