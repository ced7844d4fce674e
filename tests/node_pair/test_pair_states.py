"""The states of a pair: the twelve edges of the document, those that were added, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_store import PairStore, opened

from reconciler.errors import TerminalError
from reconciler.kinds.node_pair.states import EDGES, FIRST, Event, PairState, after, chinese_name, english_name

DRAWN = """
    rsync运行中 --> 升级暂停
    升级暂停 --> 升级进行中
    升级进行中 --> 升级完成
    升级完成 --> 同步配置
    同步配置 --> rsync运行中
    升级暂停 --> 暂停失败
    暂停失败 --> 升级进行中
    同步配置 --> 同步验证
    同步验证 --> 验证成功
    同步验证 --> 验证失败
    验证成功 --> rsync运行中
    验证失败 --> 等待人工介入
"""
ADDED = {
    ("UPGRADING", "ROLLING_BACK"),
    ("UPGRADE_PAUSED", "ROLLING_BACK"),
    ("PAUSE_FAILED", "ROLLING_BACK"),
    ("UPGRADED", "ROLLING_BACK"),
    ("ROLLING_BACK", "RSYNC_RUNNING"),
    ("ROLLING_BACK", "WAIT_MANUAL"),
    ("UPGRADED", "RESUME_FAILED"),
    ("RESUME_FAILED", "WAIT_MANUAL"),
    ("UPGRADING", "WAIT_MANUAL"),
    ("UPGRADED", "WAIT_MANUAL"),
    ("SYNCING", "WAIT_MANUAL"),
    ("WAIT_MANUAL", "RSYNC_RUNNING"),
}


def drawn() -> set[tuple[str, str]]:
    """The document's edges, in our names."""
    names = {chinese_name(state): state.value for state in PairState}
    lines = (line.split(" --> ") for line in DRAWN.strip().splitlines())
    return {(names[source.strip()], names[target.strip()]) for source, target in lines}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PairStore]:
    with opened(tmp_path_factory.mktemp("states")) as made:
        yield made


def test_row_4_17_the_edges_are_the_twelve_and_those_that_were_added() -> None:
    assert len(drawn()) == 12
    assert {(edge.source.value, edge.target.value) for edge in EDGES if edge.drawn} == drawn()
    assert sorted(edge.drawn for edge in EDGES if edge.drawn) == list(range(1, 13))
    assert {(edge.source.value, edge.target.value) for edge in EDGES if not edge.drawn} == ADDED
    assert all(edge.why for edge in EDGES)
    assert len({(edge.source, edge.event) for edge in EDGES}) == len(EDGES), "an event leads to one state"
    assert len({chinese_name(state) for state in PairState} | {english_name(state) for state in PairState}) == 24


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_row_4_17_random_events_only_take_edges_that_there_are(happened: list[Event]) -> None:
    allowed, state = drawn() | ADDED, FIRST
    for event in happened:
        if event not in {edge.event for edge in EDGES if edge.source is state}:
            with pytest.raises(TerminalError, match=state.value) as refusal:
                after(state, event)
            assert refusal.value.reason == "NoSuchTransition"
            continue
        following = after(state, event)
        assert (state.value, following.value) in allowed
        state = following


@given(st.data())
def test_row_4_17_each_transition_is_a_row(store: PairStore, data: st.DataObject) -> None:
    """Whatever happens, the rows tell it without a gap, and what was refused left none."""
    rows, expected = store.rows(), [FIRST]
    rows.forget()
    for event in data.draw(st.lists(st.sampled_from(Event), max_size=12)):
        possible = [edge.event for edge in EDGES if edge.source is expected[-1]]
        chosen = data.draw(st.sampled_from([event, *possible]))
        try:
            expected.append(rows.move(chosen, f"because of {chosen}"))
        except TerminalError:
            assert chosen not in possible
    passed = store.records.list("pair_transitions", pair="shop")
    assert [one["sequence"] for one in passed] == list(range(1, len(expected)))
    assert [one["source"] for one in passed] == expected[:-1]
    assert [one["target"] for one in passed] == expected[1:]
    assert rows.state() is expected[-1]
    reason = rows.wait_reason()
    assert reason.startswith("because of") if expected[-1] is PairState.WAIT_MANUAL else reason == ""


def test_every_state_can_be_reached_and_left_again() -> None:
    """No pair is stuck for ever: from everywhere a way leads back to where rsync runs."""
    ways = {state: {edge.target for edge in EDGES if edge.source is state} for state in PairState}
    for first, last in [(FIRST, state) for state in PairState] + [(state, FIRST) for state in PairState]:
        reached = {first}
        while grown := {target for state in reached for target in ways[state]} - reached:
            reached |= grown
        assert last in reached, f"no way from {first} to {last}"
