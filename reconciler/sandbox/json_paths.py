"""The part of JSONPath that printer columns use: fields, indexes, `[*]`, equality filters. Pure; used by `tables`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_STEP = re.compile(
    r"""
    \.(?P<field>(?:\\.|[^.\[\\])+)
    | \[(?P<index>-?\d+)\]
    | \[(?P<all>\*)\]
    | \[['"](?P<quoted>[^'"]*)['"]\]
    | \[\?\(@\.(?P<key>[^=!\s)]+)\s*==\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]
    """,
    re.VERBOSE,
)


def find(value: Any, path: str) -> list[Any]:
    """Every value at `path` (`.status.conditions[?(@.type=="Ready")].status`); [] also when it is not understood."""
    path = path.strip().removeprefix("$")
    path = path if path.startswith((".", "[")) else f".{path}"
    found, at = [value], 0
    while at < len(path):
        matched = _STEP.match(path, at)
        if matched is None:
            return []
        found = [deeper for one in found for deeper in _follow(one, matched)]
        at = matched.end()
    return found


def _follow(value: Any, step: re.Match[str]) -> list[Any]:
    name = step["field"] if step["field"] is not None else step["quoted"]
    if name is not None:
        name = re.sub(r"\\(.)", r"\1", name)
        return [value[name]] if isinstance(value, Mapping) and name in value else []
    if step["all"] is not None:
        return list(value.values()) if isinstance(value, Mapping) else list(value) if isinstance(value, list) else []
    if not isinstance(value, list):
        return []
    if step["index"] is not None:
        index = int(step["index"])
        return [value[index]] if -len(value) <= index < len(value) else []
    wanted = step["value"].strip("'\"")
    return [one for one in value if isinstance(one, Mapping) and _text(one.get(step["key"])) == wanted]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
