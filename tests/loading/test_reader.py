"""YAML becomes plain data with one meaning, everything else a refusal with its place; with either parser."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.loading.reader import YamlError, nearest_place, read_documents, read_places


@pytest.fixture(params=["c", "pure"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pure":
        monkeypatch.delattr(yaml, "CSafeLoader")
    else:
        assert hasattr(yaml, "CSafeLoader")
    return str(request.param)


def read(text: str | bytes) -> Any:
    documents = read_documents(text.encode() if isinstance(text, str) else text)
    assert len(documents) == 1
    return documents[0].value


def refusal(text: str | bytes) -> str:
    with pytest.raises(YamlError) as caught:
        read_documents(text.encode() if isinstance(text, str) else text)
    return f"{caught.value.line}:{caught.value.column}: {caught.value.message}"


def attempt(content: bytes) -> YamlError | None:
    try:
        read_documents(content)
    except YamlError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-7", -7),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1.5", 1.5),
        ("-2.25e+3", -2250.0),
        ('"5"', "5"),
        ("'true'", "true"),
        *[(word, word) for word in ["yes", "no", "on", "off", "y", "n", "True", "FALSE", "Null"]],
        *[(word, word) for word in ["010", "0o17", "0x1f", "1_000", "1:30", "+5", "1e3", "12e4567", ".5", "5."]],
        *[(word, word) for word in ["-a", "1.2.3"]],
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        ("=", "="),
        ("'<<'", "<<"),
    ],
)
def test_scalars_have_one_meaning(text: str, value: Any) -> None:
    result = read(f"x: {text}\n")["x"]

    assert result == value
    assert type(result) is type(value)
    assert read(f"x: [{text or 'null'}]")["x"] == [value]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\n", "2:1: duplicate key a"),
        ("a: {b: 1, c: 2, b: 3}\n", "1:17: duplicate key b"),
        ("a: !!str 5\n", "1:4: tag tag:yaml.org,2002:str is not allowed: write plain values"),
        ("a: !!python/object/apply:os.system [x]\n", "1:4: tag tag:yaml.org,2002:python/object/apply:os.system"),
        ("!x a: 1\n", "1:1: tag !x is not allowed"),
        ("1: a\n", "1:1: key 1 is not a string: put it in quotes"),
        ("true: a\n", "1:1: key true is not a string"),
        ("~: a\n", "1:1: key ~ is not a string"),
        ("? [a]\n: b\n", "1:3: a key must be a string"),
        ("name: {{ name }}\n", "1:8: a key must be a string (a value that starts with {{ needs quotes)"),
        ("<<: {a: 1}\n", "1:1: merge keys (<<) are not supported"),
        ("a: *b\n", "1:4: alias *b is not defined before"),
        ("a: &a [*a]\n", "1:8: alias *a is not defined before, or lies inside itself"),
        ("a: &a x\n? *a\n: 1\n", "2:3: a key cannot be an alias"),
        ("a: 9223372036854775808\n", "1:4: 9223372036854775808 is too large for a number"),
        (f"a: {'9' * 5000}\n", "1:4: 9999"),
        ("a: .inf\n", "1:4: .inf is not a finite number"),
        ("a: -.INF\n", "1:4: -.INF is not a finite number"),
        ("a: .nan\n", "1:4: .nan is not a finite number"),
        ("a: 1.0e999\n", "1:4: 1.0e999 is too large for a number"),
        ('a: "x\\0y"\n', "1:4: holds a NUL or half of a surrogate pair"),
        ("--- *a\n", "1:5: alias *a is not defined before"),
        (b"a: caf\xe9\n", "1:7: is not UTF-8: byte 0xe9"),
        (b"ok: 1\nb: \xc3\xa4\xff\n", "2:5: is not UTF-8: byte 0xff"),
        ("a: 1\n".encode("utf-16"), "1:1: is not UTF-8: byte 0xff"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_place(text: str | bytes, expected: str) -> None:
    assert refusal(text).startswith(expected)


@pytest.mark.parametrize(
    "text", ["a: [1\n", "a: b: c\n", 'a: "x\n', "a:\n - b\n c\n", "%YAML 3.0\n---\na: 1\n", "a: @b\n"]
)
def test_broken_syntax_is_refused_with_its_place(text: str) -> None:
    line = refusal(text).split(":")[0]

    assert 1 <= int(line) <= text.count("\n") + 1


def test_a_tab_is_named() -> None:
    assert "a tab cannot indent, use spaces" in refusal("a:\n\tb: 1\n")


def test_nul_bytes_are_placed() -> None:
    assert refusal(b"a: 1\nb: x\0y\n").startswith("2:")


def test_half_a_surrogate_pair_is_refused() -> None:
    assert refusal('a: "\\ud800"\n').startswith("1:")


def test_a_byte_order_mark_is_skipped() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n") == {"a": 1}
    assert read(b"\xef\xbb\xbf---\na: 1\n") == {"a": 1}


def test_documents_keep_their_number_and_first_line() -> None:
    documents = read_documents(b"# comment\n---\n---\n\na: 1\n---\n# nothing\n---\n  b: 2\n...\n")

    assert [(one.value, one.index, one.line, one.column) for one in documents] == [
        ({"a": 1}, 1, 5, 1),
        ({"b": 2}, 3, 9, 3),
    ]


def test_anchors_within_a_document_stand_for_their_value() -> None:
    assert read("a: &x {b: [1, &y two]}\nc: *x\nd: *y\n") == {
        "a": {"b": [1, "two"]},
        "c": {"b": [1, "two"]},
        "d": "two",
    }


def test_anchors_do_not_reach_the_next_document() -> None:
    assert refusal("a: &x 1\n---\nb: *x\n").startswith("3:4: alias *x is not defined")


def test_an_alias_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    assert "has more than 100,000 nodes" in refusal("\n".join(lines))


def test_an_alias_bomb_of_one_long_text_is_refused() -> None:
    aliases = "\n".join(f"b{n}: *a" for n in range(2000))

    assert "more than 10,000,000 bytes once its aliases are expanded" in refusal(f"a: &a {'x' * 10_000}\n{aliases}\n")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "a:\n"])
def test_deep_nesting_is_refused_without_recursion(opening: str) -> None:
    staircase = "".join(" " * depth + opening for depth in range(200))

    assert refusal(staircase if opening == "a:\n" else opening * 20_000)


def test_nesting_of_64_levels_is_accepted_and_65_are_not() -> None:
    assert read("[" * 64 + "]" * 64)
    assert "is nested more than 64 levels deep" in refusal("[" * 65 + "]" * 65)


def test_nesting_through_aliases_counts() -> None:
    text = f"a: &a {'[' * 40}{']' * 40}\nb: {'[' * 30}*a{']' * 30}\n"

    assert "is nested more than 64 levels deep" in refusal(text)


def test_too_many_nodes_are_refused(parser: str) -> None:
    if parser == "pure":
        pytest.skip("takes the slow parser several seconds, and the counting is the same")
    assert "has more than 100,000 nodes" in refusal("a: [" + "1," * 100_001 + "]")
    assert "has more than 100,000 nodes" in refusal("---\n" * 100_002)


def test_too_many_bytes_are_refused_before_parsing() -> None:
    assert refusal(b"[" * 10_000_001).startswith("1:1: has 10,000,001 bytes, more than 10,000,000")


def test_a_text_of_100_000_characters_is_just_a_text() -> None:
    assert read(f"a: {'x' * 100_000}\n") == {"a": "x" * 100_000}


def test_places_are_those_of_keys_and_members() -> None:
    content = b"a: 1\nb:\n  c: [x, {d: 1}]\n---\ne: &x [1]\nf: *x\n"

    first, second = read_places(content)

    assert first[("b", "c")] == (3, 3)
    assert first[("b", "c", 1, "d")] == (3, 11)
    assert nearest_place(first, ("b", "c", 1, "missing", "deeper")) == (3, 10)
    assert second[("f",)] == (6, 1)
    assert nearest_place(second, ("f", 0)) == (6, 1)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.decimals(-(10**6), 10**6, places=3).map(float).filter(lambda number: "e" not in repr(number))
    | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_json.filter(lambda value: value is not None))
def test_json_means_the_same_as_yaml(value: Any) -> None:
    assert read(json.dumps(value, ensure_ascii=False)) == value


@given(_json.filter(lambda value: value is not None))
def test_what_another_writer_wrote_is_read_back(value: Any) -> None:
    class Writer(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    assert read(yaml.dump(value, Dumper=Writer, allow_unicode=True)) == value


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_with_a_place(content: bytes) -> None:
    error = attempt(content)

    assert error is None or (error.line >= 1 and error.column >= 1 and error.message.isprintable())


@given(st.text(alphabet="ab01.-:?,[]{}&*!|>'\"%@`#~ \n\t\\<=", max_size=200))
def test_any_yaml_like_text_is_read_or_refused_with_a_place(text: str) -> None:
    error = attempt(text.encode())

    if error is not None:
        assert error.line >= 1
        return
    documents = read_documents(text.encode())
    assert [one.index for one in documents] == sorted({one.index for one in documents})
    places = read_places(text.encode())
    assert all(places[one.index][()] == (one.line, one.column) for one in documents)
