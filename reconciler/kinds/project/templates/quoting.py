"""How a value becomes text in a YAML file, so that it stays one value in one place whatever it holds. Pure.

Every expression of a template ends here (`rendering`). Strings are always quoted: digits, `yes`, `1e5` and `null` stay
strings, and no quote, line break, colon or brace in them means anything to YAML.
"""

from __future__ import annotations

import json
from typing import Any

from reconciler.errors import SpecError
from reconciler.model.plain import plain_fault


def quoted(value: Any) -> str:
    """The value as one line of YAML flow style. Raises SpecError for what is no plain data."""
    if fault := plain_fault(value):
        raise SpecError("InvalidTemplate", f"an expression gives no plain value: {fault}")
    text = json.dumps(value, ensure_ascii=False)
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def _is_harmless(character: str) -> bool:
    """Whether YAML takes a character as it is: a line separator or a byte order mark would be more than itself."""
    return character == " " or character.isprintable()


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
