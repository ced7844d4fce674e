"""Attacks 5, 6 and 13 at the command line: names that are options, shell text, templates and terminal sequences."""

from __future__ import annotations

import json
from functools import partial

import pytest
import yaml
from place import entry, wait_for
from stage import CONTROL, Daemon, Stage

LONG = "x" * 10_000
HOSTILE = ("$(touch pwned)", "--help", "../../etc", "a\nb", "\x1b]0;owned\x07", LONG)


@pytest.mark.parametrize("name", HOSTILE, ids=[ascii(name)[:20] for name in HOSTILE])
def test_a_name_that_is_none_is_refused_in_every_command(stage: Stage, name: str) -> None:
    for command in (("get",), ("create", "entry", "--set", "text=x", "--no-apply")):
        ref = name if command[0] == "create" else f"Entry/{name}"
        ran = stage.run(*command, "--", ref, code=None)
        assert ran.code in (1, 64), (command, ran.code, ran.err[:500])
        assert "internal error" not in ran.err, (command, ran.err[:500])
        assert not CONTROL.search(ran.out + ran.err), (command, ran.err)
    assert stage.rows("SELECT * FROM resources") == []
    assert not list(stage.root.rglob("pwned"))


@pytest.mark.parametrize("specs", ["--help", "-y", "a\x1b[31mb", LONG], ids=["help", "yes", "escape", "long"])
def test_a_spec_folder_that_looks_like_something_else_is_just_a_missing_folder(stage: Stage, specs: str) -> None:
    ran = stage.run("apply", "--yes", "--", specs, code=None)
    assert ran.code == 64, ran
    assert "no such file or folder" in ran.err
    assert "internal error" not in ran.err
    assert not CONTROL.search(ran.err), ran.err


def test_a_folder_called_like_an_option_is_a_folder(stage: Stage) -> None:
    folder = stage.root / "--help"
    folder.mkdir()
    (folder / "-y.yaml").write_text(yaml.safe_dump(entry("one")))
    stage.run("apply", "--yes", "--", "--help")
    assert set(stage.there()) == {"one"}


def test_shell_and_template_text_is_carried_unchanged(stage: Stage) -> None:
    texts = ["$(touch pwned)", "`id`", "a; touch pwned", "${HOME}x", "{% raw %}"]
    written = {f"e{number}": text for number, text in enumerate(texts[:3])}
    stage.write("all.yaml", *(entry(name, text=text) for name, text in written.items()))
    stage.apply()
    assert {name: there["text"] for name, there in stage.there().items()} == written
    assert not list(stage.root.rglob("pwned"))


def test_template_text_from_a_live_system_stays_data(stage: Stage) -> None:
    stage.write("one.yaml", entry("one", text="{{ greeting }}"))
    stage.write("vars.yaml", {"greeting": "hello", "secret": "never-shown"})
    stage.apply()
    for text in ("{{ secret }}{{ 7 * 7 }}", "{% for a in b %}${secret}"):
        stage.put({"one": {**stage.there()["one"], "text": text}})
        (diff,) = stage.plan()["Entry/one"]["diffs"]
        assert (diff["before"], diff["after"]) == (text, "hello")
    stage.apply()
    assert stage.there()["one"]["text"] == "hello"
    kept = b"".join(stage.kept().values())
    assert b"never-shown" not in kept, "a variable that nothing uses is nowhere"


def test_terminal_sequences_of_a_tool_and_of_a_live_system_reach_no_terminal(stage: Stage) -> None:
    escape = "\x1b]0;owned\x07\x1b[2Jgone\x9b31m\r\x00"
    stage.write("all.yaml", entry("loud", behave="shout"), entry("quiet"))
    ran = stage.apply(code=3)
    assert "the write failed" in ran.out
    shown = {"apply": ran}
    stage.put({**stage.there(), "quiet": {**stage.there()["quiet"], "text": escape, escape: "x"}})
    for command in (("plan", stage.specs), ("diff", stage.specs), ("apply", stage.specs, "--yes", "--diff"),
                    ("describe", "Entry/loud"), ("history", "Entry/loud"), ("logs", "Entry/loud"), ("events",),
                    ("get",), ("get", "-o", "yaml"), ("doctor",)):  # fmt: skip
        shown[" ".join(map(str, command))] = stage.run(*command, code=None)
    found = {name: CONTROL.findall(one.out + one.err) for name, one in shown.items()}
    assert not {name: controls for name, controls in found.items() if controls}


def has_failed(daemon: Daemon) -> bool:
    """Whether the daemon told of the loud entry."""
    return "the write failed" in daemon.said


def test_terminal_sequences_do_not_get_into_the_log_of_a_daemon_either(stage: Stage) -> None:
    stage.write("all.yaml", entry("loud", behave="shout"))
    for form in ("console", "json"):
        daemon = stage.daemon(env={"RECONCILER_LOG_FORMAT": form})
        wait_for(partial(has_failed, daemon))
        assert daemon.stop() == 0
        assert not CONTROL.search(daemon.said), (form, daemon.said)


def test_hostile_json_in_set_is_a_usage_or_spec_error(stage: Stage) -> None:
    for value in (
        "text=" + json.dumps({"a": 1}),
        "text.a.b=1",
        "=x",
        "text",
        "tags=[1.0e+400]",
        f"{LONG}=1",
    ):
        ran = stage.run("create", "entry", "one", "--no-apply", "--set", "text=x", "--set", value, code=None)
        assert ran.code in (1, 64), (value[:50], ran.code, ran.err[:500])
        assert "internal error" not in ran.err, (value[:50], ran.err[:500])
        assert len(ran.err) < 3_000
    assert stage.rows("SELECT * FROM resources") == []
