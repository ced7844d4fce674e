"""Durations as people write them (`30s`, `5m`, `1h30m`), in seconds. Used by the loader, the settings and the CLI."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
PATTERN = r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"
_WHOLE = re.compile(PATTERN)


def parse_duration(text: str | float) -> float:
    """Seconds. A bare number means seconds. Raises ValueError for anything else, and for more than a year."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        seconds = float(text)
    elif isinstance(text, str) and len(text) < 64 and _WHOLE.fullmatch(text):
        seconds = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))
    else:
        raise ValueError(f"{text!r} is not a duration: write for example 30s, 5m or 1h30m")
    if not 0 <= seconds <= 366 * 86400:
        raise ValueError(f"{text!r} is not between 0 and a year")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest readable form: `0.4s`, `12s`, `3m20s`, `2h5m`, `3d4h`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for unit, size, smaller, smaller_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size}{unit}" + (f"{rest}{smaller}" if rest else "")
    return f"{whole}s"
