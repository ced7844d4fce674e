"""What counts as plain data: every answer of a kind is asked that, so it has to be exact as well as quick."""

from __future__ import annotations

from collections import UserDict
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.plain import MAX_DEPTH, MAX_NODES, plain_fault
from reconciler.model.secret import Secret

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


class Count(IntEnum):
    """A number that is of no built-in type."""

    ONE = 1


@given(PLAIN)
def test_plain_data_has_no_fault_whatever_types_hold_it(value: Any) -> None:
    assert plain_fault(value) == ""
    assert plain_fault(UserDict({"one": value, "two": (Count.ONE, value)})) == ""


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"a": [{"b": float("nan")}]}, "the value at ['a'][0]['b'] is not a finite number"),
        ({"a": (1, float("-inf"))}, "the value at ['a'][1] is not a finite number"),
        ({"grün": {"b": "\ud800"}}, "the value at ['grün']['b'] is text with half of a surrogate pair"),
        ({"a": {"\udfff": 1}}, "the value at ['a'] has a key that is no text"),
        ({"a": {1: 1}}, "the value at ['a'] has a key that is no text"),
        ([{"a": datetime(2026, 1, 1, tzinfo=UTC)}], "the value at [0]['a'] is a datetime"),
        ({"a": {"b"}}, "the value at ['a'] is a set"),
        (b"text", "it is a bytes"),
        ({"a": Secret("x", "env:X")}, "the value at ['a'] is a Secret"),
    ],
)
def test_a_fault_is_named_with_its_place_and_without_its_content(value: Any, fault: str) -> None:
    assert plain_fault(value) == fault


def test_further_types_may_be_allowed() -> None:
    assert plain_fault({"a": [Secret("x", "env:X")], "b": 1.5, "c": "grün"}, (Secret,)) == ""


def test_what_is_deeper_or_larger_than_anybody_needs_is_refused() -> None:
    deep: Any = 0
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert plain_fault(deep) == ""
    assert "deeper than" in plain_fault([deep])
    endless: list[Any] = []
    endless.append(endless)
    assert "deeper than" in plain_fault(endless)
    many = [0] * (MAX_NODES // 1000)
    assert plain_fault([many] * 998) == ""
    assert "larger than" in plain_fault([many] * 1000)
    assert "larger than" in plain_fault([[many] * 1000] * 1000)
