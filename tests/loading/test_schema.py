"""The schema of a kind's documents is complete and described, and what does not fit it is explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.loading.marks import compile_extractor
from reconciler.loading.messages import schema_findings
from reconciler.loading.schema import document_schema, kind_schema
from reconciler.loading.text import dotted, listed, shorten, suggestion
from tests.loading.kinds_for_tests import KINDS, Widget


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for name, member in schema.get("properties", {}).items() if isinstance(schema.get("properties"), dict) else ():
            yield f"{path}.{name}", member
        for keyword, member in schema.items():
            yield from properties(member, f"{path}.{keyword}")
    elif isinstance(schema, list):
        for index, member in enumerate(schema):
            yield from properties(member, f"{path}[{index}]")


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_of_a_kind_is_valid_and_describes_every_field(kind: str) -> None:
    schema = document_schema(KINDS[kind])

    jsonschema.Draft202012Validator.check_schema(schema)
    assert [path for path, member in properties(schema) if not member.get("description")] == []
    assert json.loads(json.dumps(schema)) == schema


def test_a_minimal_document_fits_and_the_life_cycle_fields_are_all_there() -> None:
    schema = document_schema(KINDS["Widget"])
    lifecycle = {
        "state": "absent",
        "dependsOn": ["Widget/a"],
        "suspend": True,
        "approval": "manual",
        "deletion": "orphan",
        "replace": "allow",
        "mode": "notify",
        "ignore": ["spec.size"],
        "interval": 90,
    }

    assert set(schema["properties"]["lifecycle"]["properties"]) == set(lifecycle)
    assert schema_findings(schema, document(spec={"size": 1}, lifecycle=lifecycle)) == []
    assert schema_findings(schema, document(spec={"size": 1})) == []


def document(**changes: Any) -> dict[str, Any]:
    base = {"apiVersion": "reconciler.dev/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"size": 1}}
    return {**base, **changes}


def kind_with(schema: dict[str, Any]) -> Any:
    kind = Widget()
    kind.schema = schema
    return kind


def explained(schema: dict[str, Any], spec: Any) -> list[str]:
    full = document_schema(kind_with(schema))
    value = document(spec=spec)
    found = [f"{dotted(path)}: {message}" for path, message in schema_findings(full, value)]
    assert bool(found) is not jsonschema_rs.Draft202012Validator(full).is_valid(value)
    return found


NODE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}, "top": {"$ref": "#"}},
    "additionalProperties": False,
}


def test_references_inside_a_kinds_schema_still_hold() -> None:
    schema = {"type": "object", "properties": {"node": {"$ref": "#/$defs/node"}}, "$defs": {"node": NODE}}

    assert explained(schema, {"node": {"next": {"value": 1, "top": {"node": {"value": 2}}}}}) == []
    assert explained(schema, {"node": {"next": {"top": {"node": {"valeu": 2}}}}}) == [
        'spec.node.next.top.node.valeu: unknown field "valeu", did you mean "value"?'
    ]


def test_objects_with_named_fields_are_closed_unless_they_say_otherwise() -> None:
    closed = {"properties": {"a": {"properties": {"b": {"type": "string"}}}}}
    opened = {"properties": {"a": {"properties": {"b": {"type": "string"}}, "additionalProperties": True}}}

    assert explained(closed, {"a": {"c": 1}}) == ['spec.a.c: unknown field "c": known here are b']
    assert explained(opened, {"a": {"c": 1}}) == []


def test_closing_looks_through_combined_schemas() -> None:
    schema = {
        "properties": {"type": {"enum": ["x", "y"]}},
        "allOf": [{"properties": {"shared": {"type": "integer"}}}],
        "if": {"properties": {"type": {"const": "x"}}},
        "then": {"properties": {"only": {"type": "integer"}}},
    }

    assert explained(schema, {"type": "x", "only": 1, "shared": 2}) == []
    assert explained(schema, {"type": "x", "ony": 1}) == ['spec.ony: unknown field "ony", did you mean "only"?']


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "integer"}, "5", 'expected a whole number, got "5"'),
        ({"type": "integer"}, 1.5, "expected a whole number, got 1.5"),
        ({"type": "string"}, 5, "expected a string, got 5: put it in quotes"),
        ({"type": "string"}, True, "expected a string, got true: put it in quotes"),
        ({"type": ["string", "null"]}, [], "expected a string or nothing, got a list"),
        ({"type": "boolean"}, "on", 'expected true or false, got "on": write true or false'),
        ({"type": "object"}, None, "expected a mapping, got nothing (null)"),
        ({"enum": ["red", "blue"]}, "rde", '"rde" is not allowed here, expected red or blue, did you mean "red"?'),
        ({"const": 3}, 4, "4 is not allowed here, expected 3"),
        ({"minimum": 3}, 2, "2 is less than 3"),
        ({"maximum": 3}, 4, "4 is more than 3"),
        ({"exclusiveMinimum": 3}, 3, "3 is not more than 3"),
        ({"exclusiveMaximum": 3}, 3, "3 is not less than 3"),
        ({"multipleOf": 5}, 3, "3 is not a multiple of 5"),
        ({"minLength": 3}, "ab", '"ab" is shorter than 3 characters'),
        ({"maxLength": 3}, "abcd", '"abcd" is longer than 3 characters'),
        ({"pattern": "^a+$"}, "b", '"b" is not of the form ^a+$'),
        ({"pattern": "^a+$", "x-expected": "many a"}, "b", '"b" is not many a'),
        ({"minItems": 2}, [1], "a list has fewer than 2 members"),
        ({"maxItems": 0}, [1], "a list has more than 0 members"),
        ({"uniqueItems": True}, [1, 1], "a list holds the same member twice"),
        ({"minProperties": 1}, {}, "a mapping has fewer than 1 fields"),
        ({"maxProperties": 0}, {"a": 1}, "a mapping has more than 0 fields"),
        ({"required": ["b"]}, {"a": 1}, 'the field "b" is missing'),
        ({"not": {"type": "string"}}, "x", '"x" is not valid here: not {"type": "string"}'),
        ({"contains": {"const": 1}}, [2], "a list is not valid here: contains"),
    ],
)
def test_every_kind_of_mistake_has_its_words(schema: dict[str, Any], value: Any, expected: str) -> None:
    (message,) = explained({"properties": {"f": schema}}, {"f": value})

    assert message.startswith(f"spec.f: {expected}")


def test_long_and_unprintable_values_are_shortened_and_escaped() -> None:
    (message,) = explained({"properties": {"f": {"type": "integer"}}}, {"f": "\x1b[31m" + "x" * 100_000})

    assert len(message) < 200
    assert message.isprintable()


def test_of_many_mistakes_the_first_twenty_are_explained() -> None:
    spec = {f"f{n}": 1 for n in range(100)}

    assert len(explained({"properties": {"size": {"type": "integer"}}}, spec)) == 20


def test_every_unknown_field_and_every_missing_one_is_named() -> None:
    schema = {"properties": {"size": {}, "color": {}}, "required": ["size", "color"]}

    assert sorted(explained(schema, {"sise": 1, "x": 1})) == [
        'spec.sise: unknown field "sise", did you mean "size"?',
        'spec.x: unknown field "x": known here are color, size',
        'spec: the field "color" is missing',
        'spec: the field "size" is missing',
    ]


def test_a_secret_in_any_form_of_a_schema_is_never_shown() -> None:
    secret = {"type": "string", "x-secret": True, "description": "A secret."}
    schema = {
        "properties": {
            "either": {"oneOf": [{"type": "integer"}, {"type": "object", "properties": {"token": secret}}]},
            "referred": {"$ref": "#/$defs/login"},
            "listed": {"type": "array", "items": secret, "maxItems": 1},
        },
        "$defs": {"login": {"type": "object", "properties": {"token": secret}, "maxProperties": 1}},
    }
    for spec in (
        {"either": "hunter2"},
        {"either": {"token": "hunter2"}},
        {"referred": "hunter2"},
        {"referred": {"token": "hunter2"}},
        {"listed": ["hunter2"]},
        {"listed": "hunter2"},
    ):
        found = explained(schema, spec)

        assert found
        assert "hunter2" not in "".join(found)


def test_branches_of_conditions_lead_to_their_own_fields() -> None:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "properties": {"type": {"type": "string"}},
                "if": {"properties": {"type": {"const": "a"}}, "required": ["type"]},
                "then": {"properties": {"x": {"x-late": True}}},
                "else": {"properties": {"y": {"x-late": True}}},
                "patternProperties": {"^p": {"x-late": True}},
                "allOf": [{"properties": {"z": {"prefixItems": [{}, {"x-late": True}]}}}],
            }
        },
    }
    extractor = compile_extractor(schema, "#/properties/spec")
    assert extractor is not None

    def visited(value: Any) -> list[str]:
        seen: list[str] = []
        extractor.extract(value, (), lambda _, member, path: (seen.append(dotted(path)), member)[1])
        return sorted(seen)

    assert visited({"type": "a", "x": 1, "y": 2, "z": [1, 2, 3], "p1": 4}) == ["p1", "x", "z[1]"]
    assert visited({"type": "b", "x": 1, "y": 2}) == ["y"]


def test_a_kind_without_marked_fields_needs_no_extractor() -> None:
    assert kind_schema(KINDS["Widget"]).extractor is None


def test_a_kind_that_cannot_be_hashed_is_compiled_all_the_same() -> None:
    class Unhashable(Widget):
        __hash__ = None  # type: ignore[assignment]

    assert kind_schema(Unhashable()).validator.is_valid(document())  # type: ignore[arg-type]


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["size", "color", "ports", "name", "x", "fromEnv", "type"]) | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_whatever_is_not_valid_is_explained(kind: str, data: st.DataObject) -> None:
    """Both validators are asked: one decides, the other finds the words."""
    schema = kind_schema(KINDS[kind])
    names = list(schema.schema["properties"]["spec"]["properties"])
    value = document(kind=kind, spec=data.draw(st.dictionaries(st.sampled_from(names), _values, max_size=3)))

    findings = schema_findings(schema.schema, value)

    assert bool(findings) is not schema.validator.is_valid(value)
    assert all(finding.message.isprintable() for finding in findings)


def test_words_for_messages() -> None:
    assert dotted(("a", "b", 2, "c.d", "e")) == 'a.b[2]["c.d"].e'
    assert dotted((0, "a")) == "[0].a"
    assert shorten("x" * 100) == "x" * 79 + "…"
    assert shorten("a\tb\u202e") == r"a\tb\u202e"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b or c"
    assert listed(["a", 1], 5) == "a or 1"
    assert listed([]) == "nothing"
    assert listed(list("abcdef"), 3) == "a, b, c or one of 3 more"
    assert suggestion("colour", ["size", "color"]) == ', did you mean "color"?'
    assert suggestion("colour", ["x"]) == ""
    assert suggestion("x" * 100_000, ["x" * 100_000]) == ""
    assert re.match(r"^, did", suggestion("name99999", (f"name{n}" for n in range(100_000))))
