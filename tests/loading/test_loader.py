"""What a folder of documents becomes: resources, problems with places, and what has changed since the last look."""

from __future__ import annotations

from pathlib import Path

from reconciler.loading.loader import DirectorySource, Loader, LoadOptions, LoadResult
from reconciler.model.resource import ResourceRef
from tests.loading.kinds_for_tests import KINDS


def widget(name: str, spec: str = "size: 1", lifecycle: str = "{}") -> str:
    return (
        f"apiVersion: reconciler.dev/v1\nkind: Widget\nmetadata: {{name: {name}}}\n"
        f"lifecycle: {lifecycle}\nspec:\n  {spec}\n"
    )


def ref(name: str) -> ResourceRef:
    return ResourceRef("Widget", name)


def loader(root: Path, **options: object) -> Loader:
    return Loader(DirectorySource(root), KINDS, LoadOptions(**options))  # type: ignore[arg-type]


def load(root: Path, **options: object) -> LoadResult:
    return loader(root, **options).load()


def messages(result: LoadResult) -> list[str]:
    return [
        f"{Path(problem.path).name}:{problem.line}:{problem.column}: {problem.message}" for problem in result.problems
    ]


def test_documents_become_resources_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# first\n" + widget("one") + "---\n" + widget("two", "size: 2"))

    result = load(tmp_path)

    assert result.problems == ()
    assert set(result.resources) == result.changed == {ref("one"), ref("two")}
    assert str(result.resources[ref("two")].source) == f"{tmp_path}/a.yaml:9:1"
    assert result.resources[ref("two")].spec == {"size": 2}
    assert result.owners == {f"file:{tmp_path}/a.yaml"}
    assert result.readable


def test_a_broken_file_keeps_its_last_valid_resources(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(widget("one"))
    (tmp_path / "b.yaml").write_text(widget("two"))
    subject = loader(tmp_path)
    before = subject.load()

    file.write_text("kind: [\n")
    result = subject.load()

    assert result.resources == before.resources
    assert result.broken == {f"file:{file}"}
    assert not result.removed
    assert not result.changed
    assert Path(result.problems[0].path).name == "a.yaml"


def test_a_deleted_file_removes_its_resources(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(widget("one"))
    (tmp_path / "b.yaml").write_text(widget("two"))
    subject = loader(tmp_path)
    subject.load()

    (tmp_path / "b.yaml").unlink()
    result = subject.load()

    assert result.removed == {ref("two")}
    assert set(result.resources) == {ref("one")}


def test_only_what_differs_counts_as_changed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(widget("one") + "---\n" + widget("two"))
    subject = loader(tmp_path)
    subject.load()

    (tmp_path / "a.yaml").write_text("# moved down\n" + widget("one") + "---\n" + widget("two", "size: 7"))
    result = subject.load()

    assert result.changed == {ref("two")}
    assert result.resources[ref("one")].source.line == 2


def test_an_unknown_field_is_placed_and_the_right_one_suggested(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(widget("one", "size: 1\n  colour: red"))

    assert messages(load(tmp_path)) == ['a.yaml:7:3: spec.colour: unknown field "colour", did you mean "color"?']


def test_a_dependency_cycle_is_written_out(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(widget("one", lifecycle="{dependsOn: [Widget/two]}"))
    (tmp_path / "b.yaml").write_text(widget("two", "size: 1\n  uses: one"))

    assert messages(load(tmp_path)) == [
        "a.yaml:1:1: dependency cycle: Widget/one -> Widget/two -> Widget/one",
        "b.yaml:1:1: dependency cycle: Widget/two -> Widget/one -> Widget/two",
    ]


def test_a_missing_reference_is_placed_and_the_right_one_suggested(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(widget("one", lifecycle="{dependsOn: [Widget/tow]}") + "---\n" + widget("two"))

    assert messages(load(tmp_path)) == [
        'a.yaml:4:25: needs Widget/tow, which does not exist or is not valid, did you mean "two"?'
    ]


def test_both_places_of_a_duplicate_are_named_and_the_first_valid_one_stays(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(widget("one"))
    subject = loader(tmp_path)
    subject.load()

    (tmp_path / "b.yaml").write_text(widget("one", "size: 2"))
    result = subject.load()

    assert result.resources[ref("one")].spec == {"size": 1}
    assert result.broken == {f"file:{tmp_path}/a.yaml", f"file:{tmp_path}/b.yaml"}
    assert [message.partition(" is also defined in ")[0] for message in messages(result)] == [
        "a.yaml:1:1: Widget/one",
        "b.yaml:1:1: Widget/one",
    ]
