"""Differences: only named fields, three-way removal, one meaning of `ignore`, and never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.planning.diff import compared, diff, fields, is_ignored, overlay, owned

DIGEST = "5e" * 32
HIDDEN = {"secret": DIGEST}

Case = tuple[Any, Any, Any, list[tuple[str, Any, Any]]]
CASES: dict[str, Case] = {  # desired, observed, applied, differences as (path, before, after)
    "the same": ({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": [1, 2]}}, None, []),
    "another value": ({"a": 1}, {"a": 2}, None, [("spec.a", 2, 1)]),
    "a missing field": ({"a": 1}, {}, None, [("spec.a", None, 1)]),
    "a field that nobody names": ({"a": 1}, {"a": 1, "b": 2}, None, []),
    "a deep field that nobody names": ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, None, []),
    "a field that was applied and is named no more": ({}, {"a": 1}, {"a": 1}, [("spec.a", 1, None)]),
    "likewise, and somebody changed it": ({}, {"a": 9}, {"a": 1}, [("spec.a", 9, None)]),
    "likewise, and it is gone already": ({}, {}, {"a": 1}, []),
    "likewise, and it is there without a value": ({}, {"a": None}, {"a": 1}, []),
    "a deep field that is named no more": ({"a": {}}, {"a": {"b": 1}}, {"a": {"b": 1}}, [("spec.a.b", 1, None)]),
    "another's field beside one that was dropped": ({}, {"x": 1, "a": 1}, {"a": 1}, [("spec.a", 1, None)]),
    "null means: must not be there": ({"a": None}, {"a": 1}, None, [("spec.a", 1, None)]),
    "null where nothing is": ({"a": None}, {}, None, []),
    "null where null is": ({"a": None}, {"a": None}, None, []),
    "true is not one": ({"a": True}, {"a": 1}, None, [("spec.a", 1, True)]),
    "zero is not false": ({"a": 0}, {"a": False}, None, [("spec.a", False, 0)]),
    "one is 1.0": ({"a": 1}, {"a": 1.0}, None, []),
    "a text is no number": ({"a": "1"}, {"a": 1}, None, [("spec.a", 1, "1")]),
    "a list with another member": ({"a": [1, 2]}, {"a": [1, 3]}, None, [("spec.a[1]", 3, 2)]),
    "a longer list": ({"a": [1, 2]}, {"a": [1]}, None, [("spec.a[1]", None, 2)]),
    "a shorter list": ({"a": [1]}, {"a": [1, 2]}, None, [("spec.a[1]", 2, None)]),
    "an empty list": ({"a": []}, {"a": [1]}, None, [("spec.a[0]", 1, None)]),
    "a list of mappings": (
        {"a": [{"x": 1}]},
        {"a": [{"x": 2, "y": 3}]},
        None,
        [("spec.a[0].x", 2, 1)],
    ),
    "a field dropped inside a list": (
        {"a": [{}]},
        {"a": [{"x": 1}]},
        {"a": [{"x": 1}]},
        [("spec.a[0].x", 1, None)],
    ),
    "a mapping where a list is": ({"a": {"b": 1}}, {"a": [1]}, None, [("spec.a", [1], {"b": 1})]),
    "a value where a mapping is": ({"a": 1}, {"a": {"b": 1}}, None, [("spec.a", {"b": 1}, 1)]),
    "keys with dots": ({"a": {"b.c": 1}}, {"a": {}}, None, [('spec.a["b.c"]', None, 1)]),
    "keys with a line break": ({"a\n": 1}, {}, None, [('spec["a\n"]', None, 1)]),
    "nothing is there": ({"a": 1}, None, None, [("spec", None, {"a": 1})]),
    "a secret that differs": ({"p": HIDDEN}, {"p": {"secret": "00" * 32}}, None, [("spec.p", "***", "***")]),
    "a new secret": ({"p": HIDDEN}, {}, None, [("spec.p", None, "***")]),
    "a secret that is to go": ({}, {"p": HIDDEN}, {"p": HIDDEN}, [("spec.p", "***", None)]),
    "a secret inside something new": ({"a": {"p": HIDDEN}}, {}, None, [("spec.a", None, {"p": "***"})]),
    "a secret that becomes a mapping": (
        {"p": {"x": 1}},
        {"p": HIDDEN},
        {"p": HIDDEN},
        [("spec.p", "***", "***")],
    ),
    "a mapping that only has a field called secret": (
        {"v": {"secret": {"name": "a"}}},
        {"v": {"secret": {"name": "b"}}},
        None,
        [("spec.v.secret.name", "b", "a")],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_differs(case: Case) -> None:
    desired, observed, applied, expected = case
    found = diff(desired, observed, applied)
    assert [(entry.path, entry.before, entry.after) for entry in found] == expected


IGNORED = {
    "the path itself": ("spec.a", "spec.a", True),
    "what lies below": ("spec.a.b", "spec.a", True),
    "a list below": ("spec.a[0]", "spec.a", True),
    "a longer name": ("spec.ab", "spec.a", False),
    "what lies above": ("spec.a", "spec.a.b", False),
    "any name": ("spec.ports.http", "spec.ports.*", True),
    "below any name": ("spec.ports.http.port", "spec.ports.*", True),
    "any name in the middle": ("spec.a.b.image", "spec.*.image", True),
    "one member of a list": ("spec.a[0].image", "spec.a[0].image", True),
    "another member of a list": ("spec.a[1].image", "spec.a[0].image", False),
    "any member of a list": ("spec.a[12].image", "spec.a[*].image", True),
    "any member, another field": ("spec.a[12].name", "spec.a[*].image", False),
    "a member and any field": ("spec.a[0].image", "spec.a[0].*", True),
    "a question mark is no wildcard": ("spec.ab", "spec.a?", False),
    "brackets are no choice of characters": ("spec.a0.x", "spec.a[0].*", False),
}


@pytest.mark.parametrize("case", IGNORED.values(), ids=IGNORED.keys())
def test_what_a_rule_ignores(case: tuple[str, str, bool]) -> None:
    path, rule, expected = case
    assert is_ignored(path, [rule]) is expected


OVERLAYS: dict[str, tuple[Any, Any, list[str], Any]] = {
    "no rule": ({"a": 1}, {"a": 2, "b": 3}, [], {"a": 1}),
    "an ignored field stays as it is": ({"a": 1, "b": 2}, {"a": 5, "b": 6}, ["spec.a"], {"a": 5, "b": 2}),
    "an ignored field that nobody names stays": ({"b": 2}, {"a": 5, "b": 6}, ["spec.a"], {"a": 5, "b": 2}),
    "an ignored field is not made": ({"a": 1, "b": 2}, None, ["spec.a"], {"b": 2}),
    "deep": ({"n": {"a": 1, "b": 2}}, {"n": {"a": 5}}, ["spec.n.a"], {"n": {"a": 5, "b": 2}}),
    "in a list": (
        {"l": [{"a": 1, "b": 2}]},
        {"l": [{"a": 5, "b": 6}]},
        ["spec.l[*].a"],
        {"l": [{"a": 5, "b": 2}]},
    ),
    "a whole member": ({"l": [1, 2]}, {"l": [8, 9]}, ["spec.l[0]"], {"l": [8, 2]}),
    "members behind the last wanted one": ({"l": [1]}, {"l": [8, 9]}, ["spec.l[*]"], {"l": [8, 9]}),
}


@pytest.mark.parametrize("case", OVERLAYS.values(), ids=OVERLAYS.keys())
def test_what_is_written_leaves_ignored_fields_as_they_are(case: tuple[Any, Any, list[str], Any]) -> None:
    desired, observed, ignore, expected = case
    assert overlay(desired, observed, ignore) == expected
    assert diff(expected, overlay(desired, observed, ignore), None, ignore) == ()


def test_what_is_ours_leaves_out_what_is_ignored() -> None:
    state = {"a": 1, "b": {"c": 2, "d": 3}, "l": [{"x": 1, "y": 2}]}
    assert owned(state, ["spec.a", "spec.b.c", "spec.l[*].y"]) == {"b": {"d": 3}, "l": [{"x": 1}]}
    assert owned(state, []) == state


def test_what_is_compared_is_what_the_desired_or_the_applied_state_names() -> None:
    observed = {"a": 1, "b": {"c": 2, "d": 3}, "e": 4, "f": 5}
    assert compared({"a": 9, "b": {"c": 9}}, observed, {"e": 9}) == {"a": 1, "b": {"c": 2}, "e": 4}
    assert compared({"a": 9, "b": {"c": 9}}, observed, {"e": 9}, ["spec.b", "spec.e"]) == {"a": 1}


def test_every_leaf_of_what_is_created_is_shown() -> None:
    shown = {entry.path: entry.after for entry in fields({"a": 1, "b": {"c": [True, {"d": "x"}]}, "p": HIDDEN})}
    assert shown == {"spec.a": 1, "spec.b.c[0]": True, "spec.b.c[1].d": "x", "spec.p": "***"}


# Properties -----------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "d.e", "f[0]", "secret"])
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "x", "1"]) | st.just(HIDDEN)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)
STATES = st.dictionaries(NAMES, VALUES, max_size=4)
RULES = st.lists(
    st.sampled_from(["spec.a", "spec.b.*", "spec.a.b", "spec.*.c", "spec.a[0]", "spec.b[*].a", 'spec["d.e"]', "spec"]),
    max_size=3,
)


def applied_to(observed: Any, desired: Any, applied: Any) -> Any:
    """The live state after somebody wrote the desired one over it and took away what was applied before."""
    if isinstance(observed, Mapping) and isinstance(desired, Mapping) and HIDDEN not in (observed, desired):
        before = applied if isinstance(applied, Mapping) else {}
        kept = {name: value for name, value in observed.items() if name not in desired and name not in before}
        return {
            **kept,
            **{name: applied_to(observed.get(name), value, before.get(name)) for name, value in desired.items()},
        }
    return desired


@given(STATES)
def test_nothing_differs_from_itself(state: Any) -> None:
    assert diff(state, state) == ()
    assert diff(state, state, state) == ()


@given(STATES, STATES, STATES | st.none())
def test_nothing_differs_after_it_was_applied(desired: Any, observed: Any, applied: Any) -> None:
    after = applied_to(observed, desired, applied)
    assert diff(desired, after, applied) == ()
    assert diff(desired, after, desired) == ()


@given(STATES, STATES, STATES)
def test_fields_that_nobody_names_never_differ(desired: Any, observed: Any, applied: Any) -> None:
    unnamed = {name: value for name, value in observed.items() if name not in desired and name not in applied}
    named = {name: value for name, value in observed.items() if name not in unnamed}
    assert diff(desired, observed, applied) == diff(desired, named, applied)
    assert compared(desired, observed, applied) == compared(desired, named, applied)


@given(STATES, STATES, STATES | st.none(), RULES)
def test_ignore_means_the_same_for_showing_and_for_writing(
    desired: Any, observed: Any, applied: Any, ignore: list[str]
) -> None:
    for entry in diff(desired, observed, applied, ignore):
        assert not is_ignored(entry.path, ignore)
    written = overlay(desired, observed, ignore)
    for entry in diff(written, observed):
        if isinstance(observed, Mapping) and entry.before is not None:
            assert not is_ignored(entry.path, ignore)
    assert diff(desired, applied_to(observed, written, None), None, ignore) == ()


@given(STATES, STATES, STATES | st.none(), RULES)
def test_what_is_compared_decides_alone_what_differs(
    desired: Any, observed: Any, applied: Any, ignore: list[str]
) -> None:
    looked_at = compared(desired, observed, applied, ignore)
    assert diff(desired, looked_at, applied, ignore) == diff(desired, observed, applied, ignore)


@given(STATES, STATES, STATES | st.none())
def test_a_digest_of_a_secret_is_never_shown(desired: Any, observed: Any, applied: Any) -> None:
    assert DIGEST not in repr((diff(desired, observed, applied), fields(desired)))


@given(STATES, STATES)
def test_every_difference_can_be_printed(desired: Any, observed: Any) -> None:
    for entry in diff(desired, observed):
        assert entry.secret or entry.before != entry.after or type(entry.before) is not type(entry.after)
