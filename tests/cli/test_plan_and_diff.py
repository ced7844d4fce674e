"""plan, diff and plan files, as real processes: exit codes, selections, and what makes a plan stale."""

from __future__ import annotations

import json
import stat
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from place import Place, entry

SCHEMA = json.loads(files("reconciler.engine").joinpath("plan.schema.json").read_text())


def labelled(name: str, **labels: str) -> dict[str, Any]:
    document = entry(name)
    document["metadata"]["labels"] = labels
    return document


@pytest.fixture
def applied(place: Place) -> Place:
    """Three entries that are there: `top` needs `base`, `other` needs nothing."""
    place.write("base.yaml", entry("base"))
    place.write("top.yaml", entry("top", parent="base"))
    place.write("other.yaml", entry("other"))
    place.apply()
    return place


def test_detailed_exit_codes_of_plan(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    assert place.run("plan", place.specs).code == 0
    place.run("plan", place.specs, "--detailed-exitcode", code=2)
    place.apply()
    place.run("plan", place.specs, "--detailed-exitcode", code=0)
    place.write("b.yaml", entry("two", text=5))
    ran = place.run("plan", place.specs, "--detailed-exitcode", code=1)
    assert "b.yaml:6:" in ran.err


def test_exit_codes_of_diff(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    assert "+ spec.text: hello" in place.run("diff", place.specs, code=1).out
    place.apply()
    assert place.run("diff", place.specs, code=0).out == ""
    place.write("b.yaml", entry("two", text=5))
    place.run("diff", place.specs, code=2)


def test_diff_never_ends_with_one_for_an_error(place: Place) -> None:
    assert place.run("diff", place.root / "nowhere", code=64).out == ""
    place.write("a.yaml", entry("one"))
    place.database_file.write_bytes(b"this is no database" * 100)
    assert place.run("diff", place.specs, code=8).out == ""


def test_a_mistake_of_ours_is_no_difference(place: Place) -> None:
    (place.root / "sitecustomize.py").write_text(
        "import reconciler.loading.loader as loader\ndef broken(self): raise ZeroDivisionError('oops')\n"
        "loader.Loader.load = broken\n"
    )
    path = f"{place.root}:{place.environ['PYTHONPATH']}"
    ran = place.run("diff", place.specs, code=2, env={"PYTHONPATH": path})
    assert "internal error: ZeroDivisionError: oops" in ran.err


def test_what_could_not_be_looked_at_is_said_by_its_own_code(place: Place) -> None:
    place.write("a.yaml", entry("one", behave="observe-unreachable"))
    assert "nobody answers" in place.run("plan", place.specs, code=6).out
    assert "nobody answers" in place.run("diff", place.specs, code=6).err


def test_a_selection_that_matches_nothing_is_an_error(place: Place) -> None:
    place.write("a.yaml", labelled("one", env="dev"))
    for selection in (["--limit", "Entry/nothing-*"], ["-l", "env=prod"]):
        for command in ("plan", "diff", "apply"):
            ran = place.run(command, place.specs, *selection, code=64)
            assert ran.out == ""
            assert "error: " in ran.err
    assert place.there() == {}


def test_a_selection_by_glob_and_by_label(place: Place) -> None:
    place.write("a.yaml", labelled("dev-a", env="dev", tier="x"), labelled("dev-b", env="dev"), labelled("prod"))
    assert place.plan("--limit", "Entry/dev-*").keys() == {"Entry/dev-a", "Entry/dev-b"}
    assert place.plan("--limit", "Entry/dev-a", "--limit", "Entry/prod").keys() == {"Entry/dev-a", "Entry/prod"}
    assert place.plan("-l", "env=dev,tier=x").keys() == {"Entry/dev-a"}
    assert place.plan("-l", "env=dev", "--limit", "Entry/*-b").keys() == {"Entry/dev-b"}
    place.apply("-l", "env=dev")
    assert place.there().keys() == {"dev-a", "dev-b"}
    assert "write label=value" in place.run("plan", place.specs, "-l", "env", code=64).err


def test_a_plan_as_json_is_as_its_schema_says(applied: Place) -> None:
    applied.write("base.yaml", entry("base", text="new"))
    applied.write("new.yaml", entry("new", {"approval": "manual"}))
    document = applied.run("plan", applied.specs, "-o", "json").json
    jsonschema.validate(document, SCHEMA)
    assert [change["ref"] for change in document["changes"]] == ["Entry/base", "Entry/new"]


def test_a_plan_changes_nothing(applied: Place) -> None:
    applied.write("base.yaml", entry("base", text="new"))
    applied.write("new.yaml", entry("new"))
    before = state(applied)
    for command in ("plan", "plan -o json", "diff", "apply --check", "apply --dry-run --yes"):
        name, *arguments = command.split()
        applied.run(name, applied.specs, *arguments, code=None)
        assert state(applied) == before, command


def state(place: Place) -> tuple[Any, ...]:
    """The live system, byte for byte, what was called, and every row of the store."""
    tables = [row["name"] for row in place.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    assert "resources" in tables
    rows = {name: place.rows(f"SELECT * FROM {name}") for name in tables}
    return place.live.read_bytes(), place.calls(), rows


# -- plan files


def planned(place: Place, *arguments: str) -> Path:
    path = place.root / "plan.json"
    place.run("plan", place.specs, "--out", path, *arguments)
    return path


def test_a_plan_file_is_carried_out_exactly_and_once(applied: Place) -> None:
    applied.write("base.yaml", entry("base", text="new"))
    path = planned(applied)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    jsonschema.validate(json.loads(path.read_text()), SCHEMA)
    assert "changed=1" in applied.run("apply", path).out
    assert applied.there()["base"]["text"] == "new"
    calls = applied.calls()
    assert "error: " in applied.run("apply", path, code=4).err
    assert applied.calls() == calls


def test_a_plan_file_is_used_up_even_where_everything_is_as_it_was_again(applied: Place) -> None:
    applied.write("base.yaml", entry("base", text="new"))
    before = applied.there()
    path = planned(applied)
    applied.run("apply", path)
    applied.put(before)
    applied.run("apply", path, code=4)
    assert applied.there() == before


@pytest.mark.parametrize("what", ["edit", "drift", "dependency"])
def test_a_plan_is_stale_once_what_it_was_computed_from_moved(applied: Place, what: str) -> None:
    applied.write("top.yaml", entry("top", parent="base", text="new"))
    path = planned(applied)
    if what == "edit":
        applied.write("top.yaml", entry("top", parent="base", text="newer"))
    elif what == "drift":
        applied.put({**applied.there(), "top": {"text": "by hand"}})
    else:
        applied.write("base.yaml", entry("base", text="also new"))
    live = applied.there()
    ran = applied.run("apply", path, code=4)
    assert "moved" in ran.err
    assert applied.there() == live
    assert "Entry/top" in applied.run("plan", path).out


def test_nothing_unrelated_makes_a_plan_stale(applied: Place) -> None:
    applied.write("top.yaml", entry("top", parent="base", text="new"))
    path = planned(applied)
    applied.write("other.yaml", entry("other", text="changed meanwhile"))
    applied.write("another.yaml", entry("another"))
    applied.run("apply", path)
    assert {name: one["text"] for name, one in applied.there().items()} == {
        "base": "hello",
        "top": "new",
        "other": "hello",
    }


def test_an_edited_plan_file_is_refused(applied: Place) -> None:
    applied.write("base.yaml", entry("base", text="new"))
    path = planned(applied)
    path.write_text(path.read_text().replace('"new"', '"newer"'))
    for command in ("apply", "plan"):
        assert "it was edited" in applied.run(command, path, code=64).err
    path.write_text("{}")
    assert "is not a plan file" in applied.run("apply", path, code=64).err
    assert applied.there()["base"]["text"] == "hello"


def test_a_plan_file_of_a_part_carries_out_that_part(applied: Place) -> None:
    applied.write("base.yaml", entry("base", text="new"))
    applied.write("other.yaml", entry("other", text="new"))
    path = planned(applied, "--limit", "Entry/other")
    applied.run("apply", path)
    assert {name: one["text"] for name, one in applied.there().items()} == {
        "base": "hello",
        "top": "hello",
        "other": "new",
    }
