"""Names, attributes and a few filters are filled in; everything else in `{{ }}` is an error with its place."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.loading import variables
from reconciler.loading.messages import Finding
from reconciler.loading.variables import FILTERS, Budget, Variables
from tests.loading.conftest import Specs, messages, ref, widget

VALUES = {
    "name": "dev",
    "size": 3,
    "ratio": 1.5,
    "on": True,
    "none": None,
    "tags": ["a", "b"],
    "net": {"cidr": "10.0.0.0/8", "deep": {"er": "x"}, "items": "mine", "keys": 5},
    "greeting": "hello {{ name }}",
    "copy": "{{ net }}",
    "big": "x" * 100_000,
}


def render(text: Any, values: dict[str, Any] | None = None) -> tuple[Any, list[Finding]]:
    findings: list[Finding] = []
    return Variables(VALUES if values is None else values).rendered(text, findings, Budget()), findings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ name }}", "dev"),
        ("{{name}}", "dev"),
        ("a-{{ name }}-{{ size }}", "a-dev-3"),
        ("{{ size }}", 3),
        ("{{ ratio }}", 1.5),
        ("{{ on }}", True),
        ("is {{ on }}", "is true"),
        ("{{ tags }}", ["a", "b"]),
        ("{{ net.cidr }}", "10.0.0.0/8"),
        ("{{ net.deep.er }}", "x"),
        ("{{ net.items }}", "mine"),
        ("{{ net.keys }}", 5),
        ("{{ greeting }}", "hello dev"),
        ("{{ copy.deep.er }}", "x"),
        ("{{ name | upper }}", "DEV"),
        ("{{ 'ABC' | lower }}", "abc"),
        ("{{ ' x ' | trim }}", "x"),
        ("{{ name | replace('d', 'D') | replace('v', size) }}", "De3"),
        ("{{ missing | default(7) }}", 7),
        ("{{ net.missing | default(name) }}", "dev"),
        ("{{ missing.deeper | default('x') }}", "x"),
        ("{{ size | default(7) }}", 3),
        ("{{ '42' | int }}", 42),
        ("{{ size | string }}", "3"),
        ("{{ tags | join(',') }}", "a,b"),
        ("{{ tags | join }}", "ab"),
        ("{{ '{{' }} x }}", "{{ x }}"),
        ("{{ 5 }}", 5),
        ("{# not a comment #} {{ name }}", "{# not a comment #} dev"),
        ("{{ name }}\n", "dev\n"),
        ("no expression }}", "no expression }}"),
        ({"a": ["{{ name }}", 5], "{{ name }}": 1}, {"a": ["dev", 5], "{{ name }}": 1}),
    ],
)
def test_names_attributes_and_filters_are_filled_in(text: Any, value: Any) -> None:
    result, findings = render(text)

    assert findings == []
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ nmae }}", 'undefined variable "nmae", did you mean "name"?'),
        ("{{ net.cird }}", 'undefined attribute "cird", did you mean "cidr"?'),
        ("{{ name.upper }}", 'undefined attribute "upper"'),
        ("{{ tags.append }}", 'undefined attribute "append"'),
        ("{{ name.__class__ }}", 'undefined attribute "__class__"'),
        ("{{ net.__class__.__mro__ }}", 'undefined attribute "__class__"'),
        ("{{ net.get }}", 'undefined attribute "get"'),
        ("{{ net['cidr'] }}", "a subscript is not allowed in an expression"),
        ("{{ tags[0] }}", "a subscript is not allowed in an expression"),
        ("{{ name.upper() }}", "a call is not allowed in an expression"),
        ("{{ range(10) }}", "a call is not allowed in an expression"),
        ("{{ cycler.__init__.__globals__ }}", 'undefined variable "cycler"'),
        ("{{ self }}", 'undefined variable "self"'),
        ("{{ size + 1 }}", "arithmetic is not allowed in an expression"),
        ("{{ 9 ** 9 ** 9 }}", "arithmetic is not allowed in an expression"),
        ("{{ -size }}", "arithmetic is not allowed in an expression"),
        ("{{ name ~ name }}", "~ is not allowed in an expression"),
        ("{{ size > 1 }}", "a comparison is not allowed in an expression"),
        ("{{ size is defined }}", "a test is not allowed in an expression"),
        ("{{ name if on else size }}", "a condition is not allowed in an expression"),
        ("{{ on and on }}", "and is not allowed in an expression"),
        ("{{ not on }}", "not is not allowed in an expression"),
        ("{{ [name] }}", "this is not allowed in an expression"),
        ("{{ {'a': name} }}", "this is not allowed in an expression"),
        ("{% for x in tags %}{{ x }}{% endfor %}", "{% is not allowed"),
        ("{% raw %}{{ x }}{% endraw %}", "{% is not allowed"),
        ("{%- include '/etc/passwd' %}", "{% is not allowed"),
        ("{{ name | shout }}", 'unknown filter "shout"'),
        ("{{ name | uper }}", 'unknown filter "uper", did you mean "upper"?'),
        ("{{ name | upper(1) }}", "filter upper takes 0 arguments, not 1"),
        ("{{ name | default }}", "filter default takes 1 arguments, not 0"),
        ("{{ name | replace(old='d', new='x') }}", "filter replace takes plain arguments only"),
        ("{{ name | replace(*tags) }}", "filter replace takes plain arguments only"),
        ("{{ name | int }}", "int: the value is not a whole number"),
        ("{{ name | join }}", "join: the value is not a list"),
        ("{{ net | upper }}", "a mapping, a list or nothing cannot stand inside a text"),
        ("x {{ tags }}", "a mapping, a list or nothing cannot stand inside a text"),
        ("x {{ none }}", "a mapping, a list or nothing cannot stand inside a text"),
        ("{{ name", "not a valid expression"),
        ("{{ }}", "not a valid expression"),
        ("{{ name }} {{", "not a valid expression"),
        ("{{ " + "(" * 5000 + "name" + ")" * 5000 + " }}", "not a valid expression: too deeply nested"),
        ("{{ net" + ".a" * 50 + " }}", "more than 20 attributes and filters in one expression"),
        ("{{ name" + " | upper" * 5000 + " }}", "more than 20 attributes and filters in one expression"),
        ("{{ big | replace('x', big) }}", "replace: the text grows beyond 10,000,000 characters"),
        ("{{ big }}" * 101, "the rendered text has more than 10,000,000 characters"),
        (["{{ big }}"] * 101, "the document grows too large with its variables filled in"),
        ("{{ name }}" + " " * 200_000, "a text with expressions has more than 200,000 characters"),
        (["{{ name }}" * 10_000] * 3, "more than 20,000 expressions in one file"),
    ],
)
def test_everything_else_is_an_error(text: Any, expected: str) -> None:
    started = time.monotonic()
    _, findings = render(text)

    assert findings
    assert findings[0].message.startswith(expected)
    assert time.monotonic() - started < 20


def test_the_documented_filters_are_those_that_there_are() -> None:
    documented = (variables.__doc__ or "").split("Filters:")[1].split(".")[0]

    assert {name.strip() for name in re.sub(r"\(.*?\)", "", documented).split(",")} == set(FILTERS)


def test_growth_by_variables_of_variables_is_bounded() -> None:
    values = {"v0": ["x"] * 10} | {f"v{n}": [f"{{{{ v{n - 1} }}}}"] * 10 for n in range(1, 20)}

    _, findings = render("{{ v19 }}", values)

    assert "grows too large" in findings[0].message


def test_text_around_an_expression_is_never_in_the_message() -> None:
    _, findings = render("password-{{ nothing }}-hunter2")

    assert "hunter2" not in findings[0].message


@given(st.text(alphabet="{}%#.|()[]'\" ab1_-+*~\n", max_size=60))
@example("{{")
@example("{{ a }}{#")
def test_any_text_is_rendered_or_an_error(text: str) -> None:
    result, findings = render("{{" + text, {"a": "1", "b": {"a": 2}})

    assert findings or result is not None or "none" in text


def test_variables_come_from_the_file_beside_the_specs_and_from_options(specs_with: Callable[..., Specs]) -> None:
    specs = specs_with(variables={"color": "red"})
    specs.write("vars.yaml", "color: blue\nsize: 5\n")
    specs.write("sub/a.yaml", widget("one", "size: '{{ size }}'\n  color: '{{ color }}'"))

    resource = specs.resource()

    assert resource.spec == {"size": 5, "color": "red"}


def test_names_labels_and_life_cycle_are_filled_in_too(specs: Specs) -> None:
    specs.write("vars.yaml", "env: dev\n")
    text = widget("x", lifecycle="{state: '{{ s | default(\"absent\") }}'}")
    specs.write("a.yaml", text.replace("{name: x}", '{name: "w-{{ env }}", labels: {env: "{{ env }}"}}'))

    resource = specs.resource()

    assert (resource.ref.name, resource.labels, resource.lifecycle.state) == ("w-dev", {"env": "dev"}, "absent")


def test_an_undefined_variable_is_placed(specs: Specs) -> None:
    specs.write("vars.yaml", "size: 5\n")
    specs.write("a.yaml", widget("one", "size: '{{ sise }}'"))

    assert specs.problem() == 'a.yaml:6:3: spec.size: undefined variable "sise", did you mean "size"?'


def test_an_unquoted_expression_says_that_it_needs_quotes(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", "size: {{ size }}"))

    assert specs.problem() == "a.yaml:6:10: a key must be a string (a value that starts with {{ needs quotes)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: '{{ b }}'\nb: '{{ c }}'\nc: '{{ a }}'\n", "vars.yaml:1:1: a: template loop: a -> b -> c -> a"),
        ("x: 1\na: '{{ a }}'\n", "vars.yaml:2:1: a: template loop: a -> a"),
        ("a: '{{ b }}'\n", 'vars.yaml:1:1: a: undefined variable "b"'),
        ("a: [\n", "vars.yaml:2:1: "),
        ("- a\n", "vars.yaml:1:1: expected one mapping of names to values"),
        ("a: 1\n---\nb: 1\n", "vars.yaml:3:1: expected one mapping of names to values"),
        ("x-y: 1\n", "vars.yaml:1:1: x-y: is not a name: letters, digits and _ only"),
        ("a: 1\na: 2\n", "vars.yaml:2:1: duplicate key a"),
    ],
)
def test_broken_variables_break_the_files_that_use_them_and_delete_nothing(
    specs: Specs, text: str, expected: str
) -> None:
    specs.write("vars.yaml", "a: 5\n")
    specs.write("uses.yaml", widget("one", "size: '{{ a }}'"))
    specs.write("plain.yaml", widget("two"))
    before = specs.load()

    specs.write("vars.yaml", text)
    result = specs.load()

    assert result.resources == before.resources
    assert not result.removed
    assert result.broken == {specs.owner("vars.yaml"), specs.owner("uses.yaml")}
    assert any(message.startswith(expected) for message in messages(result))
    assert "uses.yaml:6:3: spec.size: uses variables, and those are broken" in messages(result)

    specs.write("vars.yaml", "a: 6\n")
    result = specs.load()

    assert messages(result) == []
    assert result.changed == {ref("one")}


def test_changed_variables_change_just_what_uses_them(specs: Specs) -> None:
    specs.write("vars.yaml", "a: 5\nb: 1\n")
    specs.write("uses.yaml", widget("one", "size: '{{ a }}'"))
    specs.write("uses-not-a.yaml", widget("two", "size: '{{ b }}'"))
    specs.write("plain.yaml", widget("three"))
    specs.load()

    specs.write("vars.yaml", "a: 6\nb: 1\n")

    assert specs.load().changed == {ref("one")}


def test_variables_that_are_removed_or_added_are_noticed(specs: Specs) -> None:
    specs.write("uses.yaml", widget("one", "size: '{{ a }}'"))
    assert len(specs.load().problems) == 1

    path = specs.write("vars.yaml", "a: 6\n")
    assert messages(specs.load()) == []

    path.unlink()
    assert len(specs.load().problems) == 1


def test_a_variables_file_that_cannot_be_read_breaks_what_uses_it(specs: Specs) -> None:
    specs.write("uses.yaml", widget("one", "size: '{{ a }}'"))
    path = specs.write("vars.yaml", "a: 6\n")
    specs.load()
    path.unlink()
    os.mkfifo(path)

    result = specs.load()

    assert "vars.yaml:0:0: is not a regular file" in messages(result)
    assert set(result.resources) == {ref("one")}

    path.unlink()
    specs.write("vars.yaml", "a: 6\n")
    assert messages(specs.load()) == []


def test_an_expression_cannot_be_hidden_by_escapes(specs: Specs) -> None:
    specs.write("vars.yaml", "a: text\n")
    specs.write("a.yaml", widget("one", r"size: 1" + "\n" + r'  note: "\x7b\x7b a }}"'))

    assert specs.resource().spec["note"] == "text"


def test_broken_variables_of_an_option_are_a_problem(specs_with: Callable[..., Specs]) -> None:
    specs = specs_with(variables={"a": "{{ b }}"})
    specs.write("a.yaml", widget("one"))

    result = specs.load()

    assert messages(result) == ['-e:0:0: a: undefined variable "b"']
    assert set(result.resources) == {ref("one")}
