"""What the marker of a pause says: who paused the rsync of a node, why, and since when. Pure. For `rsync_control`.

Both reasons can be in force at once. The marker is a text of lines, so that people can read it on the node too:

    UPGRADE 1700000000.5 3f2a9c1b7d20      a mark: reason, epoch seconds, the run of an upgrade or who typed it
    daemon listened                        what it was before: listened, ran (without listening), stopped
    unit sync.timer active enabled         what a unit was before; `triggered` for one that only another one starts
    cron /etc/cron.d/sync                  a file of cron that was moved aside
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Reason = Literal["UPGRADE", "MANUAL"]
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause. by: the run of the upgrade, or who typed it. at: epoch seconds."""

    reason: Reason
    by: str
    at: float


def in_force(marker: Sequence[str]) -> Pause:
    """The pause of a marker, given by its lines. One made by hand counts for more than one for an upgrade.

    A marker that cannot be read as one stops rsync too: then it is somebody's, by hand.
    """
    found: dict[str, Pause] = {}
    for line in marker:
        words = line.split(" ", 2)
        if len(words) == 3 and (words[0] == "UPGRADE" or words[0] == "MANUAL"):
            found[words[0]] = Pause(words[0], words[2], _seconds(words[1]))  # type: ignore[arg-type]  # one of the two
    return found.get("MANUAL") or found.get("UPGRADE") or Pause("MANUAL", "somebody", 0.0)


def one_line(text: str) -> str:
    """Who it was, as one line without anything that does not print."""
    printing = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(printing.split())[:_LONGEST] or "somebody"


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
