"""Ending what runs for a node: what its record names, and what was started right before the record could be written.

Called by both variants when they remove a node. A plain node's own programs may have been started again since, and what
they started may lead a session of its own: all of that has the node's folder in its environment.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from reconciler.errors import TransientError
from reconciler.lab.record import Process
from reconciler.transports.groups import kill_group

MARK = "LAB_NODE"
"""The variable that names a plain node's folder."""
_ENDS_WITHIN = 10.0
_PROGRAMS = ("sh", "unshare", "systemd-nspawn", "sshd", "rsync")


def end_all(folder: Path, recorded: Iterable[Process], grace: float = 1.0) -> None:
    """End them with their groups. folder: the node's; what is started for it names a file of it as its own."""
    for process in (*recorded, *_strays(folder)):
        if process.is_alive:
            kill_group(process.pid, process.start_time, grace=grace)


def end_marked(folder: Path) -> None:
    """End at once all that runs on a plain node. Raises TransientError when something does not go."""
    give_up = time.monotonic() + _ENDS_WITHIN
    while found := list(_marked(folder)):
        if time.monotonic() >= give_up:
            raise TransientError("StillThere", f"processes of {folder} do not end: {found}")
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _marked(folder: Path) -> Iterator[int]:
    mark = f"{MARK}={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # somebody else's, or just gone
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def _strays(folder: Path) -> Iterator[Process]:
    """Leaders of sessions that were started on a node's own files."""
    marks = tuple(f"{folder}/{name}" for name in ("root", "sshd_config", "rsyncd.conf"))
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "cmdline").read_bytes().decode("utf-8", "replace")  # sshd writes its own words there
            program, _, fields = (entry / "stat").read_text().partition("(")[2].rpartition(")")
            session = int(fields.split()[3])
        except (OSError, ValueError, IndexError):
            continue
        is_ours = program in _PROGRAMS and any(mark in told for mark in marks)
        if is_ours and session == int(entry.name):
            yield Process.of(session)
