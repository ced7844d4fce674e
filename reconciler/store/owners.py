"""Processes that may hold leases, told apart across boots, pid namespaces and used-up pids. Made by `wiring`."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that may hold leases. holder: for people, `user@host (command)`."""

    holder: str
    boot_id: str
    pid: int
    pid_start: int
    token: str = field(default_factory=lambda: os.urandom(16).hex())

    @classmethod
    def this_process(cls, command: str) -> Owner:
        """The process that calls; `command` says what it does."""
        holder = f"{actor_name()} ({command}, pid {os.getpid()})"
        return cls(holder, boot_id(), os.getpid(), process_start(os.getpid()) or 0)


def has_ended(boot: str, pid: int, pid_start: int) -> bool:
    """True only when it is proven: same boot, same pid namespace, and no such process any more."""
    return boot == boot_id() and process_start(pid) != pid_start


@cache
def boot_id() -> str:
    """This boot and pid namespace: pids can be compared only where both are the same."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"


def process_start(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none (a zombie counts as none)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in ("Z", "X") else int(rest[18])


def actor_name() -> str:
    """`user@host` of this process, for the records."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
