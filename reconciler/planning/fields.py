"""What a kind's schema says about fields: which are immutable. Called by the planner, once a kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.planning.diff import ROOT, join

_INDEX = re.compile(r"\[\d+\]")


def immutable_paths(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths (from `spec`) of the properties marked `x-immutable: true`, also inside lists (written `[]`)."""
    return tuple(_walk(ROOT, schema))


def immutable_field(path: str, immutable: tuple[str, ...]) -> str | None:
    """The immutable field that `path` is or lies in, or None."""
    generic = _INDEX.sub("[]", path)
    return next((rule for rule in immutable if generic == rule or generic.startswith((rule + ".", rule + "["))), None)


def _walk(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    for name, member in schema.get("properties", {}).items():
        below = join(path, name)
        if member.get("x-immutable"):
            yield below
        else:
            yield from _walk(below, member)
    if isinstance(schema.get("items"), Mapping):
        yield from _walk(path + "[]", schema["items"])
