"""The arithmetic of rolling updates and of indexed Jobs, with property tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.sandbox.completions import read_indexes, write_indexes
from reconciler.sandbox.rollouts import Bounds, Size, plan_rollout, read_bounds, share

SIZES = st.integers(0, 12).flatmap(lambda replicas: st.builds(Size, st.just(replicas), st.integers(0, replicas)))


@pytest.mark.parametrize(
    ("written", "wanted", "up", "expected"),
    [(3, 10, True, 3), ("3", 10, True, 3), ("25%", 10, True, 3), ("25%", 10, False, 2), ("0%", 5, True, 0),
     ("100%", 7, False, 7), ("many", 7, True, 0), ("-1", 7, True, 0), ("1.5%", 7, True, 0)],
)  # fmt: skip
def test_a_share_is_a_number_or_a_percentage(written: object, wanted: int, up: bool, expected: int) -> None:
    assert share(written, wanted, up=up) == expected


def test_at_least_one_of_the_bounds_lets_a_rollout_move() -> None:
    assert read_bounds({"maxSurge": 0, "maxUnavailable": 0}, 3) == Bounds(0, 1)
    assert read_bounds({"maxSurge": "25%", "maxUnavailable": "25%"}, 1) == Bounds(1, 0)


@given(wanted=st.integers(0, 12), surge=st.integers(0, 4), unavailable=st.integers(0, 4), current=SIZES,
       older=st.lists(SIZES, max_size=4))  # fmt: skip
def test_a_step_stays_within_the_bounds(
    wanted: int, surge: int, unavailable: int, current: Size, older: list[Size]
) -> None:
    bounds = read_bounds({"maxSurge": surge, "maxUnavailable": unavailable}, wanted)
    planned, sizes = plan_rollout(wanted, bounds, current, older)
    assert 0 <= planned <= max(wanted, current.replicas)
    assert all(0 <= size <= one.replicas for size, one in zip(sizes, older, strict=True))
    if planned > current.replicas:
        assert planned + sum(one.replicas for one in older) <= wanted + bounds.surge
    before = min(current.available, planned) + sum(one.available for one in older)
    left = min(current.available, planned) + sum(
        min(one.available, size) for one, size in zip(older, sizes, strict=True)
    )
    assert left >= min(before, wanted - bounds.unavailable)


@given(wanted=st.integers(0, 12), surge=st.integers(0, 4), unavailable=st.integers(0, 4),
       start=st.lists(SIZES, min_size=1, max_size=4), lazy=st.randoms(use_true_random=False))  # fmt: skip
def test_every_rollout_ends_whatever_the_order_in_which_pods_come_up(
    wanted: int, surge: int, unavailable: int, start: list[Size], lazy: object
) -> None:
    bounds = read_bounds({"maxSurge": surge, "maxUnavailable": unavailable}, wanted)
    current, older = Size(0, 0), list(start)
    for turn in range(400):
        planned, sizes = plan_rollout(wanted, bounds, current, older)
        come = 1 if turn % 4 == 0 else lazy.randint(0, 2)  # type: ignore[attr-defined]
        current = Size(planned, min(planned, min(current.available, planned) + come))
        older = [Size(size, min(one.available, size)) for one, size in zip(older, sizes, strict=True)]
        if current == Size(wanted, wanted) and not any(one.replicas for one in older):
            return
    raise AssertionError((current, older))


@given(st.sets(st.integers(0, 40)))
def test_indexes_are_read_as_they_were_written(indexes: set[int]) -> None:
    assert set(read_indexes(write_indexes(indexes))) == indexes


def test_indexes_are_written_as_kubernetes_writes_them() -> None:
    assert write_indexes({0, 1, 2, 3}) == "0-3"
    assert write_indexes({0, 2, 3, 7}) == "0,2,3,7"
    assert list(read_indexes("1,x,3-4,-")) == [1, 3, 4]
