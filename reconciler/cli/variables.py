"""`-e key=value` and `-e @file`: variables from the command line. Used by every command that loads specs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import yaml

from reconciler.errors import UsageError
from reconciler.transports.yaml_text import load_yaml


def variables_option(function: Any) -> Any:
    """The option `-e`, handed to the command as a parsed mapping."""
    return click.option(
        "-e",
        "--extra-vars",
        "variables",
        multiple=True,
        metavar="KEY=VALUE|@FILE",
        callback=lambda _ctx, _param, given: parse_variables(given),
        help="Set a variable, or read variables from a YAML file.",
    )(function)


def parse_variables(given: Iterable[str]) -> dict[str, Any]:
    """Later ones win. A value is text, as in Ansible; a file is a YAML mapping. Raises UsageError."""
    found: dict[str, Any] = {}
    for entry in given:
        if entry.startswith("@"):
            found.update(_from_file(Path(entry[1:])))
            continue
        name, equals, value = entry.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError("BadVariable", f"-e {entry}: write key=value or @file")
        found[name] = value
    return found


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = load_yaml(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError("BadVariable", f"-e @{path}: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise UsageError("BadVariable", f"-e @{path}: not a mapping of names to values")
    return content
