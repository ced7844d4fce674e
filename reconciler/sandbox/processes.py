"""Which process is which: identity by pid and start time, and the folder that a home's sandbox lives in.

Used by `service` (writes process.json) and `__main__` (finds, waits for and ends the server).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


def folder_of(home: Path) -> Path:
    """`<home>/sandbox`."""
    return home / "sandbox"


def boot_id() -> str:
    """Identity of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat: when a process started, in clock ticks since boot; None when there is none."""
    try:
        written = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = written.rpartition(")")[2].split()
    return None if state in ("Z", "X") else int(fields[18])


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """process.json: the server as it identified itself."""

    pid: int
    startTime: int  # noqa: N815 - the name in process.json
    bootId: str  # noqa: N815 - the name in process.json
    startedAt: str  # noqa: N815 - the name in process.json
    version: str

    def is_alive(self) -> bool:
        """Whether exactly this process still runs."""
        return self.bootId == boot_id() and start_time(self.pid) == self.startTime

    def write(self, path: Path) -> None:
        """Write process.json, whole or not at all."""
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(asdict(self)) + "\n")
        partial.replace(path)


def read_record(path: Path) -> ProcessRecord | None:
    """The record in process.json; None when there is none that can be read."""
    try:
        written: Any = json.loads(path.read_text())
        return ProcessRecord(**written)
    except (OSError, ValueError, TypeError):
        return None
