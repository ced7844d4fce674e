"""Process groups: who leads one, and ending one that a dead process left behind. Used by `process` and by recovery.

A process is named by its id and its start time (field 22 of /proc/PID/stat, clock ticks since boot), because ids are
used again. A group outlives its leader as long as a member lives; until then the kernel gives its number to nobody.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    group: int
    session: int
    start_time: int

    @property
    def is_dead(self) -> bool:
        """True for a zombie: it runs nothing any more and only waits for its parent to look."""
        return self.state in "ZX"


def start_time_of(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, or None when there is no such process (a zombie counts as none)."""
    stat = _read_stat(pid)
    return None if stat is None or stat.is_dead else stat.start_time


def kill_group(pgid: int, start_time: int, *, grace: float = 2.0) -> bool:
    """End the group whose leader had this id and start time: TERM, and KILL after `grace` seconds.

    Returns whether anything of it was still running; False also when the number belongs to somebody else by now.
    Returns only when nothing of it runs any more. Call it for groups of this boot that were started in a session of
    their own, as `ProcessRunner` does.
    """
    if not any(_members(pgid, start_time)):
        return False
    for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        _signal_group(pgid, number)
        give_up = time.monotonic() + wait
        while any(_members(pgid, start_time)):
            if time.monotonic() >= give_up:
                break
            time.sleep(_POLL)
        else:
            return True
    return True


def _signal_group(pgid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):
        return


def _members(pgid: int, start_time: int) -> Iterator[int]:
    """The living members of the group that this leader led."""
    leader = _read_stat(pgid)
    if leader is not None and leader.start_time != start_time:
        return
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        stat = _read_stat(int(entry.name))
        if stat is None or stat.is_dead or stat.start_time < start_time:
            continue
        if stat.group == stat.session == pgid:
            yield int(entry.name)


def _read_stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold anything, brackets too
    return _Stat(state=fields[0], group=int(fields[2]), session=int(fields[3]), start_time=int(fields[19]))
