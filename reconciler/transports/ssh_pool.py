"""Kept connections to hosts: one a place and process, whoever asks. Used by `engine.remotes`.

What is lent is a light `Ssh` of the borrower's own: what ends its waiting ends nobody else's, and closing it closes
nothing. A host that nobody has asked anything for a while is hung up on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import TransientError

if TYPE_CHECKING:
    from reconciler.transports.ssh import Ssh, SshPlace
    from reconciler.transports.ssh_connection import Cancelled, SshConnection

MAX_IDLE = 300.0
"""Seconds. A look comes round more often as a rule."""


@dataclass(slots=True, eq=False)
class _Kept:
    """users: how many commands run over it now. used: seconds of the monotonic clock."""

    connection: SshConnection
    used: float
    users: int = 0


class SshPool:
    """Lends hosts. Safe to share between threads. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[SshPlace, _Kept] = {}
        self._closed = False

    def lend(self, place: SshPlace, cancelled: Cancelled | None = None) -> Ssh:
        """A host for one borrower, connected to when it is first used. cancelled: ends the borrower's waits."""
        from reconciler.transports.ssh import Ssh  # noqa: PLC0415 - every command has a pool, and few reach a host

        return Ssh(place, cancelled, lambda: self._borrowed(place))

    def close(self) -> None:
        """End every connection, also for those who still wait for something; nobody gets one from now on."""
        with self._lock:
            self._closed = True
            kept, self._kept = self._kept, {}
        for one in kept.values():
            one.connection.close()

    @contextmanager
    def _borrowed(self, place: SshPlace) -> Iterator[SshConnection]:
        kept = self._take(place)
        try:
            yield kept.connection
        finally:
            with self._lock:
                kept.users -= 1
                kept.used = self._clock()

    def _take(self, place: SshPlace) -> _Kept:
        from reconciler.transports.ssh_connection import SshConnection  # noqa: PLC0415 - likewise

        now = self._clock()
        with self._lock:
            if self._closed:
                raise TransientError("ShuttingDown", f"{place}: no connection is made any more: we are shutting down")
            idle = [one for one, kept in self._kept.items() if not kept.users and now - kept.used > MAX_IDLE]
            dropped = [self._kept.pop(one) for one in idle]
            kept = self._kept.setdefault(place, _Kept(SshConnection(place), now))
            kept.users += 1
        for one in dropped:
            one.connection.close()
        return kept
