"""The cells of a Table: what a column is called and how it is read from an object. Pure; the columns themselves are in
`tables` and `workload_tables`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Value = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """One column: its title, how to read it, and whether only `-o wide` shows it."""

    name: str
    read: Callable[[Value], Any]
    type: str = "string"
    format: str = ""
    wide: bool = False


def human_age(seconds: float) -> str:
    """A duration with one or two units, as kubectl writes ages."""
    whole = max(int(seconds), 0)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


def age_of(timestamp: Any) -> str:
    """How long ago an RFC 3339 time was."""
    if not isinstance(timestamp, str) or not timestamp:
        return "<unknown>"
    try:
        then = datetime.datetime.fromisoformat(timestamp)
    except ValueError:
        return "<invalid>"
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return human_age((datetime.datetime.now(datetime.UTC) - then).total_seconds())


def at(path: str, default: Any = "") -> Callable[[Value], Any]:
    """A reader of the field at a dotted path."""
    parts = path.split(".")

    def read(value: Value) -> Any:
        found: Any = value
        for part in parts:
            found = found.get(part) if isinstance(found, Mapping) else None
        return default if found is None else found

    return read


def count(*paths: str) -> Callable[[Value], int]:
    """A reader of how many elements the fields at these paths have together."""
    return lambda value: sum(len(at(path, ())(value)) for path in paths)


NAME = Cell("Name", at("metadata.name"), format="name")
AGE = Cell("Age", lambda value: age_of(at("metadata.creationTimestamp")(value)))
NONE = "<none>"


def selector(path: str) -> Callable[[Value], str]:
    """A reader of the labels at a path, as `a=b,c=d`."""

    def read(value: Value) -> str:
        pairs = at(path, {})(value)
        return ",".join(f"{key}={one}" for key, one in sorted(pairs.items())) or NONE

    return read
