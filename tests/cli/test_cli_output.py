"""What reaches the terminal: colours only where they are wanted, nobody else's control characters, and no secret."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from place import Place, entry
from terminal import terminal

from reconciler.cli.main import cli

MARKER = "marker-4b1d-never-to-be-seen"
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def commands(context: click.Context, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(click.Context(command, info_name=name, parent=context), (*path, name))


@pytest.mark.parametrize("path", list(commands(click.Context(cli, info_name="reconciler"))), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    context, command = click.Context(cli, info_name="reconciler"), cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(context, name)
        assert found is not None
        context, command = click.Context(found, info_name=name, parent=context), found
    text = command.get_help(context)
    assert "Example:\n" in text
    assert " ".join(("reconciler", *path)) in text.partition("Example:")[2]


def test_a_misspelt_command_or_option_is_wrong_usage(place: Place) -> None:
    assert "Did you mean apply?" in place.run("aply", code=64).err
    assert "--no-such-thing" in place.run("plan", "--no-such-thing", code=64).err


def test_settings_that_are_wrong_are_named_with_their_place(place: Place) -> None:
    assert "nowhere.yaml" in place.run("--config", "nowhere.yaml", "get", code=64).err
    path = place.root / "settings.yaml"
    path.write_text("forks: 2\nforkz: 3\n")
    path.chmod(0o600)
    ran = place.run("--config", path, "get", code=64)
    assert f"{path}:2:1: " in ran.err
    assert "forkz" in ran.err


def test_pipes_get_no_colours_and_terminals_do_unless_told_not_to(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    assert "\x1b" not in place.run("plan", place.specs).out
    assert "\x1b" not in place.run("describe", "Entry/none", code=64).err
    for arguments, env, colored in (([], {}, True), (["--no-color"], {}, False), ([], {"NO_COLOR": "1"}, False)):
        for command in (["plan", place.specs], ["describe", "Entry/none"], ["apply", place.specs, "--yes"]):
            with terminal(place, *arguments, *command, **env) as shown:
                shown.end()
            assert ("\x1b" in shown.text) is colored, (command, shown.text)


def test_control_characters_of_others_never_get_through(place: Place) -> None:
    place.write("a.yaml", entry("one", behave="shout"))
    printed = [place.apply(code=1)]
    place.run("suspend", "Entry/one", "--reason", "\x1b[31mred\x9b2J")
    for command in ("describe", "logs", "history", "events"):
        printed.append(place.run(command, *([] if command == "events" else ["Entry/one"])))
    for arguments in (["get", "-o", "wide"], ["get", "-o", "yaml"], ["get", "-o", "json"], ["events", "-o", "json"]):
        printed.append(place.run(*arguments))
    printed.append(place.run("get", "\x1b[31mred", code=64))
    for ran in printed:
        assert RAW.findall(ran.out + ran.err) == [], ran
    assert "the write failed" in printed[0].out


def test_whoever_stops_reading_a_list_sees_no_traceback(place: Place) -> None:
    place.write("a.yaml", *(entry(f"e{number}") for number in range(40)))
    place.apply()
    process = place.start_program("get", "-o", "json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), said) == (0, "")


def test_a_secret_is_nowhere(place: Place) -> None:
    place.settings["SECRETS_ENV"] = "OUR_*"
    place.write("a.yaml", entry("one", {"approval": "manual"}, password={"fromEnv": "OUR_PASSWORD"}))
    env = {"OUR_PASSWORD": MARKER}
    printed = [place.run("-vvv", "plan", place.specs, "--out", "plan.json", env=env)]
    printed.append(place.apply(code=7, env=env))
    place.run("approve", "Entry/one")
    printed.append(place.run("-vvv", "apply", place.specs, "--yes", "-o", "json", env=env))
    for command in ("describe", "history", "logs", "events"):
        printed.append(place.run("-vvv", command, "Entry/one"))
    printed.append(place.run("get", "-o", "yaml"))
    assert place.there().keys() == {"one"}
    assert [ran for ran in printed if MARKER in ran.out + ran.err] == []
    assert holding(place.home) == []
    assert holding(place.specs) == []
    assert MARKER not in (place.root / "plan.json").read_text()


def holding(folder: Path) -> list[str]:
    found = subprocess.run(["grep", "-rlaF", MARKER, str(folder)], capture_output=True, text=True, check=False)
    assert found.returncode == 1 or found.stdout, found.stderr
    return found.stdout.splitlines()
