"""Which branches are never touched, whatever a document or a record says. Pure, beside a kind's settings.

Reserved are the names that other things than clusters have, those of the setting `git.reserved`, and what lies where
the archive is. A branch that is not reserved is touched only when the records say that we made it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

RESERVED = ("main", "master", "develop", "release", "devops")
ARCHIVE = "archive"


def reserved_by(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that the settings reserve beside ours; `*` and `?` as in file names."""
    return tuple(settings.get("git", {}).get("reserved", ()))


def why_reserved(branch: str, also: Sequence[str] = ()) -> str:
    """Why a branch is never touched, to be read after its name; "" for one that may be."""
    lowered = branch.lower()
    if branch.partition("/")[0].lower() == ARCHIVE:
        return f"is where archived branches are: nothing below {ARCHIVE}/ is touched"
    if lowered in RESERVED or lowered == "head":
        return "is a reserved name: it is never made, changed or deleted"
    if any(fnmatchcase(branch, pattern) for pattern in also):
        return "is reserved by the setting git.reserved: it is never made, changed or deleted"
    return ""


def archive_tag(branch: str, now: float) -> str:
    """The tag that keeps a branch: archive/BRANCH/YYYYmmdd-HHMMSS, in UTC. now: seconds since the epoch."""
    return f"{archive_prefix(branch)}{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"


def archive_prefix(branch: str) -> str:
    """What the tags begin with that keep a branch."""
    return f"{ARCHIVE}/{branch}/"
