"""How long to wait when a server says that it was asked too often. Pure; called by `http`.

GitHub answers 403 or 429 with `x-ratelimit-remaining: 0` and the moment of `x-ratelimit-reset`, or with `retry-after`,
or only with words about a secondary limit (documentation: "Rate limits for the REST API"). GitLab answers 429 with
`Retry-After` or `RateLimit-Reset`, and some of its limits with neither (documentation: "Rate limits").
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST_PAUSE = 3600.0
_DEFAULT_PAUSE = 60.0


def pause_of(status: int, headers: Mapping[str, str], said: str, now: float) -> float | None:
    """Seconds to wait, 1 to 3600; None when it is not a limit that was met.

    headers: by name, whatever the case. said: the words of the answer. now: seconds since the epoch.
    """
    known = {name.lower(): value.strip() for name, value in headers.items()}
    is_used_up = known.get("x-ratelimit-remaining") == "0" or "rate limit" in said.lower()
    if status != 429 and not (status == 403 and (is_used_up or "retry-after" in known)):
        return None
    their_now = _moment(known.get("date", ""), now)
    return min(max(_wanted(known, their_now), 1.0), LONGEST_PAUSE)


def _wanted(known: Mapping[str, str], now: float) -> float:
    after = known.get("retry-after", "")
    if after.isdigit():
        return float(after[:9])
    if after:
        return _moment(after, now + _DEFAULT_PAUSE) - now
    for name in ("x-ratelimit-reset", "ratelimit-reset"):
        if known.get(name, "").isdigit():
            return float(known[name][:12]) - now + 1.0
    return _DEFAULT_PAUSE


def _moment(date: str, otherwise: float) -> float:
    """A date as HTTP writes it, in seconds since the epoch."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return otherwise
