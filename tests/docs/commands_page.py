"""docs/commands.md, generated from the command line itself. Run by a test, and by hand:

python tests/docs/commands_page.py --write
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from reconciler.cli.main import cli

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
_HEAD = """\
# Commands

Generated from the command line by `python tests/docs/commands_page.py --write`; a test compares the two. What each exit
code means stands in [exit-codes.md](exit-codes.md), what `-o json` streams in [json-stream.md](json-stream.md), and
where settings come from in [settings.md](settings.md). Every command has `--help` as well.

SPECS is a folder or a file; where it is left out, the setting `specs` says which. KIND/NAME is a resource, for example
`Cluster/dev`.
"""


def page() -> str:
    """The whole page."""
    root = click.Context(cli, info_name="reconciler")
    parts = [_HEAD, "\n".join(_section(root, 2))]
    parts += ["\n".join(_section(context, 2 + depth)) for context, depth in _below(root, 0)]
    return "\n".join(parts)


def _below(context: click.Context, depth: int) -> Iterator[tuple[click.Context, int]]:
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        yield inner, depth
        if isinstance(command, click.Group):
            yield from _below(inner, depth + 1)


def _section(context: click.Context, level: int) -> Iterator[str]:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text, example = _split(command.help or "")
    yield f"{'#' * level} {context.command_path}\n"
    yield f"`{usage}`\n"
    yield f"{text}\n"
    if example:
        yield f"```text\n{example}\n```\n"
    options = [option for option in command.params if isinstance(option, click.Option)]
    if options:
        yield "| Option | What it does |"
        yield "| --- | --- |"
        yield from (_row(option) for option in options)
        yield ""


def _split(text: str) -> tuple[str, str]:
    """A command's help without its example, and the example."""
    words, _, example = inspect.cleandoc(text).partition("\b\nExample:\n")
    return " ".join(words.split()), inspect.cleandoc(example)


def _row(option: click.Option) -> str:
    names = " / ".join(", ".join(part) for part in (option.opts, option.secondary_opts) if part)
    cell = f"{names} {_value(option)}".rstrip().replace("|", "\\|")
    return f"| `{cell}` | {' '.join((option.help or '').split())} |"


def _value(option: click.Option) -> str:
    """What stands after an option. Written here, so that the page does not change with click's own rendering."""
    if option.is_flag or option.count:
        return ""
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices)
    if isinstance(option.type, click.IntRange):
        most = f"to {option.type.max}" if option.type.max is not None else "or more"
        return f"{option.metavar or 'N'} ({option.type.min} {most})"
    return option.metavar or option.type.name.upper()


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page())
    sys.exit(PAGE.read_text() != page())
