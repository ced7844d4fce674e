"""Words for messages: shortened values, suggestions, field paths, places in text. Used by all that reports input."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

SHOWN = 80
_MAX_CANDIDATES = 500


def shorten(text: str, length: int = SHOWN) -> str:
    """At most `length` printable characters of a text; what is not printable is escaped."""
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return cut if cut.isprintable() else "".join(map(_printable, cut))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def shown_value(value: Any) -> str:
    """A value for a message: scalars shortened and quoted as JSON, of collections only what they are."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f'"{shorten(value)}"'
    return "nothing (null)" if value is None else shorten(json.dumps(value))


def suggestion(wrong: str, candidates: Iterable[str]) -> str:
    """`, did you mean "x"?` for the most similar candidate, else an empty string. Bounded however many there are."""
    close: list[str] = []
    for candidate in candidates:
        if abs(len(candidate) - len(wrong)) <= max(3, len(wrong) // 2):
            close.append(candidate)
        if len(close) == _MAX_CANDIDATES:
            break
    if len(wrong) <= SHOWN and (best := difflib.get_close_matches(wrong, close, 1, 0.6)):
        return f', did you mean "{best[0]}"?'
    return ""


def dotted(path: Sequence[str | int]) -> str:
    """`spec.ports[2].name` for a path. Keys that hold dots or such are quoted in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif 0 < len(part) <= SHOWN and all(character.isalnum() or character in "-_" for character in part):
            text += f".{part}" if text else part
        else:
            text += f'["{shorten(part)}"]'
    return text


def listed(values: Collection[Any], limit: int = 12) -> str:
    """`a, b or c`, cut after `limit` values."""
    words = [value if isinstance(value, str) else json.dumps(value) for value in values]
    if len(words) > limit:
        words = [*words[:limit], f"one of {len(words) - limit} more"]
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part) if words else "nothing"


def place_of(content: bytes, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of a byte offset."""
    before = content[:offset]
    line_start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[line_start:].decode("utf-8", "replace")) + 1


def is_clean(text: str) -> bool:
    """True when a text can be stored and printed: no NUL, no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in text
