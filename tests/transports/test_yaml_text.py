"""YAML that is no spec: whichever way it is read, it means what the safe loader says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.transports.yaml_text import MAX_DEPTH, load_yaml, load_yaml_documents

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.dates()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4),
    max_leaves=15,
)
TEXTS = [
    *("", "---\n", "---\n---\n", "a", "a: \n", "- \n- ~\n", "{}", "[]", "a: {}\nb: []\n", "# nothing\n"),
    *("a: yes\nb: off\nc: 0x1f\nd: 0o17\ne: 017\nf: 1_000\ng: 1:30\nh: 1e3\ni: 1.5e+3\nj: .inf\n", "a: 2024-01-01\n"),
    *("a: 1\na: 2\n", "'a': \"1\"\n\"b\": '2'\n", "a: |\n  x\n  y\nb: >\n  x\n  y\n", "1: a\ntrue: b\n~: c\n1.5: d\n"),
    *("a: &x {b: 1}\nc: *x\n", "a: &x 1\nb: *x\n", "a: &x {b: 1}\nc: {<<: *x, d: 2}\n", "<<: {a: 1}\nb: 2\n"),
    *("a: !!str 1\n", "a: !!binary aGVsbG8=\n", "!!set {a, b}\n", "? [1, 2]\n: x\n", "'<<': 1\n", "a: ! 12\n"),
    *(
        '{"a": [1, 1.5, true, null, "\\u00e9\\/"], "a": {}}',
        '---\n{"a": 1}\n---\n---\r\n{\n"b":\t2}\n---\n',
        '{"a": "---"}',
    ),
    *('{"a": NaN}', '{"a": 1}\n--- {"b": 2}\n', '{"a": 1}\n---\nb: 2\n', '- {"a": 1}\n', '--- \n{"a": 1}\n...\n'),
    *("x\n...\n---\ny\n", "%YAML 1.1\n---\na: 1\n", "a: 'it''s'\n", "- - - 1\n    - 2\n  - 3\n- 4\n"),
]
BROKEN = [
    '{"a": "\\ud800"}',
    '{"a": 1} {"b": 2}',
    "a: [",
    "a: b: c",
    "a: !!int x",
    "a: =",
    "a: !unknown 1",
    "? {a: 1}\n: x",
    "a: *nobody",
    "\t- a",
    "0b2: x\na: 0b2",
]


def outcome(read: Any) -> Any:
    """What reading gives, or the type of its error."""
    try:
        return read()
    except (yaml.YAMLError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("text", [*TEXTS, *BROKEN])
def test_a_text_means_what_the_safe_loader_says(text: str) -> None:
    expected = outcome(lambda: list(yaml.load_all(text, yaml.CSafeLoader)))
    assert repr(outcome(lambda: load_yaml_documents(text))) == repr(expected)


@given(st.lists(VALUES, max_size=3), st.sampled_from([None, True, False]))
def test_whatever_is_written_is_read_back(values: list[Any], style: bool | None) -> None:
    text = yaml.dump_all(values, Dumper=yaml.CSafeDumper, default_flow_style=style, allow_unicode=True)
    assert repr(load_yaml_documents(text)) == repr(list(yaml.load_all(text, yaml.CSafeLoader)))


@given(st.text(alphabet="ab:-[]{}#&*!<>'\"|\n 1~.,?", max_size=30))
def test_no_text_is_read_in_another_way(text: str) -> None:
    expected = outcome(lambda: list(yaml.load_all(text, yaml.CSafeLoader)))
    assert repr(outcome(lambda: load_yaml_documents(text))) == repr(expected)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), st.sampled_from([None, 1]))
def test_json_is_read_as_json(value: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(value, default=str, ensure_ascii=False, indent=indent)
    assume("Infinity" not in text)
    assert load_yaml_documents(f"---\n{text}\n---\n{text}") == [json.loads(text)] * 2


def test_a_number_of_json_is_one() -> None:
    assert load_yaml('{"a": 1e3}') == {"a": 1000.0}


@pytest.mark.parametrize("bracket", ["[", "{a: ", '{"a": '])
def test_what_is_nested_too_deep_is_refused_and_nothing_less(bracket: str) -> None:
    closing = "]" if bracket == "[" else "}"
    assert load_yaml(bracket * MAX_DEPTH + "null" + closing * MAX_DEPTH)
    with pytest.raises(yaml.YAMLError, match="nested"):
        load_yaml(bracket * (MAX_DEPTH + 1) + "null" + closing * (MAX_DEPTH + 1))
    with pytest.raises(yaml.YAMLError, match="nested"):
        load_yaml(bracket * 50_000)


def test_more_than_one_document_is_none() -> None:
    with pytest.raises(yaml.YAMLError, match="more than one"):
        load_yaml("a\n---\nb\n")
