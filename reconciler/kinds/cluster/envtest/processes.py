"""The processes of one control plane: found again by whoever looks, started detached, ended with all they started.

A process is known by its id, its start time and the boot of the machine, which it writes down itself (`launch`), and
it holds a lock file as long as it lives. Called by `control_plane`.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import DeadlineError
from reconciler.kind import Context
from reconciler.transports.groups import kill_group, start_time_of

LOG_BYTES = 10_000_000
"""A log has twice that at most: what is written now, and what was written before it."""
_LAUNCH = Path(__file__).with_name("launch.py")
_POLL = 0.05
_KILLED_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this boot. start_time: clock ticks since boot."""

    pid: int
    start_time: int

    def is_alive(self) -> bool:
        """Whether exactly this process runs."""
        return start_time_of(self.pid) == self.start_time


class Processes:
    """Those of the control plane in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run = folder / "run"

    def prepare(self, names: Sequence[str]) -> None:
        """Make what `start` needs."""
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / "logs").mkdir(mode=0o700, exist_ok=True)
        for name in names:
            self._lock_of(name).touch(mode=0o600)

    def find(self, name: str) -> Process | None:
        """The living process of a component, None when there is none. Those of another boot are not ours."""
        try:
            written: Any = json.loads((self._run / f"{name}.json").read_text())
            process = Process(int(written["pid"]), int(written["startTime"]))
            is_ours = written["bootId"] == _boot_id()
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return process if is_ours and process.is_alive() else None

    def is_held(self, name: str) -> bool:
        """Whether anybody holds the component's lock, known or not."""
        return any(self._holders(name))

    def start(self, name: str, command: Sequence[str], log: Path) -> Process | None:
        """Start a component in a session of its own; None when it ended at once. Never a second one: see `launch`."""
        from reconciler.transports.process import spawn_detached  # noqa: PLC0415 - only who starts something needs it

        launch = [sys.executable, "-I", "-S", str(_LAUNCH), str(self._folder), name, str(LOG_BYTES)]
        pid = spawn_detached([*launch, *command], log)
        started = start_time_of(pid)
        return Process(pid, started) if started is not None else None

    def end(self, name: str, grace: float) -> bool:
        """End a component and all it started: TERM, and KILL past `grace` seconds. Returns whether there was one."""
        found = self.find(name)
        living = [found] if found is not None else list(self._holders(name))
        for process in living:
            kill_group(process.pid, process.start_time, grace=grace)
        return bool(living)

    @contextmanager
    def none_can_start(self, names: Sequence[str]) -> Iterator[None]:
        """Inside, no component runs and none can be started. Call it when all were ended; kills who came meanwhile.

        Raises DeadlineError when one cannot be killed.
        """
        with ExitStack() as held:
            for name in names:
                lock = self._lock_of(name)
                with suppress(FileNotFoundError):
                    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
                    held.callback(os.close, descriptor)
                    self._take(name, descriptor)
            yield

    def _take(self, name: str, descriptor: int) -> None:
        give_up = time.monotonic() + _KILLED_WITHIN
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise DeadlineError("NotEnded", f"{name} cannot be ended: its lock is still held") from None
            self.end(name, 0.0)
            time.sleep(_POLL)

    def _holders(self, name: str) -> Iterator[Process]:
        """Who has the lock file open: a process that has not written down who it is yet, or whose note was removed."""
        lock = str(self._lock_of(name))
        for folder in Path("/proc").glob("[0-9]*/fd"):
            pid = int(folder.parent.name)
            with suppress(OSError):
                if pid != os.getpid() and any(str(entry.readlink()) == lock for entry in folder.iterdir()):
                    started = start_time_of(pid)
                    if started is not None:
                        yield Process(pid, started)

    def _lock_of(self, name: str) -> Path:
        return self._run / f"{name}.lock"


@contextmanager
def locked(path: Path, context: Context, timeout: float) -> Iterator[None]:
    """Hold a lock file of the home. Raises DeadlineError when somebody else holds it for `timeout` seconds."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise DeadlineError("Locked", f"somebody else has held {path} for {timeout:g} s") from None
                context.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
