"""Ending what runs for a node: what its record names, and what was started right before the record could be written.

Called by both variants when they remove a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from reconciler.lab.record import Process
from reconciler.transports.groups import kill_group

_PROGRAMS = ("sh", "unshare", "systemd-nspawn", "sshd", "rsync")


def end_all(folder: Path, recorded: Iterable[Process], grace: float = 1.0) -> None:
    """End them with their groups. folder: the node's; what is started for it names a file of it as its own."""
    for process in (*recorded, *_strays(folder)):
        if process.is_alive:
            kill_group(process.pid, process.start_time, grace=grace)


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
