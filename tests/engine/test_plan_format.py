"""Plan files: documented, whole, unedited, and stale exactly when what they were computed from moved."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from inside import Inside
from place import Place, entry

from reconciler.engine import plan_format
from reconciler.errors import StalePlanError, UsageError

Opened = Callable[..., Inside]
SCHEMA = json.loads(files("reconciler.engine").joinpath("plan.schema.json").read_text())


@pytest.fixture
def engine(place: Place, opened: Opened) -> Inside:
    place.settings["SECRETS_ENV"] = "ENTRY_*"
    place.write("base.yaml", entry("base"))
    place.write("top.yaml", entry("top", parent="base"))
    place.write("other.yaml", entry("other"))
    engine = opened()
    engine.apply()
    return engine


def written(engine: Inside, path: Path, *refs: str) -> dict[str, Any]:
    plan_format.write_file(engine.plan(*refs).plan, path, str(path.parent))
    return plan_format.read_file(path)


def all_sorts(place: Place, opened: Opened) -> Inside:
    """A plan with a change of every action and obstacle."""
    first = [entry(name, color="red") for name in ("same", "updated", "replaced", "forbidden", "away", "kept", "gone")]
    place.write("a.yaml", *first, entry("held", {"deletion": "protect"}))
    engine = opened()
    engine.apply()
    place.write(
        "a.yaml",
        entry("same", color="red"),
        entry("updated", color="red", text="new", tags=["a", "b"]),
        entry("replaced", {"replace": "allow"}, color="blue"),
        entry("forbidden", color="blue"),
        entry("away", {"state": "absent"}, color="red"),
        entry("kept", {"state": "absent", "deletion": "orphan"}, color="red"),
        entry("held", {"state": "absent", "deletion": "protect"}),
        entry("new", color="red"),
        entry("inner", inside="new"),
        entry("asking", {"approval": "manual"}),
        entry("waiting", parent="asking"),
        entry("told", {"mode": "notify"}),
        entry("left", {"suspend": True}),
        entry("dark", target="dark", behave="observe-unreachable"),
    )
    return engine


def test_a_plan_of_all_sorts_is_as_its_schema_says(place: Place, opened: Opened) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = plan_format.to_json(all_sorts(place, opened).plan(prune=False).plan, "/specs")
    jsonschema.validate(document, SCHEMA)
    found = {change["ref"].removeprefix("Entry/"): change for change in document["changes"]}
    assert "same" not in found
    assert document["unchanged"] == 1
    assert {change["action"] for change in document["changes"]} == {"noop", "create", "update", "replace", "delete"}
    kinds = {change["obstacle"]["kind"] for change in document["changes"] if change["obstacle"]}
    assert kinds == {"blocked", "unknown", "waiting", "suspended", "notify", "vanished"}
    assert (found["kept"]["orphan"], found["inner"]["conditional"]) == (True, True)
    assert re.search(r"/a\.yaml:\d+:1$", found["new"]["place"])
    assert [entry_["path"] for entry_ in found["updated"]["diffs"]] == ["spec.text", "spec.tags"]


def test_every_property_of_the_schema_is_described() -> None:
    def walk(schema: Any, path: str) -> None:
        for name, member in schema.get("properties", {}).items():
            assert member.get("description") or "const" in member, f"{path}.{name}"
            walk(member, f"{path}.{name}")
        for below in ("items", "additionalProperties"):
            if isinstance(schema.get(below), dict):
                walk(schema[below], path)
        for choice in schema.get("oneOf", ()):
            walk(choice, path)

    walk(SCHEMA, "plan")


def test_a_plan_file_is_its_owners_and_valid(engine: Inside, place: Place, tmp_path: Path) -> None:
    place.write("other.yaml", entry("other", text="new"))
    path = tmp_path / "plan.json"
    document = written(engine, path)
    jsonschema.validate(document, SCHEMA)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one for one in tmp_path.iterdir() if one.name.startswith(".plan")] == []
    written(engine, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_plan_file_that_cannot_be_written_is_an_error_that_names_it(engine: Inside, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere/plan\.json"):
        plan_format.write_file(engine.plan().plan, tmp_path / "nowhere" / "plan.json", "")


def edited_reason(document: dict[str, Any]) -> None:
    document["changes"][0]["why"] = "another"


def without_a_change(document: dict[str, Any]) -> None:
    document["changes"] = []


def another_format(document: dict[str, Any]) -> None:
    document["format"] = "reconciler.dev/plan/v9"


def without_a_digest(document: dict[str, Any]) -> None:
    del document["digest"]


@pytest.mark.parametrize("edit", [edited_reason, without_a_change, another_format, without_a_digest])
def test_an_edited_plan_file_is_refused(
    engine: Inside, place: Place, tmp_path: Path, edit: Callable[[dict[str, Any]], None]
) -> None:
    place.write("other.yaml", entry("other", text="new"))
    path = tmp_path / "plan.json"
    written(engine, path)
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError) as caught:
        plan_format.read_file(path)
    assert caught.value.reason == "NotAPlan"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"5", b'"x"', b"{}", b"\xff\xfe", b'{"digest": 1, "format": []}']
)
def test_what_is_no_plan_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"plan\.json"):
        plan_format.read_file(path)
    with pytest.raises(UsageError, match="missing"):
        plan_format.read_file(tmp_path / "missing.json")


def test_a_reformatted_plan_file_is_the_same_plan(engine: Inside, place: Place, tmp_path: Path) -> None:
    place.write("other.yaml", entry("other", text="new"))
    path = tmp_path / "plan.json"
    document = written(engine, path)
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True, indent=7))
    assert plan_format.read_file(path) == document


def drift_of_it(place: Place) -> None:
    place.put({**place.there(), "top": {"text": "by hand"}})


def its_spec(place: Place) -> None:
    place.write("top.yaml", entry("top", parent="base", text="newer"))


def its_life_cycle(place: Place) -> None:
    place.write("top.yaml", entry("top", {"interval": "9m"}, parent="base", text="new"))


def drift_of_its_dependency(place: Place) -> None:
    place.put({**place.there(), "base": {"text": "by hand"}})


def the_spec_of_its_dependency(place: Place) -> None:
    place.write("base.yaml", entry("base", text="newer"))


def it_is_suspended(place: Place) -> None:
    place.write("top.yaml", entry("top", {"suspend": True}, parent="base", text="new"))


def it_is_gone(place: Place) -> None:
    (place.specs / "top.yaml").unlink()


def it_was_done(place: Place) -> None:
    place.put({**place.there(), "top": {"text": "new"}})


STALE = [
    drift_of_it,
    its_spec,
    its_life_cycle,
    drift_of_its_dependency,
    the_spec_of_its_dependency,
    it_is_suspended,
    it_is_gone,
    it_was_done,
]


@pytest.mark.parametrize("move", STALE, ids=lambda move: move.__name__)
def test_a_plan_file_is_stale_when_something_that_it_was_computed_from_moved(
    engine: Inside, place: Place, tmp_path: Path, move: Callable[[Place], None]
) -> None:
    place.write("top.yaml", entry("top", parent="base", text="new"))
    document = written(engine, tmp_path / "plan.json")
    assert plan_format.restrict(engine.plan().plan, document).effective
    move(place)
    with pytest.raises(StalePlanError, match=r"Entry/(top|base)") as caught:
        plan_format.restrict(engine.plan().plan, document)
    assert caught.value.exit_code == 4


def nothing(place: Place) -> None:
    return None


def another_resource(place: Place) -> None:
    place.write("other.yaml", entry("other", text="newer"))
    place.put({**place.there(), "other": {"text": "by hand"}})


def a_new_resource(place: Place) -> None:
    place.write("new.yaml", entry("new"))


def a_resource_that_went(place: Place) -> None:
    (place.specs / "other.yaml").unlink()


def a_field_that_nobody_names(place: Place) -> None:
    there = place.there()
    place.put({**there, "top": {**there["top"], "size": 99}})


def its_place_in_the_file(place: Place) -> None:
    place.write("top.yaml", entry("another"), entry("top", parent="base", text="new"))


FRESH = [
    nothing,
    another_resource,
    a_new_resource,
    a_resource_that_went,
    a_field_that_nobody_names,
    its_place_in_the_file,
]


@pytest.mark.parametrize("move", FRESH, ids=lambda move: move.__name__)
def test_nothing_unrelated_makes_a_plan_file_stale(
    engine: Inside, place: Place, tmp_path: Path, move: Callable[[Place], None]
) -> None:
    place.write("top.yaml", entry("top", parent="base", text="new"))
    document = written(engine, tmp_path / "plan.json", "Entry/top", "Entry/base")
    move(place)
    found = plan_format.restrict(engine.plan().plan, document)
    assert [change.ref.name for change in found.changes] == ["top"]


def test_a_plan_for_nothing_stays_a_plan_for_nothing(engine: Inside, place: Place, tmp_path: Path) -> None:
    document = written(engine, tmp_path / "plan.json")
    place.write("other.yaml", entry("other", text="new"))
    assert plan_format.restrict(engine.plan().plan, document).changes == ()
