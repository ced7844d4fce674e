"""get, describe, history, logs, events; create, delete, approve, suspend, resume: as real processes."""

from __future__ import annotations

import threading

import pytest
import yaml
from place import Place, entry
from terminal import terminal


@pytest.fixture
def applied(place: Place) -> Place:
    """Two entries that are there."""
    document = entry("two")
    document["metadata"]["labels"] = {"env": "dev"}
    place.write("a.yaml", entry("one"), document)
    place.apply()
    return place


def test_get_prints_what_it_is_asked_to(applied: Place) -> None:
    assert applied.run("get", "-o", "name").out.split() == ["Entry/one", "Entry/two"]
    assert applied.run("get", "-l", "env=dev", "-o", "name").out.split() == ["Entry/two"]
    assert [one["ref"] for one in applied.run("get", "-o", "json").json["items"]] == ["Entry/one", "Entry/two"]
    assert yaml.safe_load(applied.run("get", "Entry/one", "-o", "yaml").out)["ready"] == "True"
    assert applied.run("get").out.splitlines()[0].split() == ["RESOURCE", "READY", "REASON", "GEN", "CHECKED", "AGE"]
    wide = applied.run("get", "Entry", "-o", "wide").out.splitlines()
    assert wide[0].split()[-2:] == ["PLACE", "MESSAGE"]
    assert "a.yaml:1" in wide[1]
    for what in ("Entry/none", "Nothing"):
        assert f"nothing matches {what}" in applied.run("get", what, code=64).err


def test_an_empty_store_is_no_error(place: Place) -> None:
    ran = place.run("get")
    assert ran.out == ""
    assert "Write a spec" in ran.err


@pytest.mark.parametrize("output", ["name", "table"])
def test_a_watch_prints_what_changes(applied: Place, output: str) -> None:
    process = applied.start_program("get", "-w", "-o", output)
    deadline = threading.Timer(60, process.kill)
    deadline.start()
    try:
        assert process.stdout is not None
        shown = [process.stdout.readline() for _ in range(2 if output == "name" else 3)]
        applied.run("suspend", "Entry/two", "--reason", "lunch")
        applied.write("b.yaml", entry("three"))
        applied.apply("--limit", "Entry/three")
        while shown[-1] and not shown[-1].startswith("Entry/three"):
            shown.append(process.stdout.readline())
        assert shown[-1], "it ended"
    finally:
        deadline.cancel()
        deadline.join()
        process.terminate()
        process.communicate(timeout=60)
    assert "RESOURCE" not in "".join(shown[1:])


def test_a_resource_tells_of_itself(applied: Place) -> None:
    text = applied.run("describe", "Entry/one").out
    for part in ("Entry/one", "Ready", "text: hello", "last changes:", "create"):
        assert part in text
    (change,) = applied.run("history", "Entry/one", "-o", "json").json
    assert (change["action"], change["verdict"]) == ("create", "changed")
    assert "create  changed" in applied.run("history", "Entry/one").out
    assert "writing one" in applied.run("logs", "Entry/one").out
    events = applied.run("events", "Entry/one", "-o", "json").stream
    assert {line["resource"] for line in events[1:]} == {"Entry/one"}
    assert len(applied.run("events", "-n", "1").out.splitlines()) == 1
    for command in ("describe", "history", "logs"):
        assert "error: " in applied.run(command, "Entry/none", code=64).err


def test_an_approval_lets_one_change_through(place: Place) -> None:
    place.write("a.yaml", entry("one", {"approval": "manual"}))
    place.apply(code=7)
    assert "reconciler approve Entry/one" in place.run("describe", "Entry/one").out
    place.run("approve", "Entry/one")
    place.apply()
    assert place.there().keys() == {"one"}
    place.write("a.yaml", entry("one", {"approval": "manual"}, text="new"))
    place.apply(code=7)
    assert place.there()["one"]["text"] == "hello"
    assert "there is no" in place.run("approve", "Entry/none", code=64).err


def test_an_approved_plan_file_lets_its_own_changes_through(place: Place) -> None:
    place.write("a.yaml", entry("one", {"approval": "manual"}), entry("two", {"approval": "manual"}))
    place.run("plan", place.specs, "--limit", "Entry/one", "--out", "plan.json")
    place.apply(code=7)
    assert place.run("approve", "plan.json").out == "Entry/one: approved\n"
    place.apply(code=3)
    assert place.there().keys() == {"one"}, "the other one was in no plan that was approved"


def test_a_suspended_resource_is_left_alone_until_it_is_resumed(applied: Place) -> None:
    applied.run("suspend", "Entry/one", "--reason", "debugging", "--until", "2h")
    applied.put({})
    applied.apply("--limit", "Entry/one")
    assert applied.there() == {}
    text = applied.run("describe", "Entry/one").out
    assert "debugging" in text
    assert "until" in text
    assert (
        "is over already" in applied.run("suspend", "Entry/one", "--reason", "x", "--until", "2001-01-01", code=64).err
    )
    applied.run("resume", "Entry/one")
    assert "not suspended" in applied.run("resume", "Entry/one", code=64).err
    applied.apply("--limit", "Entry/one")
    assert applied.there().keys() == {"one"}


def test_what_the_command_line_made_it_deletes(place: Place) -> None:
    place.run("create", "entry", "one", "--set", "text=hello", "--set", "size=3", "-l", "env=dev")
    assert place.there() == {"one": {"text": "hello", "size": 3}}
    assert "exists already, owned by api" in place.run("create", "Entry", "one", "--set", "text=x", code=7).err
    assert "nobody can be asked" in place.run("delete", "Entry/one", code=64).err
    with terminal(place, "delete", "Entry/one") as shown:
        shown.await_text("[y/N]")
        shown.type("n\n")
        assert shown.end() == 130
    assert place.there().keys() == {"one"}
    place.run("delete", "Entry/one", "--yes")
    assert place.there() == {}


def test_what_is_protected_or_stands_in_a_file_is_not_deleted(place: Place) -> None:
    place.run("create", "entry", "kept", "--set", "text=hello", "--protect")
    assert "is protected" in place.run("delete", "Entry/kept", "--yes", code=7).err
    path = place.write("a.yaml", entry("written"))
    place.apply("--limit", "Entry/written")
    assert str(path) in place.run("delete", "Entry/written", "--yes", code=7).err
    assert place.there().keys() == {"kept", "written"}
