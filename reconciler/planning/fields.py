"""What a kind's schema says about fields: which are immutable. Called by the planner, once a kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.planning.diff import ROOT, join

_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Immutable:
    """A field that cannot be changed in place. path: from `spec`, list members as `[]`.

    where: fields of the spec and the values with which that is so; empty: always.
    """

    path: str
    where: Mapping[str, Sequence[Any]]

    def holds_for(self, spec: Mapping[str, Any]) -> bool:
        """Whether it is so for a resource with this spec."""
        return all(spec.get(name) in values for name, values in self.where.items())


def immutable_fields(schema: Mapping[str, Any]) -> tuple[Immutable, ...]:
    """The properties marked `x-immutable`, also inside lists: `true`, or a mapping of fields to values."""
    return tuple(_walk(ROOT, schema))


def immutable_field(path: str, immutable: tuple[str, ...], before: Any = None) -> str | None:
    """The immutable field that `path` is or lies in, or that goes with `before`, what was at `path`; or None."""
    if not immutable:
        return None
    touched = {_INDEX.sub("[]", one) for one in _paths(path, before)}
    return next((rule for rule in immutable if any(_is_within(one, rule) for one in touched)), None)


def _is_within(path: str, rule: str) -> bool:
    return path == rule or path.startswith((rule + ".", rule + "["))


def _paths(path: str, value: Any) -> Iterator[str]:
    """`path`, and the paths of everything in `value`, which stands there."""
    yield path
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from _paths(join(path, name), member)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _paths(f"{path}[{index}]", member)


def _walk(path: str, schema: Mapping[str, Any]) -> Iterator[Immutable]:
    for name, member in schema.get("properties", {}).items():
        below = join(path, name)
        if mark := member.get("x-immutable"):
            yield Immutable(below, mark if isinstance(mark, Mapping) else {})
        else:
            yield from _walk(below, member)
    if isinstance(schema.get("items"), Mapping):
        yield from _walk(path + "[]", schema["items"])
