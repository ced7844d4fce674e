"""What is wrong between documents (duplicates, gaps, cycles) is placed, and what was valid before stays."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tests.loading.conftest import Specs, messages, ref, widget


def test_a_duplicate_in_one_file_names_both_places(specs: Specs) -> None:
    specs.write("a.yaml", widget("one") + "---\n" + widget("one"))

    result = specs.load()

    shown = specs.root / "a.yaml"
    assert messages(result) == [
        f"a.yaml:1:1: Widget/one is also defined in {shown}:8:1",
        f"a.yaml:8:1: Widget/one is also defined in {shown}:1:1",
    ]
    assert result.resources == {}


def test_a_duplicate_breaks_both_files_and_what_was_valid_stays(specs: Specs) -> None:
    specs.write("b.yaml", widget("one"))
    specs.load()

    specs.write("a.yaml", widget("one", "size: 2") + "---\n" + widget("two"))
    result = specs.load()

    assert result.resources[ref("one")].spec == {"size": 1}
    assert set(result.resources) == {ref("one")}
    assert result.broken == {specs.owner("a.yaml"), specs.owner("b.yaml")}
    assert [message.partition(" is also")[0] for message in messages(result)] == [
        "a.yaml:1:1: Widget/one",
        "b.yaml:1:1: Widget/one",
    ]


def test_a_duplicate_that_is_gone_leaves_no_trace(specs: Specs) -> None:
    specs.write("b.yaml", widget("one"))
    specs.load()
    path = specs.write("a.yaml", widget("one", "size: 2"))
    specs.load()

    path.write_text(widget("two", "size: 2"))
    result = specs.load()

    assert messages(result) == []
    assert result.changed == {ref("two")}


def test_a_resource_may_move_from_one_file_to_another(specs: Specs) -> None:
    specs.write("a.yaml", widget("one"))
    specs.load()

    specs.write("a.yaml", "# moved\n")
    specs.write("b.yaml", widget("one"))
    result = specs.load()

    assert messages(result) == []
    assert result.changed == result.removed == frozenset()
    assert result.moved == {ref("one")}
    assert result.resources[ref("one")].source.owner == specs.owner("b.yaml")
    assert specs.load().moved == frozenset()


def test_a_resource_does_not_move_out_of_a_broken_file(specs: Specs) -> None:
    specs.write("a.yaml", widget("one"))
    specs.load()

    specs.write("a.yaml", "x: [")
    specs.write("b.yaml", widget("one", "size: 2"))
    result = specs.load()

    assert result.resources[ref("one")].spec == {"size": 1}
    assert result.broken == {specs.owner("a.yaml"), specs.owner("b.yaml")}


def test_a_cycle_through_depends_on_and_references_is_written_out(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", lifecycle="{dependsOn: [Widget/two]}"))
    specs.write("b.yaml", widget("two", "size: 1\n  uses: three"))
    specs.write("c.yaml", widget("three", lifecycle="{dependsOn: [Widget/one]}"))
    specs.write("d.yaml", widget("four", lifecycle="{dependsOn: []}"))

    result = specs.load()

    assert messages(result) == [
        "a.yaml:1:1: dependency cycle: Widget/one -> Widget/two -> Widget/three -> Widget/one",
        "b.yaml:1:1: dependency cycle: Widget/two -> Widget/three -> Widget/one -> Widget/two",
        "c.yaml:1:1: dependency cycle: Widget/three -> Widget/one -> Widget/two -> Widget/three",
    ]
    assert set(result.resources) == {ref("four")}


def test_a_resource_that_needs_itself_is_a_cycle(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", "size: 1\n  uses: one"))

    assert specs.problem() == "a.yaml:1:1: dependency cycle: Widget/one -> Widget/one"


def test_a_cycle_made_by_an_edit_leaves_the_last_valid_state(specs: Specs) -> None:
    specs.write("a.yaml", widget("one"))
    specs.write("b.yaml", widget("two", "size: 1\n  uses: one"))
    before = specs.load()

    specs.write("a.yaml", widget("one", "size: 5\n  uses: two"))
    result = specs.load()

    assert result.resources == before.resources
    assert "a.yaml:1:1: dependency cycle: Widget/one -> Widget/two -> Widget/one" in messages(result)


def test_a_missing_reference_is_placed_and_the_right_one_suggested(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", lifecycle="{dependsOn: [Widget/two, Widget/tow]}") + "---\n" + widget("two"))

    assert specs.problem() == 'a.yaml:4:37: needs Widget/tow, which does not exist or is not valid, did you mean "two"?'


def test_a_reference_to_the_wrong_kind_is_suggested(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", lifecycle="{dependsOn: [Vault/two]}") + "---\n" + widget("two"))

    assert 'did you mean "Widget/two"?' in specs.problem()


def test_what_needs_something_missing_is_not_valid_either_and_so_on(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", "size: 1\n  uses: nothing"))
    specs.write("b.yaml", widget("two", "size: 1\n  uses: one"))
    specs.write("c.yaml", widget("three", "size: 1\n  uses: two"))
    specs.write("d.yaml", widget("four"))

    result = specs.load()

    assert [message.partition(",")[0] for message in messages(result)] == [
        "a.yaml:1:1: needs Widget/nothing",
        "b.yaml:1:1: needs Widget/one",
        "c.yaml:1:1: needs Widget/two",
    ]
    assert set(result.resources) == {ref("four")}


def test_a_reference_is_met_once_the_other_file_is_written(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", "size: 1\n  uses: two"))
    assert len(specs.load().problems) == 1

    specs.write("b.yaml", widget("two"))
    result = specs.load()

    assert messages(result) == []
    assert result.changed == {ref("one"), ref("two")}


def test_deleting_what_others_need_is_a_problem_of_the_others_only(specs: Specs) -> None:
    specs.write("a.yaml", widget("one", "size: 1\n  uses: two"))
    path = specs.write("b.yaml", widget("two"))
    specs.load()

    path.unlink()
    result = specs.load()

    assert result.removed == {ref("two")}
    assert set(result.resources) == {ref("one")}
    assert result.broken == {specs.owner("a.yaml")}
    assert specs.load().broken == {specs.owner("a.yaml")}


def test_resources_outside_of_the_source_may_be_needed_while_they_exist(specs_with: Callable[..., Specs]) -> None:
    known = {ref("two")}
    specs = specs_with(known=lambda: known)
    specs.write("a.yaml", widget("one", "size: 1\n  uses: two"))
    assert messages(specs.load()) == []
    assert messages(specs.load()) == []

    known.clear()
    assert len(specs.load().problems) == 1

    known.add(ref("two"))
    assert messages(specs.load()) == []


def test_all_orders_of_writing_three_dependent_files_end_the_same(specs: Specs) -> None:
    texts = {
        "a.yaml": widget("one", "size: 1\n  uses: two"),
        "b.yaml": widget("two", lifecycle="{dependsOn: [Widget/three]}"),
        "c.yaml": widget("three"),
    }
    for order in itertools.permutations(texts):
        fresh = Specs(specs.root)
        for name in texts:
            (specs.root / name).unlink(missing_ok=True)
        for name in order:
            fresh.write(name, texts[name])
            result = fresh.load()
        assert messages(result) == []
        assert len(result.resources) == 3
