"""Keeps the leases of this process alive. Used by the executor for each change and by the daemon for itself.

One thread renews every held lease at a third of its time to live. When a renewal fails because somebody took the lease
over, `Lease.lost` is set, and whoever works under it stops at its next look. A lease that could not be given back while
the database was locked is given back as soon as it can be: until then nobody could have it, not even we.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconciler.errors import DatabaseError
from reconciler.store.leases import Lease

log = logging.getLogger(__name__)
RELEASE_INTERVAL = 1.0


class LeaseKeeper:
    """Renews the leases that are held through it. Close it at the end of the process."""

    def __init__(self, ttl: float) -> None:
        self._interval = max(ttl / 3, 0.05)
        self._held: set[Lease] = set()
        self._over: set[Lease] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def holding(self, acquire: Callable[[], Lease]) -> Iterator[Lease]:
        """Hold what `acquire` returns for the length of the block; released at its end unless it was lost."""
        lease = acquire()
        self._add(lease)
        try:
            yield lease
        finally:
            with self._lock:
                self._held.discard(lease)
            self._release(lease)

    def close(self) -> None:
        """End the thread. Held leases then live until they expire."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _add(self, lease: Lease) -> None:
        with self._lock:
            self._held.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_all, name="lease-keeper", daemon=True)
                self._thread.start()

    def _is_held(self, lease: Lease) -> bool:
        """False for one that was given back while it was about to be renewed: nobody took that over."""
        with self._lock:
            return lease in self._held

    def _release(self, lease: Lease) -> None:
        """What was done under it stands, also when it cannot be given back now: that is tried again."""
        try:
            if not lease.lost.is_set():
                lease.release()
        except DatabaseError as error:
            log.warning("could not release the lease on %s yet: %s", lease.name, error)
            with self._lock:
                self._over.add(lease)

    def _renew_all(self) -> None:
        due = time.monotonic() + self._interval
        while not self._closed.wait(min(self._interval, RELEASE_INTERVAL)):
            with self._lock:
                held, over = list(self._held), list(self._over)
                self._over.clear()
            for lease in over:
                self._release(lease)
            if time.monotonic() < due:
                continue
            due = time.monotonic() + self._interval
            for lease in held:
                try:
                    if not lease.lost.is_set() and not lease.renew() and self._is_held(lease):
                        log.error("the lease on %s was taken over", lease.name)
                except DatabaseError as error:
                    log.warning("could not renew the lease on %s: %s", lease.name, error)
