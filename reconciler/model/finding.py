"""What a look at everything that may be wrong found: made by `reconciler doctor` and by kinds that offer `Checks`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. remedy: what to do, "" when nothing has to be done."""

    level: Level
    subject: str
    message: str
    remedy: str = ""
