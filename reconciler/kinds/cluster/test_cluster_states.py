"""The states of a cluster's row: nothing but the edges of the table ever happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import TerminalError
from reconciler.kinds.cluster.states import EDGES, State, path

STATES = st.sampled_from(list(State))


@given(STATES, STATES)
def test_every_way_is_made_of_edges_and_ends_at_its_target(current: State, target: State) -> None:
    if (current is State.GONE and target is not State.GONE) or (target is State.UNKNOWN and current is not target):
        with pytest.raises(TerminalError):
            path(current, target)
        return
    way = path(current, target)
    assert all(after in EDGES[before] for before, after in zip((current, *way), way, strict=False))
    assert (way[-1:] or (current,)) == (target,) or current is target
    assert len(set(way)) == len(way), "no state is passed twice"


@given(STATES)
def test_a_cluster_is_running_only_after_it_was_creating(current: State) -> None:
    if current in (State.GONE, State.RUNNING, State.STOPPED):
        return
    assert path(current, State.RUNNING)[-2:] in [(State.CREATING, State.RUNNING), (State.RUNNING,)]
    assert State.CREATING in (current, *path(current, State.RUNNING))


@given(st.lists(STATES, max_size=12))
def test_gone_is_reached_only_through_deleting_and_is_final(targets: list[State]) -> None:
    seen = [State.UNKNOWN]
    for target in targets:
        try:
            seen += path(seen[-1], target)
        except TerminalError:
            continue
    assert State.GONE not in seen[:-1]
    if seen[-1] is State.GONE:
        assert seen[-2] is State.DELETING


def test_an_interrupted_deletion_can_be_created_again() -> None:
    assert path(State.DELETING, State.CREATING) == (State.FAILED, State.CREATING)


def test_a_cluster_that_vanished_fails_before_it_is_made_again() -> None:
    assert path(State.RUNNING, State.CREATING) == (State.FAILED, State.CREATING)


def test_a_cluster_that_stands_still_was_made_before() -> None:
    assert path(State.RUNNING, State.STOPPED) == (State.STOPPED,)
    assert path(State.STOPPED, State.RUNNING) == (State.RUNNING,)
    assert path(State.CREATING, State.STOPPED) == (State.FAILED, State.STOPPED)
