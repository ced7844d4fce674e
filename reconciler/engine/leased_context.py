"""What a kind is given (`kind.Context`) when it may change something: one a change for its steps, or one a command."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from reconciler.engine.context import ObserveContext, runner
from reconciler.errors import LeaseLostError, WaitingError
from reconciler.model.plan import Change
from reconciler.store import events, journal
from reconciler.store.kind_records import KindRecords
from reconciler.store.leases import Lease

if TYPE_CHECKING:
    from reconciler.engine.runtime import Runtime
    from reconciler.transports.process import ProcessRunner

PROGRESS_INTERVAL = 0.2


class LeasedContext(ObserveContext):
    """For what a command does for one resource beside any change, under its lease: it may write the kind's records."""

    __slots__ = ("lease",)

    def __init__(self, runtime: Runtime, kind: str, lease: Lease) -> None:
        super().__init__(runtime, kind, runtime.settings.observe_timeout)
        self.lease = lease

    @property
    def records(self) -> KindRecords:
        """The kind's own tables, to read and to write under the lease."""
        return KindRecords(self.runtime.database, self.runtime.tables.get(self.kind, {}), self.lease)

    def _cancelled(self) -> Exception | None:
        if self.lease.lost.is_set():
            return LeaseLostError("LeaseLost", f"the lease on {self.lease.name} was taken over")
        return None


class StepContext(LeasedContext):
    """For the steps of one change, under its lease. The executor sets `step_id` before each step."""

    __slots__ = ("_last_progress", "on_progress", "step_id")

    def __init__(
        self, runtime: Runtime, change: Change, lease: Lease, on_progress: Callable[[float, str], None]
    ) -> None:
        super().__init__(runtime, change.ref.kind, lease)
        self.resource, self.change = change.resource, change
        self.step_id: int | None = None
        self.on_progress = on_progress
        self._last_progress = (0.0, 0.0)

    @property
    def process(self) -> ProcessRunner:
        """External commands, journalled before they start and killed when the lease is lost."""
        return runner(cancelled=self._cancelled, on_start=self._note_process, on_output=self.log)

    def progress(self, percent: float, message: str = "") -> None:
        """Written at most five times a second; never falls."""
        at, highest = self._last_progress
        highest = max(highest, min(percent, 100.0))
        message = _storable(message)
        self.on_progress(highest, message)
        now = time.monotonic()
        if self.step_id is not None and (now - at >= PROGRESS_INTERVAL or highest >= 100.0):
            journal.note_progress(self.lease, self.step_id, highest, message)
            at = now
        self._last_progress = (at, highest)

    def begin_step(self, step_id: int) -> None:
        """The next step runs now."""
        self.step_id = step_id
        self._last_progress = (0.0, 0.0)

    def log(self, text: str) -> None:
        """Add to the running step's log."""
        if self.step_id is not None and text:
            journal.append_log(self.lease, self.step_id, _storable(text))

    def alarm(self, reason: str, message: str) -> None:
        """An event that people must see."""
        assert self.change is not None
        with self.lease.fenced() as connection:
            now = self.runtime.database.now(connection)
            told = events.Event("alarm", reason, _storable(message), self.change.ref, self.runtime.owner.holder)
            events.add(connection, now, [told])

    def sleep(self, seconds: float) -> None:
        """Wait in short stretches, and end at once when the lease is lost or the process has to end."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.lease.lost.wait(min(left, 0.2)):
                raise LeaseLostError("LeaseLost", f"the lease on {self.lease.name} was taken over")
            if self.runtime.stopping.is_set():
                raise WaitingError("ShuttingDown", "the reconciler is shutting down")

    def _quiet_process(self) -> ProcessRunner:
        return runner(cancelled=self._cancelled, on_start=self._note_process)

    def _note_process(self, pgid: int, start_time: int, argv: str) -> None:
        journal.note_process(self.lease, self.step_id, pgid, start_time, argv)


def _storable(text: object) -> str:
    """What a kind wants to be told, as text that a store takes, whatever it handed over."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
