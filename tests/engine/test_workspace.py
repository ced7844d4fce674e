"""The workspace: what is wanted by all, what is remembered, and nothing concluded from what could not be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inside import Inside
from place import Place, entry

from reconciler.engine.wiring import open_workspace
from reconciler.engine.workspace import Workspace, matching
from reconciler.errors import UsageError
from reconciler.loading.loader import resource_from_document
from reconciler.model.plan import Action
from reconciler.model.resource import ResourceRef
from reconciler.store import remembered, resources

Opened = Callable[..., Inside]


def ref(name: str) -> ResourceRef:
    return ResourceRef("Entry", name)


def put(engine: Inside, document: dict[str, Any]) -> None:
    """Write desired state into the store, as `reconciler create` and the API do."""
    runtime = engine.runtime
    resource = resource_from_document(document, runtime.kinds, runtime.load_options(), remembered.API_OWNER)
    with runtime.database.write() as connection:
        resources.put_document(runtime.database, connection, resource, document, runtime.recording())


def planned(engine: Inside, **rules: Any) -> dict[str, tuple[str, str]]:
    """Action and obstacle by name."""
    changes = engine.plan(**rules).plan.changes
    return {one.ref.name: (one.action.value, one.obstacle.reason if one.obstacle else "") for one in changes}


def test_the_first_load_reads_everything_and_writes_nothing(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one"))
    place.write("deep/b.yml", entry("two", parent="one"))
    engine = opened()
    assert engine.workspace.load() == {ref("one"), ref("two")}
    assert sorted(engine.workspace.scope()) == [ref("one"), ref("two")]
    assert place.rows("SELECT name FROM resources") == []
    engine.workspace.record()
    rows = place.rows("SELECT name, generation, owner FROM resources ORDER BY name")
    assert [(row["name"], row["generation"]) for row in rows] == [("one", 1), ("two", 1)]
    assert rows[0]["owner"] == f"file:{place.specs / 'a.yaml'}"


def test_later_loads_say_just_what_moved(place: Place, opened: Opened) -> None:
    for name in ("one", "two", "three"):
        place.write(f"{name}.yaml", entry(name))
    engine = opened()
    engine.workspace.load()
    engine.workspace.record()
    assert engine.workspace.load() == frozenset()
    place.write("one.yaml", entry("one", text="other"))
    place.write("four.yaml", entry("four"))
    (place.specs / "two.yaml").unlink()
    assert engine.workspace.load() == {ref("one"), ref("two"), ref("four")}
    engine.workspace.record()
    assert engine.workspace.desired[ref("one")].generation == 2
    assert engine.workspace.records[ref("two")].vanished


def test_what_a_load_found_is_not_lost_when_it_was_not_recorded(place: Place, opened: Opened) -> None:
    place.write("one.yaml", entry("one"))
    engine = opened()
    engine.workspace.load()
    engine.workspace.record()
    place.write("one.yaml", entry("one", text="other"))
    assert engine.workspace.load() == {ref("one")}
    assert engine.workspace.load() == {ref("one")}, "it was never stored, so it is still news"
    engine.workspace.record()
    assert engine.workspace.load() == frozenset()
    assert place.rows("SELECT generation FROM resources") == [{"generation": 2}]


def test_a_file_that_breaks_keeps_what_was_last_valid(place: Place, opened: Opened) -> None:
    place.write("one.yaml", entry("one"))
    engine = opened()
    engine.apply()
    (place.specs / "one.yaml").write_text("kind: [")
    found = engine.plan(prune=True).plan.changes
    assert [(one.action, one.is_effective) for one in found] == [(Action.NOOP, False)]
    assert len(engine.workspace.problems) == 1
    assert "one.yaml:2:1" in engine.workspace.problem_of(ref("one"))


def test_after_a_restart_a_broken_file_freezes_its_resources(place: Place, opened: Opened) -> None:
    place.write("one.yaml", entry("one"), entry("two"))
    opened().apply()
    (place.specs / "one.yaml").write_text("kind: [")
    place.put({"one": {"text": "drifted"}})
    engine = opened()
    assert planned(engine, prune=True) == {"one": ("noop", "SpecInvalid"), "two": ("noop", "SpecInvalid")}
    assert engine.workspace.frozen.keys() == {ref("one"), ref("two")}
    engine.workspace.record()
    assert place.rows("SELECT name FROM resources WHERE vanished_at IS NOT NULL") == []
    place.write("one.yaml", entry("one"), entry("two"))
    assert planned(engine)["one"] == ("update", "")
    assert engine.workspace.frozen == {}


def test_beside_a_broken_file_nothing_else_vanishes_either(place: Place, opened: Opened) -> None:
    """What is missing may have moved into the file that cannot be read."""
    place.write("one.yaml", entry("one"))
    place.write("two.yaml", entry("two"))
    opened().apply()
    (place.specs / "two.yaml").unlink()
    (place.specs / "new.yaml").write_text("kind: [")
    engine = opened()
    assert planned(engine, prune=True)["two"] == ("noop", "SpecInvalid")
    (place.specs / "new.yaml").unlink()
    assert planned(engine, prune=True)["two"] == ("delete", "")


def test_beside_a_broken_file_what_vanished_before_stays_too(place: Place, opened: Opened) -> None:
    """It may just have been written again, into the file that cannot be read."""
    place.write("one.yaml", entry("one"))
    place.write("two.yaml", entry("two"))
    opened().apply()
    (place.specs / "two.yaml").unlink()
    opened().apply()
    assert planned(opened(), prune=True)["two"] == ("delete", "")
    (place.specs / "new.yaml").write_text("kind: [")
    engine = opened()
    assert planned(engine, prune=True)["two"] == ("delete", "SpecsBroken")
    engine.apply(prune=True)
    assert "two" in place.there()


def test_a_folder_that_names_nothing_any_more_deletes_nothing(place: Place, opened: Opened) -> None:
    place.write("one.yaml", entry("one"))
    opened().apply()
    (place.specs / "one.yaml").unlink()
    engine = opened()
    assert planned(engine, prune=True) == {"one": ("delete", "EmptySource")}
    assert engine.workspace.empty
    place.write("other.yaml", entry("other"))
    assert planned(engine, prune=True)["one"] == ("delete", "")


def test_a_folder_that_is_gone_deletes_nothing(place: Place, opened: Opened) -> None:
    place.write("one.yaml", entry("one"))
    opened().apply()
    engine = opened()
    (place.specs / "one.yaml").unlink()
    place.specs.rmdir()
    found = planned(engine, prune=True)
    assert found == {"one": ("noop", "SpecInvalid")}
    assert not engine.workspace.readable


def test_the_apis_documents_are_wanted_beside_the_files(place: Place, opened: Opened) -> None:
    place.write("one.yaml", entry("one"))
    engine = opened()
    put(engine, entry("mine"))
    assert engine.workspace.load() == {ref("one")}, "the other one is stored already"
    assert sorted(engine.workspace.scope()) == [ref("mine"), ref("one")]
    engine.workspace.record()
    put(engine, entry("mine", text="other"))
    assert engine.workspace.load() == {ref("mine")}
    put(engine, entry("later", parent="one"))
    assert ref("later") in engine.workspace.load()


def test_a_document_of_the_api_that_is_valid_no_more_is_a_problem_and_stays(place: Place, opened: Opened) -> None:
    engine = opened()
    put(engine, entry("mine"))
    engine.apply()
    with engine.runtime.database.write() as connection:
        connection.exec_driver_sql("UPDATE resources SET document = replace(document, 'hello', '5') ")
        connection.exec_driver_sql("""UPDATE resources SET document = replace(document, '"text"', '"txet"')""")
    again = opened()
    assert planned(again, prune=True)["mine"][0] == "noop"
    (problem,) = again.workspace.problems
    assert "Entry/mine" in problem.message
    assert place.there() == {"mine": {"text": "hello"}}


def test_what_the_api_has_no_file_may_have_and_both_are_named(place: Place, opened: Opened) -> None:
    engine = opened()
    put(engine, entry("one"))
    engine.apply()
    path = place.write("a.yaml", entry("one", text="from a file"), entry("two"))
    again = opened()
    again.workspace.load()
    (problem,) = [one for one in again.workspace.problems if one.ref == ref("one")]
    assert "api" in problem.message
    assert str(path) in problem.message
    assert problem.line == 1
    again.apply()
    assert place.there()["one"] == {"text": "hello"}
    assert place.rows("SELECT owner FROM resources WHERE name = 'one'") == [{"owner": "api"}]


def other_folder(engine: Inside, folder: Path) -> Workspace:
    return open_workspace(engine.runtime, folder)


def test_what_another_folder_has_stays_theirs_and_is_not_touched_from_here(
    place: Place, opened: Opened, tmp_path: Path
) -> None:
    place.write("a.yaml", entry("one"))
    engine = opened()
    engine.apply()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.yaml").write_text((place.specs / "a.yaml").read_text().replace("hello", "theirs"))
    place.put({"one": {"text": "drifted"}})
    engine.workspace = other_folder(engine, elsewhere)
    results = engine.apply()
    (problem,) = engine.workspace.problems
    assert "a.yaml" in problem.message
    assert "b.yaml" in problem.message
    assert results == {}
    assert place.there() == {"one": {"text": "drifted"}}
    assert place.rows("SELECT owner FROM resources") == [{"owner": f"file:{place.specs / 'a.yaml'}"}]


def test_a_workspace_without_specs_looks_after_the_apis_resources_and_what_vanished(
    place: Place, opened: Opened
) -> None:
    place.write("a.yaml", entry("one"), entry("two"))
    engine = opened()
    engine.apply()
    place.write("a.yaml", entry("one"))
    engine.apply()
    put(engine, entry("mine"))
    engine.workspace = open_workspace(engine.runtime, None)
    engine.workspace.load()
    assert sorted(engine.workspace.scope()) == [ref("mine"), ref("two")]


def test_problems_are_stored_for_whoever_looks(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one", size="big"))
    engine = opened()
    engine.workspace.load()
    engine.workspace.record()
    (row,) = place.rows("SELECT path, line, message, name FROM problems")
    assert (row["path"].endswith("a.yaml"), row["name"]) == (True, "one")
    assert row["line"] > 1
    place.write("a.yaml", entry("one"))
    engine.workspace.load()
    engine.workspace.record()
    assert place.rows("SELECT * FROM problems") == []


def test_a_single_file_speaks_for_itself_alone(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one"))
    place.write("b.yaml", entry("two"))
    engine = opened()
    engine.apply()
    engine.workspace = open_workspace(engine.runtime, place.specs / "a.yaml")
    assert planned(engine, prune=True) == {"one": ("noop", "")}


def test_a_moved_resource_is_the_same_resource(place: Place, opened: Opened) -> None:
    place.write("a.yaml", entry("one"))
    engine = opened()
    engine.apply()
    (place.specs / "a.yaml").rename(place.specs / "b.yaml")
    assert planned(engine, prune=True) == {"one": ("noop", "")}
    engine.workspace.record()
    row = place.rows("SELECT owner, generation, vanished_at FROM resources")[0]
    assert (row["owner"], row["generation"], row["vanished_at"]) == (f"file:{place.specs / 'b.yaml'}", 1, None)


SELECTIONS = {
    "Entry/one": ["one"],
    "one": ["one"],
    "Entry/o*": ["one", "other"],
    "*": ["one", "other", "two"],
    "*/t*": ["two"],
}


@pytest.mark.parametrize(("pattern", "names"), SELECTIONS.items())
def test_a_selection_is_a_glob_of_kind_and_name(pattern: str, names: list[str]) -> None:
    found = matching([ref(name) for name in ("one", "other", "two")], [pattern])
    assert [one.name for one in found] == names


def test_a_selection_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match="nothing matches Entry/x, y"):
        matching([ref("one")], ["Entry/x", "y"])
