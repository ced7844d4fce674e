"""The pure parts: patches, selectors, field sets, applies, schemas, tables."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.sandbox import cells, decoding, fieldsets, json_paths, selectors, validation
from reconciler.sandbox.apply import ApplyConflictError, apply_configuration
from reconciler.sandbox.managed import Actor, track_update
from reconciler.sandbox.patches import PatchError, json_patch, merge_patch, same_json
from reconciler.sandbox.resource_types import version_priority
from reconciler.sandbox.schema import Compiler, Node
from reconciler.sandbox.strategic import strategic_merge

SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/~", max_size=3)
NAMES = st.text("abc/~", max_size=2)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)

KEYED = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "x-kubernetes-patch-merge-key": "name",
    "x-kubernetes-patch-strategy": "merge",
    "items": {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}},
}
SCHEMA = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {
            "type": "object",
            "properties": {"labels": {"type": "object", "additionalProperties": {"type": "string"}}},
            "x-kubernetes-preserve-unknown-fields": True,
        },
        "parts": KEYED,
        "tags": {
            "type": "array",
            "items": {"type": "string"},
            "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge",
        },
        "whole": {"type": "array", "items": {"type": "integer"}},
        "sub": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    },
}
NODE: Node = Compiler().compile(SCHEMA)
CONFIGURATIONS = st.fixed_dictionaries(
    {},
    optional={
        "parts": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from("abc")}, optional={"n": st.integers(0, 3)}),
            max_size=3,
            unique_by=lambda one: one["name"],
        ),
        "tags": st.lists(st.sampled_from("abc"), max_size=3, unique=True),
        "whole": st.lists(st.integers(0, 3), max_size=3),
        "sub": st.fixed_dictionaries({}, optional={"a": st.integers(0, 3), "b": st.integers(0, 3)}),
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2)}
        ),
    },
)


def actor(name: str, operation: str = "Apply") -> Actor:
    return Actor(name, operation, "v1", "", "2024-01-01T00:00:00Z")


def applied(live: dict[str, Any] | None, wanted: dict[str, Any], name: str, *, force: bool = True) -> dict[str, Any]:
    """The object after an apply, as it would be stored."""
    result = apply_configuration(NODE, live, wanted, actor(name), force=force)
    value = copy.deepcopy(result.value)
    value.setdefault("metadata", {})["managedFields"] = result.managed_fields
    return value


# --- merge patch and JSON patch -------------------------------------------------------------------------------------


@given(OBJECTS, OBJECTS)
def test_merge_patch_sets_what_it_names_and_keeps_the_rest(target: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy(target)
    merged = merge_patch(target, patch)
    assert target == before
    assert merge_patch(merged, patch) == merged
    for key in target.keys() - patch.keys():
        assert merged[key] == target[key]
    for key, value in patch.items():
        assert (key in merged) is (value is not None)


@given(VALUES, VALUES)
def test_a_json_patch_that_replaces_the_root_gives_the_value(document: Any, value: Any) -> None:
    assert same_json(json_patch(document, [{"op": "replace", "path": "", "value": value}]), value)


@given(OBJECTS, NAMES, VALUES)
def test_json_patch_add_then_remove_is_the_document(document: dict[str, Any], name: str, value: Any) -> None:
    path = "/" + name.replace("~", "~0").replace("/", "~1")
    before = copy.deepcopy(document)
    added = json_patch(
        document, [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]
    )
    assert same_json(added[name], value)
    removed = json_patch(added, [{"op": "remove", "path": path}])
    assert removed == {key: one for key, one in before.items() if key != name}
    assert document == before


@given(VALUES, st.lists(OBJECTS | SCALARS, max_size=3) | VALUES)
def test_json_patch_refuses_or_works_and_never_breaks(document: Any, operations: Any) -> None:
    before = copy.deepcopy(document)
    with contextlib.suppress(PatchError):
        json_patch(document, operations)
    assert document == before


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [
        ([1, 3], [{"op": "add", "path": "/1", "value": 2}], [1, 2, 3]),
        ([1], [{"op": "add", "path": "/-", "value": 2}], [1, 2]),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": 1}, [{"op": "replace", "path": "/b", "value": 1}], None),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": True}], None),
        ([1], [{"op": "remove", "path": "/01"}], None),
        ([1], [{"op": "remove", "path": "/-"}], None),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}], None),
        ({}, [{"op": "add", "path": "a", "value": 1}], None),
        ({}, {"op": "add"}, None),
    ],
)
def test_json_patch_cases(document: Any, operations: Any, expected: Any) -> None:
    if expected is None:
        with pytest.raises(PatchError):
            json_patch(document, operations)
    else:
        assert json_patch(document, operations) == expected


# --- strategic merge patch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        (
            {"parts": [{"name": "a", "n": 1}, {"name": "b"}]},
            {"parts": [{"name": "b", "n": 2}, {"name": "c"}]},
            {"parts": [{"name": "a", "n": 1}, {"name": "b", "n": 2}, {"name": "c"}]},
        ),
        (
            {"parts": [{"name": "a"}, {"name": "b"}]},
            {"parts": [{"name": "a", "$patch": "delete"}]},
            {"parts": [{"name": "b"}]},
        ),
        ({"parts": [{"name": "a"}]}, {"parts": [{"name": "z"}, {"$patch": "replace"}]}, {"parts": [{"name": "z"}]}),
        (
            {"parts": [{"name": "a"}, {"name": "b"}]},
            {"$setElementOrder/parts": [{"name": "b"}, {"name": "a"}]},
            {"parts": [{"name": "b"}, {"name": "a"}]},
        ),
        ({"tags": ["a", "b"]}, {"tags": ["b", "c"]}, {"tags": ["a", "b", "c"]}),
        ({"tags": ["a", "b"]}, {"$deleteFromPrimitiveList/tags": ["a"]}, {"tags": ["b"]}),
        ({"whole": [1, 2]}, {"whole": [3]}, {"whole": [3]}),
        ({"sub": {"a": 1, "b": 2}}, {"sub": {"$patch": "replace", "a": 3}}, {"sub": {"a": 3}}),
        ({"sub": {"a": 1, "b": 2}}, {"sub": {"$retainKeys": ["a"], "a": 3}}, {"sub": {"a": 3}}),
        ({"sub": {"a": 1, "b": 2}}, {"sub": {"a": None}}, {"sub": {"b": 2}}),
        ({"sub": {"a": 1}}, {"sub": {"$patch": "delete"}}, {"sub": {}}),
    ],
)
def test_strategic_merge_cases(target: Any, patch: Any, expected: Any) -> None:
    before = copy.deepcopy(target)
    assert strategic_merge(NODE, target, patch) == expected
    assert target == before


def test_strategic_merge_refuses_elements_without_their_key_and_unknown_directives() -> None:
    with pytest.raises(PatchError, match="merge key: name"):
        strategic_merge(NODE, {}, {"parts": [{"n": 1}]})
    with pytest.raises(PatchError, match="explode"):
        strategic_merge(NODE, {}, {"$patch": "explode"})


# --- server-side apply ----------------------------------------------------------------------------------------------


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_applying_twice_is_applying_once(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = applied(applied(None, first, "one"), second, "two")
    assert applied(live, second, "two", force=False) == live


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_an_owner_that_applies_nothing_leaves_only_what_others_applied(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    alone = applied(None, second, "two")
    live = applied(applied(alone, first, "one"), second, "two")
    left = applied(live, {}, "one", force=False)
    assert fieldsets.flatten(NODE, _content(left)) == fieldsets.flatten(NODE, _content(alone))
    assert {entry["manager"] for entry in left["metadata"]["managedFields"]} <= {"two"}


def _content(value: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: one for key, one in value["metadata"].items() if key != "managedFields"}
    return (
        {**value, "metadata": metadata} if metadata else {key: one for key, one in value.items() if key != "metadata"}
    )


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_an_apply_without_force_never_changes_what_another_owner_holds(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    live = applied(None, first, "one")
    try:
        after = applied(live, second, "two", force=False)
    except ApplyConflictError:
        return
    now = fieldsets.flatten(NODE, _content(after))
    there = fieldsets.with_ancestors(now)
    for path, value in fieldsets.flatten(NODE, _content({"metadata": {}, **first})).items():
        assert path in there if value == {} else now[path] == value


@given(CONFIGURATIONS)
def test_field_sets_survive_their_written_form(wanted: dict[str, Any]) -> None:
    fields = frozenset(fieldsets.flatten(NODE, wanted, maps=True))
    assert fieldsets.decode(fieldsets.encode(fields)) == fields


def test_an_update_takes_fields_over_and_an_apply_then_conflicts() -> None:
    live = applied(None, {"sub": {"a": 1, "b": 1}}, "one")
    changed = copy.deepcopy(live)
    changed["sub"]["a"] = 2
    changed["metadata"]["managedFields"] = track_update(NODE, live, changed, actor("editor", "Update"))
    owners = {entry["manager"]: entry["fieldsV1"] for entry in changed["metadata"]["managedFields"]}
    assert owners == {"one": {"f:sub": {"f:b": {}}}, "editor": {"f:sub": {"f:a": {}}}}
    with pytest.raises(ApplyConflictError, match=r'conflict with "editor" using v1 at 2024-01-01T00:00:00Z: .sub.a'):
        applied(changed, {"sub": {"a": 3}}, "one", force=False)


def test_applied_lists_keep_the_order_of_the_configuration() -> None:
    live = applied(None, {"parts": [{"name": "a"}, {"name": "b"}]}, "one")
    live = applied(live, {"parts": [{"name": "z"}]}, "two")
    live = applied(live, {"parts": [{"name": "b"}, {"name": "c"}, {"name": "a"}]}, "one")
    assert [one["name"] for one in live["parts"]] == ["b", "c", "a", "z"]


def test_lists_without_keys_or_with_double_keys_are_refused() -> None:
    with pytest.raises(SpecError, match="omits key field"):
        applied(None, {"parts": [{"n": 1}]}, "one")
    with pytest.raises(SpecError, match="duplicate entries"):
        applied(None, {"parts": [{"name": "a"}, {"name": "a"}]}, "one")


# --- the rest -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ("", {}, True),
        ("a=1", {"a": "1"}, True),
        ("a==1,b!=2", {"a": "1", "b": "2"}, False),
        ("b!=2", {}, True),
        ("a in (1, 2)", {"a": "2"}, True),
        ("a notin (1,2)", {}, True),
        ("a notin (1,2),c", {"a": "3"}, False),
        ("!a", {"a": ""}, False),
        ("a", {"a": ""}, True),
        ("example.com/a.b=x-1", {"example.com/a.b": "x-1"}, True),
        ("a>3", {"a": "4"}, True),
        ("a<3", {"a": "x"}, False),
        ("a=", {"a": ""}, True),
    ],
)
def test_label_selectors(selector: str, labels: dict[str, str], expected: bool) -> None:
    assert selectors.matches(selectors.parse_labels(selector), labels) is expected


@pytest.mark.parametrize("selector", ["a in 1", "=1", "a=b=c", "a in (1", "a b", "-a", ",", "a,,b", "a=-"])
def test_malformed_label_selectors_are_refused(selector: str) -> None:
    with pytest.raises(SpecError):
        selectors.parse_labels(selector)


@given(st.text(max_size=30))
@settings(max_examples=200)
def test_selectors_refuse_or_parse_any_text(text: str) -> None:
    try:
        selectors.matches(selectors.parse_labels(text), {"a": "1"})
        selectors.parse_fields(text, frozenset({"a"}))
    except SpecError:
        pass


def test_decoding_prunes_defaults_and_reports() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "object", "default": {}, "properties": {"c": {"type": "string", "default": "x"}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"d": {"type": "boolean"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "maybe": {"type": "string", "nullable": True},
        },
    }
    sent = {"a": "1", "x": 1, "list": [{"d": True, "e": 1}], "free": {"y": None}, "maybe": None, "b": None}
    decoded = decoding.decode(Compiler().compile(schema), sent)
    assert decoded.value == {"a": "1", "list": [{"d": True}], "free": {"y": None}, "maybe": None, "b": {"c": "x"}}
    assert decoded.unknown == ["x", "list[0].e"]
    assert decoded.mismatches == [("a", "integer", "string")]


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "integer", "minimum": 2}, 1, "greater than or equal to 2"),
        ({"type": "integer", "maximum": 2, "exclusiveMaximum": True}, 2, "less than 2"),
        ({"type": "string", "pattern": "^a+$"}, "b", "should match '^a+$'"),
        ({"type": "string", "maxLength": 2}, "abc", "Too long"),
        ({"type": "string", "enum": ["a"]}, "b", 'supported values: "a"'),
        ({"type": "array", "maxItems": 1, "items": {"type": "integer"}}, [1, 2], "Too many"),
        ({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}, {}, "Required value"),
        ({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 1}, "oneOf"),
        ({"type": "object", "not": {"required": ["a"]}}, {"a": 1}, "must not validate"),
        (KEYED, [{"name": "a"}, {"name": "a"}], "Duplicate value"),
    ],
)
def test_validation_says_what_is_wrong(schema: dict[str, Any], value: Any, message: str) -> None:
    (cause,) = validation.check(Compiler().compile(schema), value, ("spec",))
    assert message in cause.sentence()
    assert cause.sentence().startswith("spec")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".a.b", [1]),
        ("a.b", [1]),
        ('.list[?(@.type=="Ready")].status', ["True"]),
        (".list[0].type", ["Ready"]),
        (".list[*].type", ["Ready", "Other"]),
        (".dotted\\.key", [2]),
        ("['dotted.key']", [2]),
        (".none", []),
        (".a[?(", []),
    ],
)
def test_json_paths(path: str, expected: list[Any]) -> None:
    value = {
        "a": {"b": 1},
        "list": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}],
        "dotted.key": 2,
    }
    assert json_paths.find(value, path) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (301, "5m1s"), (3600, "60m"), (4 * 3600 + 60, "4h1m"), (86400 * 3, "3d")],
)
def test_ages_are_written_as_kubectl_does(seconds: float, expected: str) -> None:
    assert cells.human_age(seconds) == expected


def test_versions_are_preferred_as_kubernetes_does() -> None:
    ordered = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
    assert sorted({*ordered}, key=version_priority) == ordered
