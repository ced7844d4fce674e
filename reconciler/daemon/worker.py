"""Works through the queue: take a group, look, decide, make changes, give the keys back. Run by `daemon.service`.

Looking and changing have pools of their own, so that neither a hung target nor a long creation holds up the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from reconciler.daemon.backoff import Pace, draw_jitter
from reconciler.daemon.logs import tell
from reconciler.daemon.metrics import Metrics
from reconciler.engine.dry_run import Looked, PlanRules
from reconciler.engine.listener import Listener
from reconciler.engine.observer import Target
from reconciler.engine.pool import DaemonPool
from reconciler.engine.queue import WorkQueue
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.schedule import prerequisites
from reconciler.engine.steps import Run
from reconciler.engine.workspace import Workspace
from reconciler.errors import ReconcilerError
from reconciler.model.plan import Action, Change
from reconciler.model.resource import ResourceRef
from reconciler.model.result import Result
from reconciler.store import journal, statuses

log = logging.getLogger(__name__)
DISPATCHER_TIMEOUT = 1.0


@dataclass(slots=True)
class OpenRun:
    """A run whose changes are still under way."""

    run: Run
    left: int
    good: int = 0
    bad: int = 0


class Worker:
    """The daemon's workers.

    dependents_of: who needs a resource, to wake them when it is ready. followers_of: who has to be looked at whenever
    it was changed. Set before `start`.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        workspace: Workspace,
        metrics: Metrics,
        listener: Listener,
    ) -> None:
        self._reconciler = reconciler
        self._runtime = reconciler.runtime
        self._workspace = workspace
        self._metrics = metrics
        self.dependents_of: Callable[[ResourceRef], Collection[ResourceRef]] = lambda _ref: ()
        self.followers_of: Callable[[ResourceRef], Collection[ResourceRef]] = lambda _ref: ()
        self._listener = listener
        settings = self._runtime.settings
        self._pace = Pace(settings.unsettled_interval, settings.backoff.min, settings.backoff.max)
        self._looking = DaemonPool(settings.observers, "look")
        self._changing = DaemonPool(settings.forks, "change")
        self._runs = threading.Lock()
        self._ended: dict[int, str] = {}
        self.queue = WorkQueue(self._target_of)
        self._dispatcher = threading.Thread(target=self._dispatch, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin to hand out work."""
        self._dispatcher.start()

    def stop(self, timeout: float) -> bool:
        """Hand out nothing more and wait for what runs. False when something still ran after `timeout` seconds."""
        self.queue.close()
        self._dispatcher.join(DISPATCHER_TIMEOUT)  # it may wait for a look that hangs
        self._looking.close()
        self._changing.close()
        has_ended = self._changing.join(timeout)
        self.end_runs()
        return has_ended

    def end_runs(self) -> None:
        """Close every run whose last change is over. What a locked database does not take is left for the next call."""
        with self._runs:
            ended = dict(self._ended)
        for run_id, state in ended.items():
            try:
                self._reconciler.end_run(run_id, state)
            except ReconcilerError as error:
                log.warning("run %d could not be closed yet: %s", run_id, error)
                return
            with self._runs:
                self._ended.pop(run_id, None)

    def _target_of(self, ref: ResourceRef) -> Target:
        resource = self._workspace.desired.get(ref)
        if resource is None:
            record = self._workspace.records.get(ref)
            resource = record.resource if record is not None else None
        kind = self._runtime.kinds.get(ref.kind)
        return (ref.kind, kind.target(resource) if kind is not None and resource is not None else "")

    def _dispatch(self) -> None:
        slots = threading.Semaphore(self._runtime.settings.observers)
        while True:
            slots.acquire()
            group = self.queue.take()
            if group is None:
                return
            self._looking.submit(self._look, *group).add_done_callback(lambda _done: slots.release())

    def _look(self, target: Target, refs: list[ResourceRef]) -> None:
        """One pass over a group."""
        started = time.monotonic()
        try:
            looked = self._reconciler.plan(self._workspace, refs, PlanRules())
            self.queue.looked(target)
            self._reconciler.settle(self._workspace, looked)
            self._hand_on(looked, refs, started)
        except Exception as error:  # noqa: BLE001 - a store that is locked, a kind that is broken: later again
            tell(log, error, "a pass over %d resources of %s failed", len(refs), "/".join(target))
            self.queue.looked(target)
            self.queue.done_all({ref: self._pace.back_off(3) for ref in refs})

    def _hand_on(self, looked: Looked, refs: Collection[ResourceRef], started: float) -> None:
        """Changes to the other pool; everything else back into the queue."""
        effective = {change.ref: change for change in looked.plan.effective}
        waiting = prerequisites(effective)
        ready = [change for ref, change in effective.items() if not waiting[ref]]
        opened = self._open_run(looked, len(ready)) if ready else None
        delays: dict[ResourceRef, float | None] = dict.fromkeys(refs)
        seconds, jitter = time.monotonic() - started, draw_jitter()
        for change in looked.plan.changes:
            if change.ref in effective:
                delays[change.ref] = self._pace.shortest
            else:
                self._metrics.looked(change, seconds)
                delays[change.ref] = self._pace.after_look(change, jitter)
        for change in ready:
            del delays[change.ref]
        self.queue.done_all(delays)
        for change in ready:
            assert opened is not None
            self._changing.submit(self._change, opened, change)

    def _open_run(self, looked: Looked, count: int) -> OpenRun:
        start = journal.RunStart(
            owner=self._runtime.owner,
            trigger="daemon",
            revision=looked.plan.revision,
            summary=looked.plan.summary(),
        )
        run_id = self._reconciler.start_run(start)
        return OpenRun(self._reconciler.run_of(run_id, self._workspace, looked.options, self._listener), count)

    def _change(self, opened: OpenRun, change: Change) -> None:
        """Make one change, then decide when its key is due again."""
        delay: float | None = self._pace.back_off(3)
        is_good = False
        try:
            result = self._reconciler.executor.execute(opened.run, change)
            is_good = result.verdict in ("ok", "changed")
            self._metrics.changed(result)
            delay = self._after(result)
        except Exception as error:  # noqa: BLE001 - the store may be gone for a while; the key must come back
            tell(log, error, "%s: the end of its change could not be handled", change.ref)
        finally:
            self.queue.done(change.ref, delay)
            self._count(opened, is_good=is_good)

    def _after(self, result: Result) -> float | None:
        ref = result.change.ref
        with self._runtime.database.read() as connection:
            status = statuses.load(connection, [ref]).get(ref)
        if result.verdict in ("ok", "changed"):
            is_gone = result.change.action is Action.DELETE
            self.queue.add(result.change.requires if is_gone else self.dependents_of(ref))
            self.queue.add(self.followers_of(ref))
        if status is None:
            return None
        return self._pace.after_change(result, status.failures)

    def _count(self, opened: OpenRun, *, is_good: bool) -> None:
        """One change of a run is over, and with the last of them the run."""
        with self._runs:
            opened.left -= 1
            opened.good += is_good
            opened.bad += not is_good
            if opened.left:
                return
            self._ended[opened.run.id] = "succeeded" if not opened.bad else ("partial" if opened.good else "failed")
        self.end_runs()
