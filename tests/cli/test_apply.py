"""apply, as real processes: asking, refusing, its recap and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from place import Place, entry
from terminal import terminal


def test_without_a_terminal_and_without_yes_it_refuses(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    ran = place.run("apply", place.specs, code=64)
    assert "apply with --yes" in ran.err
    assert place.there() == {}
    assert place.rows("SELECT * FROM resources") == []
    assert place.rows("SELECT * FROM runs") == []


def test_a_stream_for_programs_asks_nobody(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    with terminal(place, "apply", place.specs, "-o", "json") as shown:
        assert shown.end() == 64
    assert "Carry out" not in shown.text
    assert place.there() == {}


@pytest.mark.parametrize(("keys", "code", "says"), [("n\n", 130, "nothing was changed"), ("\x03", 130, "interrupted")])
def test_whoever_says_no_is_obeyed(place: Place, keys: str, code: int, says: str) -> None:
    place.write("a.yaml", entry("one"))
    with terminal(place, "apply", place.specs) as shown:
        shown.await_text("Carry out these 1 changes? [y/N]")
        assert "+ spec.text: hello" in shown.text
        shown.type(keys)
        assert shown.end() == code
    assert says in shown.text
    assert "Traceback" not in shown.text
    assert place.there() == {}
    assert place.rows("SELECT * FROM resources") == []


def test_whoever_says_yes_is_obeyed_too(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    with terminal(place, "apply", place.specs) as shown:
        shown.await_text("[y/N]")
        shown.type("y\n")
        assert shown.end() == 0
    assert place.there().keys() == {"one"}


def test_nobody_is_asked_when_there_is_nothing_to_do(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    place.apply()
    assert "ok=1" in place.run("apply", place.specs).out


def test_interrupted_in_the_middle_it_ends_in_order(place: Place) -> None:
    place.write("a.yaml", entry("one", seconds=60), entry("two", parent="one"))
    with terminal(place, "apply", place.specs, "--yes") as shown:
        shown.await_text("Write the entry")
        shown.type("\x03")
        assert shown.end() == 130
    assert "Traceback" not in shown.text
    assert place.there() == {}
    assert place.rows("SELECT * FROM runs WHERE state = 'running'") == []
    assert place.rows("SELECT * FROM steps WHERE outcome = 'open'") == []
    assert place.calls("write") == ["write one"]


def test_check_shows_the_plan_and_ends(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    ran = place.run("apply", place.specs, "--check")
    assert "+ Entry/one  create" in ran.out
    assert "RECAP" not in ran.out
    stream = place.run("apply", place.specs, "--dry-run", "-o", "json").stream
    assert [line["type"] for line in stream] == ["version", "plan"]
    assert [change["ref"] for change in stream[1]["plan"]["changes"]] == ["Entry/one"]
    assert place.calls() == []


def test_differences_are_shown_only_when_asked_for(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    place.apply()
    place.write("a.yaml", entry("one", text="new"))
    assert "hello -> new" in place.apply("--diff").out
    place.write("a.yaml", entry("one", text="newer"))
    assert "new -> newer" not in place.apply().out


def test_the_stream_tells_every_step_and_ends_with_the_recap(place: Place) -> None:
    place.write("a.yaml", entry("good"), entry("bad", behave="fail"), entry("after", parent="bad"))
    stream = place.apply("-o", "json", code=3).stream
    steps = [line["step"] for line in stream if line["type"] == "step_started" and line["ref"] == "Entry/good"]
    assert steps == ["number", "write", "stamp"]
    verdicts = {line["ref"]: line["verdict"] for line in stream if line["type"] == "change_ended"}
    assert verdicts == {"Entry/good": "changed", "Entry/bad": "failed", "Entry/after": "skipped"}
    counts = stream[-1]["targets"]["file"]
    assert counts == {**dict.fromkeys(counts, 0), "changed": 1, "failed": 1, "skipped": 1}


def test_exit_codes_of_apply(place: Place) -> None:
    place.write("a.yaml", entry("one", behave="fail"))
    place.apply(code=1)
    place.write("a.yaml", entry("one", behave="observe-unreachable"))
    assert "unreachable=1" in place.apply(code=6).out
    place.write("a.yaml", entry("one", {"approval": "manual"}))
    assert "blocked=1" in place.apply(code=7).out


def test_forks_limit_how_many_changes_run_at_a_time(place: Place) -> None:
    place.write("a.yaml", *(entry(f"e{number}", seconds=0.3) for number in range(3)))
    kinds = [line["type"] for line in place.apply("-o", "json", "--forks", "1").stream]
    turns = [kind for kind in kinds if kind.startswith("change_")]
    assert turns == ["change_started", "change_ended"] * 3
    assert "0" in place.apply("--forks", "0", code=64).err


def test_what_vanished_is_kept_until_somebody_says_prune(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    place.write("b.yaml", entry("two"))
    place.apply()
    (place.specs / "b.yaml").unlink()
    place.apply()
    place.settings["PRUNE"] = "true"
    place.apply("--no-prune")
    assert place.there().keys() == {"one", "two"}
    del place.settings["PRUNE"]
    place.apply("--prune")
    assert place.there().keys() == {"one"}


def test_too_many_deletes_stop_and_ask(place: Place) -> None:
    names = [f"e{number}" for number in range(7)]
    place.write("a.yaml", entry("stays"))
    place.write("b.yaml", *(entry(name) for name in names))
    place.apply()
    (place.specs / "b.yaml").unlink()
    assert "--max-deletes" in place.apply("--prune", code=7).out
    assert place.there().keys() == {"stays", *names}
    place.apply("--prune", "--max-deletes", "7")
    assert place.there().keys() == {"stays"}


def test_a_broken_spec_stops_everything_unless_told_to_go_on(place: Place) -> None:
    place.write("a.yaml", entry("good"))
    (place.specs / "b.yaml").write_text("kind: [\n")
    ran = place.apply(code=1)
    assert "b.yaml:" in ran.err
    assert "nothing was changed" in ran.err
    assert place.there() == {}
    assert "b.yaml:" in place.apply("--keep-going").err
    assert place.there().keys() == {"good"}


def test_variables_from_the_command_line(place: Place) -> None:
    place.write("a.yaml", entry("one", text="{{ greeting }} {{ whom }}"))
    more = place.root / "more.yaml"
    more.write_text("greeting: hello\nwhom: world\n")
    assert "greeting" in place.apply(code=1).err
    place.apply("-e", f"@{more}", "-e", "whom=you")
    assert place.there()["one"]["text"] == "hello you"
    assert "write key=value or @file" in place.apply("-e", "whom", code=64).err
    assert "nowhere.yaml" in place.apply("-e", "@nowhere.yaml", code=64).err


def test_whoever_stops_reading_stops_nothing(place: Place) -> None:
    names = [f"e{number}" for number in range(30)]
    place.write("a.yaml", *(entry(name) for name in names))
    process = place.start_program("apply", place.specs, "--yes")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0, said
    assert said == ""
    assert place.there().keys() == set(names)


def owned(place: Place) -> tuple[str, Path]:
    place.run("create", "entry", "one", "--set", "text=from the command line")
    return "one", place.write("a.yaml", entry("one"))


def test_a_second_owner_is_an_error_that_names_both(place: Place) -> None:
    name, path = owned(place)
    said = place.apply(code=1).err
    assert "is owned by api" in said
    assert str(path.relative_to(place.root)) in said
    assert place.there()[name]["text"] == "from the command line"


def test_what_is_protected_stays(place: Place) -> None:
    protected: dict[str, Any] = {"deletion": "protect"}
    place.write("a.yaml", entry("one", protected), entry("two"))
    place.write("b.yaml", entry("three"))
    place.apply()
    place.write("a.yaml", entry("two", text="new"))
    assert "protect" in place.apply("--prune", code=3).out
    assert place.there()["two"]["text"] == "new"
    place.apply("--prune", code=7)
    assert place.there().keys() == {"one", "two", "three"}
