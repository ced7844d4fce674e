"""One at a time changes an HAProxy file: a lock that holds between processes, and between threads. See `installing`.

It is the kernel's: whoever dies lets go. Who holds it stands in the lock file, for those that wait in vain.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from reconciler.errors import TransientError
from reconciler.kind import Context

SUFFIX = ".lock"
_POLL = 0.05


@contextmanager
def locked(file: Path, context: Context, timeout: float) -> Iterator[None]:
    """Inside, nobody else is. Waits up to `timeout` seconds.

    Raises TransientError("Locked") naming who holds it and since when, and whatever ends the waiting of a step.
    """
    path = file.with_name(file.name + SUFFIX)
    give_up = time.monotonic() + timeout
    with _opened(path) as lock:
        while not _try(lock):
            if time.monotonic() >= give_up:
                holder = os.pread(lock, 200, 0).decode("utf-8", "replace").strip() or "somebody"
                raise TransientError("Locked", f"{file} is being changed by {holder}; waited {timeout:g} s")
            context.sleep(_POLL)
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} since {since}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(lock, 0)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise TransientError("NoLock", f"{path} cannot be opened: {error.strerror}") from error
    try:
        yield lock
    finally:
        os.close(lock)


def _try(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
