"""The nouns: references, durations, digests, secrets, recaps."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import errors
from reconciler.errors import ReconcilerError, SpecError
from reconciler.model.condition import Condition
from reconciler.model.digest import canonical_json, digest, stored_form, to_plain
from reconciler.model.duration import format_duration, parse_duration
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source
from reconciler.model.result import VERDICTS, Result, Verdict, recap
from reconciler.model.secret import Secret, SpecFile

MARKER = "hunter2-marker"


def test_a_reference_is_written_as_it_is_read() -> None:
    assert str(ResourceRef.parse("Cluster/dev-1")) == "Cluster/dev-1"
    assert ResourceRef.parse("Cluster/dev") < ResourceRef.parse("Cluster/dev2")


@pytest.mark.parametrize(
    "text",
    [
        *("", "Cluster", "Cluster/", "/dev", "cluster/dev", "Cluster/Dev", "Cluster/-a", "Cluster/a-", "Cluster/a/b"),
        *("Cluster/" + "a" * 64, "Cluster/a\n", "Cluster\n/a", "Cluster/../x", "Cluster/ä"),
    ],
)
def test_what_is_no_reference_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        ResourceRef.parse(text)
    assert repr(text[:200]) in str(caught.value)


DURATIONS = {"30s": 30.0, "5m": 300.0, "1h30m": 5400.0, "500ms": 0.5, "1.5s": 1.5, "2d": 172800.0, "0s": 0.0}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "5", "m", "5x", "-5m", "5m ", "5m\n", "1e3s", "9999d", "1" * 99 + "s", True, None]
)
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_duration(value)


def test_a_bare_number_is_seconds_and_more_than_a_year_is_refused() -> None:
    assert parse_duration(1.5) == 1.5
    for bad in (-1, 367 * 86400, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="between"):
            parse_duration(bad)


SHOWN = {0.04: "0.0s", 9.94: "9.9s", 12.0: "12s", 200: "3m20s", 3600: "1h", 7500: "2h5m", 273600: "3d4h", 86400: "1d"}


@pytest.mark.parametrize(("seconds", "text"), SHOWN.items())
def test_a_duration_is_shown_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, 86400 * 300))
def test_a_shown_duration_can_be_read_again_and_is_close(seconds: float) -> None:
    assert abs(parse_duration(format_duration(seconds)) - seconds) <= max(0.06, seconds / 24)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(JSON)
def test_equal_data_has_one_digest_however_it_is_written(value: Any) -> None:
    again = json.loads(json.dumps(value))
    assert digest(again) == digest(value)
    assert json.loads(canonical_json(value)) == value


@given(JSON, JSON)
def test_different_data_has_different_digests(one: Any, two: Any) -> None:
    assert (digest(one) == digest(two)) == (canonical_json(one) == canonical_json(two))


def test_a_digest_takes_any_text_and_refuses_what_is_no_data() -> None:
    assert len(digest({"a": "\ud800"})) == 64
    with pytest.raises(TypeError):
        digest({"a": Secret("x", "env:X")})


SECRET = Secret(MARKER, "env:TOKEN")


@pytest.mark.parametrize(
    "show",
    [repr, str, "{}".format, "{!r:>10}".format, lambda one: f"{one:>5}", lambda one: f"{[one]} {(one,)}"],
    ids=["repr", "str", "format", "padded", "f-string", "inside"],
)
def test_a_secret_shows_three_stars_however_it_is_printed(show: Callable[[Secret], str]) -> None:
    assert MARKER not in show(SECRET)
    assert "***" in show(SECRET)


def test_a_secret_cannot_be_copied_out_by_serialising() -> None:
    for serialise in (pickle.dumps, json.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as caught:
            serialise(SECRET)
        assert MARKER not in str(caught.value)


def test_secrets_are_compared_by_value_and_recognised_by_keyed_digest() -> None:
    same, other = Secret(MARKER, "file:/run/token"), Secret("else", "env:TOKEN")
    assert same == SECRET
    assert other != SECRET
    assert SECRET.keyed_digest(b"k") == same.keyed_digest(b"k") != SECRET.keyed_digest(b"l")
    assert MARKER not in SECRET.keyed_digest(b"k")


def test_the_stored_form_of_a_spec_has_digests_where_secrets_and_files_stand() -> None:
    spec = {"a": [SECRET, {"b": SpecFile("x.yaml", "ab" * 32, MARKER)}], "c": (1, 2)}
    stored = stored_form(spec, b"k")
    assert stored == {
        "a": [{"secret": SECRET.keyed_digest(b"k")}, {"b": {"file": "x.yaml", "digest": ANY}}],
        "c": [1, 2],
    }
    assert "ab" * 32 not in json.dumps(stored), "a file may hold secrets: its digest needs the key as well"
    other = stored_form(SpecFile("x.yaml", "ba" * 32), b"k")
    assert len({digest(one) for one in (stored["a"][1]["b"], other, stored_form(spec, b"l")["a"][1]["b"])}) == 3
    assert MARKER not in json.dumps([stored, to_plain(spec)])


@given(
    st.builds(
        Lifecycle,
        state=st.sampled_from(["present", "absent"]),
        depends_on=st.sampled_from([(), (ResourceRef("Cluster", "a"), ResourceRef("Entry", "b"))]),
        suspend=st.booleans(),
        approval=st.sampled_from(["auto", "manual"]),
        deletion=st.sampled_from(["delete", "orphan", "protect"]),
        replace=st.sampled_from(["forbid", "allow"]),
        mode=st.sampled_from(["enforce", "notify", "observe"]),
        ignore=st.sampled_from([(), ("spec.a", "spec.b.*")]),
        interval=st.floats(1, 86400),
    )
)
def test_a_life_cycle_survives_being_written_as_a_document(lifecycle: Lifecycle) -> None:
    assert Lifecycle.from_document(json.loads(json.dumps(lifecycle.to_document()))) == lifecycle
    assert Lifecycle.from_document({}) == Lifecycle()


def test_a_condition_survives_being_written_as_json() -> None:
    condition = Condition("Ready", "False", "Failed", "why", 3, 12.5)
    assert Condition.from_json(json.loads(json.dumps(condition.to_json()))) == condition


def test_the_place_of_a_source_is_a_path_with_line_and_column_or_the_owner() -> None:
    assert str(Source("file:specs/a.yaml", 3, 5)) == "specs/a.yaml:3:5"
    assert str(Source("api")) == "api"


def test_the_recap_counts_per_target_with_every_verdict() -> None:
    def result(target: str, verdict: Verdict) -> Result:
        ref = ResourceRef("Entry", "a")
        return Result(Change(ref, Action.NOOP, Resource(ref, {}), "", target=target), verdict, "R", "m")

    counts = recap([result("b", "ok"), result("a", "failed"), result("b", "ok"), result("b", "unreachable")])
    assert list(counts) == ["a", "b"]
    assert counts["b"] == {**dict.fromkeys(VERDICTS, 0), "ok": 2, "unreachable": 1}


def test_only_replace_and_delete_destroy() -> None:
    assert {action for action in Action if action.destroys} == {Action.REPLACE, Action.DELETE}


def test_the_exception_tree_is_as_its_module_draws_it() -> None:
    drawn = errors.__doc__ or ""
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, ReconcilerError):
            assert name in drawn
            assert error.__doc__
