"""What a document becomes: a resource, or problems with their places."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reconciler.errors import SpecError
from reconciler.loading.loader import LoadOptions, resource_from_document
from reconciler.model.resource import ResourceRef
from tests.loading.conftest import Specs, messages, ref, vault, widget
from tests.loading.kinds_for_tests import KINDS


def test_documents_become_resources_with_their_place(specs: Specs) -> None:
    specs.write("a.yaml", "# first\n" + widget("one") + "---\n" + widget("two", "size: 2"))

    result = specs.load()

    assert result.problems == ()
    assert set(result.resources) == result.changed == {ref("one"), ref("two")}
    assert str(result.resources[ref("two")].source) == f"{specs.root}/a.yaml:9:1"
    assert result.resources[ref("two")].spec == {"size": 2}
    assert result.owners == {specs.owner("a.yaml")}
    assert result.readable


def test_labels_and_life_cycle_are_taken_over(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", lifecycle="{interval: 1h30m, deletion: protect, suspend: true}"))
    text = (specs.root / "a.yaml").read_text().replace("{name: one}", "{name: one, labels: {env: dev, a.b/c: ''}}")
    specs.write("a.yaml", text)

    resource = specs.resource()

    assert resource.labels == {"env": "dev", "a.b/c": ""}
    assert (resource.lifecycle.interval, resource.lifecycle.deletion) == (5400.0, "protect")
    assert resource.lifecycle.suspend


def test_a_problem_is_one_clickable_line(specs: Specs, monkeypatch: pytest.MonkeyPatch) -> None:
    specs.write("team/a.yaml", widget("one", "size: x"))
    monkeypatch.chdir(specs.root)

    (problem,) = specs.load().problems

    assert str(problem) == 'team/a.yaml:6:3: spec.size: expected a whole number, got "x"'
    assert problem.owner == specs.owner("team/a.yaml")
    assert problem.ref == ref("one")


def test_paths_outside_the_current_folder_are_absolute(specs: Specs) -> None:
    specs.write("a.yaml", "x: [")

    assert specs.load().problems[0].path == str(specs.root / "a.yaml")


def test_everything_wrong_in_a_file_is_reported_at_once(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", "size: x\n  colour: red") + "---\n" + widget("two") + "---\n" + widget("B"))

    result = specs.load()

    assert messages(result) == [
        'a.yaml:6:3: spec.size: expected a whole number, got "x"',
        'a.yaml:7:3: spec.colour: unknown field "colour", did you mean "color"?',
        'a.yaml:18:12: metadata.name: "B" is not a name: lower-case letters, digits and -, at most 63, '
        "first and last a letter or digit",
    ]
    assert result.resources == {}


def test_an_empty_file_is_a_problem_and_a_comment_is_not(specs: Specs) -> None:
    specs.write("empty.yaml", " \n")
    specs.write("mark.yaml", b"\xef\xbb\xbf")
    specs.write("comment.yaml", "# nothing wanted yet\n")

    result = specs.load()

    expected = ":1:1: is empty: to want nothing, delete the file or leave a comment in it"
    assert messages(result) == [f"empty.yaml{expected}", f"mark.yaml{expected}"]


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "5\n"])
def test_a_document_that_is_no_mapping_is_a_problem(specs: Specs, text: str) -> None:
    specs.write("a.yaml", text)

    assert specs.problem() == "a.yaml:1:1: expected a mapping with apiVersion, kind, metadata and spec"


def test_an_unknown_kind_is_placed_and_the_right_one_suggested(specs: Specs) -> None:
    specs.write("a.yaml", widget("one").replace("kind: Widget", "kind: Widgte"))

    assert specs.problem() == 'a.yaml:2:1: kind: unknown kind "Widgte", did you mean "Widget"?'


def test_a_document_without_a_kind_says_which_there_are(specs: Specs) -> None:
    specs.write("a.yaml", "a: 1\n")

    assert specs.problem() == 'a.yaml:1:1: the field "kind" is missing: one of Vault, Widget'


def test_a_kind_that_is_no_text_is_a_problem(specs: Specs) -> None:
    specs.write("a.yaml", widget("one").replace("kind: Widget", "kind: [Widget]"))

    assert specs.problem() == "a.yaml:2:1: kind: expected the name of a kind"


def test_defaults_lie_below_what_a_document_says(specs_with: Callable[..., Specs]) -> None:
    specs = specs_with(defaults={"Widget": {"size": 9, "color": "blue", "free": {"a": 1, "b": {"c": 2}}}})
    specs.write("a.yaml", widget("one", "color: red\n  free: {b: {d: 3}}"))

    assert specs.resource().spec == {"size": 9, "color": "red", "free": {"a": 1, "b": {"c": 2, "d": 3}}}


def test_a_wrong_default_is_a_problem_at_the_spec(specs_with: Callable[..., Specs]) -> None:
    specs = specs_with(defaults={"Widget": {"color": "pink"}})
    specs.write("a.yaml", widget("one"))

    assert specs.problem().startswith('a.yaml:5:1: spec.color: "pink" is not allowed here')


@pytest.mark.parametrize(
    ("lifecycle", "expected"),
    [
        ("{interval: 0s}", "4:13: lifecycle.interval: is less than 1s"),
        ("{interval: 999ms}", "4:13: lifecycle.interval: is less than 1s"),
        ("{interval: 0}", "4:13: lifecycle.interval: 0 is less than 1.0"),
        ("{interval: 400d}", "4:13: lifecycle.interval: '400d' is not between 0 and a year"),
        ("{interval: 5 minutes}", '4:13: lifecycle.interval: "5 minutes" is not a duration: write for example 30s'),
        ("{interval: 1e999}", '4:13: lifecycle.interval: "1e999" is not a duration'),
        ("{state: gone}", '4:13: lifecycle.state: "gone" is not allowed here, expected present or absent'),
        ("{suspend: yes}", '4:13: lifecycle.suspend: expected true or false, got "yes": write true or false'),
        ("{dependsOn: Widget/a}", '4:13: lifecycle.dependsOn: expected a list, got "Widget/a"'),
        ("{dependsOn: [a]}", '4:25: lifecycle.dependsOn[0]: "a" is not a reference: write Kind/name'),
        ('{dependsOn: ["Widget/a\\n"]}', "4:25: lifecycle.dependsOn[0]: "),
        ("{dependson: []}", '4:13: lifecycle.dependson: unknown field "dependson", did you mean "dependsOn"?'),
        ("[]", "4:1: lifecycle: expected a mapping, got a list"),
        ("", "4:1: lifecycle: expected a mapping, got nothing (null)"),
    ],
)
def test_a_wrong_life_cycle_is_placed(specs: Specs, lifecycle: str, expected: str) -> None:
    specs.write("a.yaml", widget("one", lifecycle=lifecycle))

    assert specs.problem().startswith(f"a.yaml:{expected}")


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a.b", "a" * 64, '"a\\n"', "", "'../x'", "ä", "5"])
def test_names_that_are_no_names_are_refused(specs: Specs, name: str) -> None:
    specs.write("a.yaml", widget("x").replace("{name: x}", f"{{name: {name}}}"))

    result = specs.load()

    assert result.resources == {}
    assert messages(result)[0].startswith("a.yaml:3:12: metadata.name: ")


def test_a_name_of_100_000_characters_is_a_short_message(specs: Specs) -> None:
    specs.write("a.yaml", widget("a" * 100_000))

    assert len(specs.problem()) < 300


def test_the_digest_is_of_what_is_wanted_and_of_nothing_else(specs: Specs) -> None:
    digests = []
    for text in (
        widget("one", "size: 1\n  color: red"),
        "# c\n" + widget("one", "color: red\n  size: 1"),
        widget("two", "size: 1\n  color: red"),
    ):
        specs.write("a.yaml", text)
        digests.append(specs.resource().digest)
    for text in (
        widget("one", "size: 2\n  color: red"),
        widget("one", "size: 1\n  color: red", "{suspend: true}"),
        widget("one", "size: 1\n  color: red").replace("{name: one}", "{name: one, labels: {a: b}}"),
    ):
        specs.write("a.yaml", text)
        digests.append(specs.resource().digest)

    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests[2:])) == 4


def test_a_kind_that_refuses_a_spec_is_a_problem(specs: Specs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SpecError("Nonsense", "these two do not go together")

    monkeypatch.setattr(type(KINDS["Widget"]), "references", refuse)
    specs.write("a.yaml", widget("one"))

    assert specs.problem() == "a.yaml:5:1: spec: these two do not go together"


DOCUMENT = {
    "apiVersion": "reconciler.dev/v1",
    "kind": "Widget",
    "metadata": {"name": "one"},
    "spec": {"size": 3},
}


def test_a_document_from_elsewhere_becomes_the_same_resource(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", "size: 3"))

    resource = resource_from_document(DOCUMENT, KINDS, LoadOptions(), "api")

    assert resource.ref == ResourceRef("Widget", "one")
    assert resource.source.owner == "api"
    assert resource.digest == specs.resource().digest


def _nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"spec": {"size": "3"}}, 'spec.size: expected a whole number, got "3"'),
        ({"spec": {"size": 10**30}}, "spec.size: is too large for a number"),
        ({"spec": {"size": 1, "free": {"a": float("nan")}}}, "spec.free.a: is not a finite number"),
        ({"spec": {"size": 1, "note": "\ud800"}}, "spec.note: holds a NUL or half of a surrogate pair"),
        ({"spec": {"size": 1, "note": "\0"}}, "spec.note: holds a NUL"),
        ({"spec": {"size": 1, "free": {1: 2}}}, "spec.free: has a key that is no text"),
        ({"spec": {"size": 1, "free": {"a": object()}}}, "spec.free.a: is not plain JSON data"),
        ({"spec": {"size": 1, "free": _nested(100_000)}}, "is nested too deeply or too large"),
        ({"spec": {"size": 1, "ports": list(range(100_001))}}, "is nested too deeply or too large"),
        ({"kind": "Widgets"}, 'kind: unknown kind "Widgets", did you mean "Widget"?'),
        ({"kind": ["Widget"]}, "kind: expected the name of a kind"),
        ({"kind": None}, 'the field "kind" is missing'),
        ({"metadata": None}, "metadata: expected a mapping, got nothing (null)"),
        ({"extra": 1}, 'extra: unknown field "extra"'),
        ({"apiVersion": "v1"}, 'apiVersion: "v1" is not allowed here, expected reconciler.dev/v1'),
        ({"spec": {"size": 1, "note": "${late}"}}, "spec.note: ${late} is known only later"),
    ],
)
def test_a_wrong_document_from_elsewhere_is_a_spec_error(change: dict[str, object], expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        resource_from_document({**DOCUMENT, **change}, KINDS, LoadOptions(), "api")

    assert caught.value.message.startswith(expected)


def test_expressions_in_a_document_from_elsewhere_stay_text() -> None:
    document = {**DOCUMENT, "spec": {"size": 1, "note": "{{ size }} {% if %}"}}

    resource = resource_from_document(document, KINDS, LoadOptions(variables={"size": 5}), "api")

    assert resource.spec["note"] == "{{ size }} {% if %}"


MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n"
VAULT = ResourceRef("Vault", "v")


def test_a_file_that_a_spec_names_is_no_document(specs: Specs) -> None:
    specs.write("a.yaml", vault("script: web.yaml"))
    specs.write("web.yaml", MANIFEST)

    result = specs.load()

    assert result.problems == ()
    assert set(result.resources) == {VAULT}


def test_a_manifest_that_no_spec_names_any_more_is_a_problem(specs: Specs) -> None:
    specs.write("a.yaml", vault("script: web.yaml"))
    specs.write("web.yaml", MANIFEST)
    assert specs.load().problems == ()

    specs.write("a.yaml", widget("one"))

    assert {problem.path for problem in specs.load().problems} == {str(specs.root / "web.yaml")}


def test_naming_a_file_does_not_make_its_resources_disappear(specs: Specs) -> None:
    specs.write("a.yaml", vault("script: b.yaml"))
    specs.write("b.yaml", widget("two"))
    assert set(specs.load().resources) == {VAULT, ref("two")}

    specs.write("b.yaml", "broken: [")
    result = specs.load()

    assert set(result.resources) == {VAULT, ref("two")}
    assert result.broken == {specs.owner("b.yaml")}
