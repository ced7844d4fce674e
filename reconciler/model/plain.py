"""Whether a value is plain JSON data: what states and outputs have to be. Asked of everything that a kind returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 100
MAX_NODES = 2_000_000
_SIMPLE = frozenset({bool, int, type(None)})


def plain_fault(value: Any, allowed: tuple[type, ...] = ()) -> str:
    """What is wrong with a value, naming the place and the type but never the content; "" when it is plain data.

    allowed: further types that may stand in it. What holds itself, or is deeper or larger than anybody needs, is no
    plain data either.
    """
    return "" if _is_surely_plain(value, allowed) else _fault(value, allowed)


def _is_surely_plain(value: Any, allowed: tuple[type, ...]) -> bool:
    """Whether it is good and of built-in types throughout, as most values are: that is quick to see, level by level."""
    level, nodes = [value], 0
    for _ in range(MAX_DEPTH):
        nodes += len(level)
        below: list[Any] = []
        for one in level:
            kind = one.__class__
            if kind is str:
                if not one.isascii() and not _is_clean(one):
                    return False
            elif kind is dict:
                for name in one:
                    if name.__class__ is not str or not (name.isascii() or _is_clean(name)):
                        return False
                below += one.values()
            elif kind is list or kind is tuple:
                below += one
            elif kind not in _SIMPLE and kind not in allowed:
                return False
            if nodes + len(below) > MAX_NODES:  # at once, because one list may stand in many places
                return False
        if not below:
            return True
        level = below
    return False


def _fault(value: Any, allowed: tuple[type, ...]) -> str:
    """The same with the place, of whatever types."""
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    nodes = 0
    while waiting:
        one, path = waiting.pop()
        nodes += 1
        if nodes > MAX_NODES or len(path) > MAX_DEPTH:
            return f"it is larger than {MAX_NODES:,} values or deeper than {MAX_DEPTH} levels"
        if isinstance(one, Mapping):
            for name, member in one.items():
                if not isinstance(name, str) or not _is_clean(name):
                    return f"{_place(path)} has a key that is no text"
                waiting.append((member, (*path, name)))
        elif isinstance(one, list | tuple):
            waiting.extend((member, (*path, index)) for index, member in enumerate(one))
        elif fault := _scalar_fault(one, allowed):
            return f"{_place(path)} {fault}"
    return ""


def _scalar_fault(one: Any, allowed: tuple[type, ...]) -> str:
    if isinstance(one, str):
        return "" if one.isascii() or _is_clean(one) else "is text with half of a surrogate pair"
    if one is None or isinstance(one, (int, *allowed)):
        return ""
    if isinstance(one, float):
        return "" if one - one == 0 else "is not a finite number"
    return f"is a {type(one).__name__}"


def _is_clean(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _place(path: tuple[str | int, ...]) -> str:
    """`["a"][0]` of the path's first parts, cut where it would be long."""
    shown = "".join(f"[{part!r}]" if isinstance(part, int) else f"[{part[:40]!r}]" for part in path[:5])
    return f"the value at {shown}" if shown else "it"
