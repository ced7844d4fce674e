"""JSON by the interpreter's own C code alone: importing `json` would take longer than all else that a tool does.

Used by the recorded-contract tools, of which every run is a process. Files and answers are as `json` writes them.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Rules:
    """How `json.loads` reads, as the scanner wants to be told."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own


_scan = _json.make_scanner(_Rules)
_encode = _json.make_encoder(None, None, _json.encode_basestring_ascii, None, ": ", ", ", False, False, True)


def loads(text: str | bytes) -> Any:
    """The value of a document. Raises StopIteration or ValueError for what is none."""
    whole = text.decode() if isinstance(text, bytes) else text
    return _scan(whole.strip(), 0)[0]


def dumps(value: Any) -> str:
    """A value as a document on one line."""
    return "".join(_encode(value, 0))
