"""What the daemon does by the clock: requests from other processes, a full look at the folder, house-keeping.

Run by `daemon.service`. File events may be lost (network file systems, overflow), other processes write to the store
without a file event: both are found here at the latest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, func, select

from reconciler.daemon.logs import tell
from reconciler.daemon.reload import Reloader
from reconciler.engine.queue import WorkQueue
from reconciler.engine.runtime import Runtime
from reconciler.model.resource import RECORD_OWNER, ResourceRef
from reconciler.store import events, sources, statuses, tables
from reconciler.store.remembered import API_OWNER

log = logging.getLogger(__name__)
TICK = 0.25
FULL_LOAD = 60.0
TRIM = 3600.0
OVERDUE = "SuspendedTooLong"


class Resync:
    """A thread that ticks. beat: when it last did, by the monotonic clock; `/healthz` looks at it.

    finish: called at each tick, for what could not be stored when it happened. sync: called with the requests to look
    at sources that were not answered yet.
    """

    def __init__(
        self,
        runtime: Runtime,
        reloader: Reloader,
        queue: WorkQueue,
        finish: Callable[[], None] = lambda: None,
        sync: Callable[[Mapping[str, str]], None] = lambda _requested: None,
    ) -> None:
        self._runtime = runtime
        self._reloader = reloader
        self._queue = queue
        self._finish = finish
        self._sync = sync
        self._closed = threading.Event()
        self._api_state: tuple[int, float] | None = None
        self._overdue: set[ResourceRef] = set()
        self._loaded_at = self._trimmed_at = time.monotonic()
        self.beat = time.monotonic()
        self._thread = threading.Thread(target=self._loop, name="resync", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._closed.wait(TICK):
            try:
                self._tick()
            except Exception as error:  # noqa: BLE001 - a store that is away comes back
                tell(log, error, "the store could not be asked for requests")
            self.beat = time.monotonic()

    def _tick(self) -> None:
        with self._runtime.database.read() as connection:
            requested = statuses.requested(connection)
            mine = tables.resources.c.owner.in_((API_OWNER, RECORD_OWNER))
            state = connection.execute(select(func.count(), func.max(tables.resources.c.updated_at)).where(mine)).one()
            now = self._runtime.database.now(connection)
            late = statuses.overdue_suspensions(connection, now)
            wanted = sources.requested(connection)
        if wanted:
            self._sync(wanted)
        if requested:
            self._queue.add(requested)
        if tuple(state) != self._api_state or time.monotonic() - self._loaded_at > FULL_LOAD:
            self._api_state = (state[0], state[1])
            self._loaded_at = time.monotonic()
            self._reloader.request()
        self._warn(late, now)
        self._finish()
        if time.monotonic() - self._trimmed_at > TRIM:
            self._trimmed_at = time.monotonic()
            with self._runtime.writing() as connection:
                events.trim(connection)

    def _warn(self, late: dict[ResourceRef, str], now: float) -> None:
        """Once for each suspension that outlived its time, whichever daemon noticed it first."""
        news = sorted(late.keys() - self._overdue)
        if news:
            with self._runtime.writing() as connection:
                actor = self._runtime.owner.holder
                untold = [ref for ref in news if not _was_told(connection, ref)]
                events.add(connection, now, (events.Event("warning", OVERDUE, late[ref], ref, actor) for ref in untold))
        self._overdue = set(late)


def _was_told(connection: Connection, ref: ResourceRef) -> bool:
    """Whether a warning came after the newest suspension."""
    reasons = (event.reason for event in reversed(events.listed(connection, ref=ref)))
    return next((reason for reason in reasons if reason in (OVERDUE, "Suspended")), "") == OVERDUE
