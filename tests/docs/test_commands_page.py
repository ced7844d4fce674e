"""Every command, option and example of the command line stands in docs/commands.md, as it is."""

from __future__ import annotations

import difflib

import click
import commands_page
import pytest

from reconciler.cli.main import cli


def test_the_page_is_what_the_command_line_says() -> None:
    written, wanted = commands_page.PAGE.read_text(), commands_page.page()
    difference = "\n".join(difflib.unified_diff(written.splitlines(), wanted.splitlines(), "page", "is", lineterm=""))
    advice = "put it right with: python tests/docs/commands_page.py --write"
    assert written == wanted, f"{difference}\n{advice}"


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_every_command_has_a_section_an_example_and_words_for_each_option(name: str) -> None:
    context = click.Context(cli, info_name="reconciler")
    command = cli.get_command(context, name)
    assert command is not None
    section = commands_page.page().partition(f"\n## reconciler {name}\n")[2].partition("\n## ")[0]
    assert section
    assert f"reconciler {name}" in section.partition("```text\n")[2].partition("```")[0], "no example"
    silent = [option.name for option in command.params if isinstance(option, click.Option) and not option.help]
    assert silent == []
