"""Carrying out one change: lease, look again, steps, verify, record. The only way in which anything is changed.

`engine.schedule` calls it for a whole plan, the daemon for one key at a time. Nothing runs that was not planned: right
before the first step the resource is observed and judged again, and a change whose fingerprint has moved is not made.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from reconciler.engine.failure import result_of
from reconciler.engine.keeper import LeaseKeeper
from reconciler.engine.observer import Observer
from reconciler.engine.record import record_result
from reconciler.engine.resuming import planned_form, rebuilt
from reconciler.engine.runtime import Runtime
from reconciler.engine.status import Outcome
from reconciler.engine.steps import SUPERSEDED, Run, StepRunner
from reconciler.errors import (
    LeaseHeldError,
    LeaseLostError,
    ReconcilerError,
    TerminalError,
    TransientError,
    WaitingError,
)
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change, Obstacle
from reconciler.model.record import Record
from reconciler.model.resource import ResourceRef
from reconciler.model.result import Result, Verdict
from reconciler.planning.decide import Judgement, decide
from reconciler.store import journal, leases
from reconciler.store.leases import Lease
from reconciler.store.remembered import load_records
from reconciler.store.unfinished import Unfinished, unfinished
from reconciler.transports.process import kill_group

log = logging.getLogger(__name__)
_DONE = {
    Action.NOOP: "as desired",
    Action.CREATE: "created and verified",
    Action.UPDATE: "updated and verified",
    Action.REPLACE: "replaced and verified",
    Action.DELETE: "deleted and verified",
}


class Executor:
    """Makes changes, one call of `execute` each. Safe to call from many threads for different resources."""

    def __init__(self, runtime: Runtime, observer: Observer, keeper: LeaseKeeper) -> None:
        self._runtime = runtime
        self._observer = observer
        self._keeper = keeper

    def execute(self, run: Run, change: Change) -> Result:
        """Make one change and store what became of it. Never raises for what goes wrong with the change."""
        started = time.monotonic()
        try:
            with self._keeper.holding(lambda: self._acquire(run, change.ref)) as lease:
                result = self._under_lease(run, change, lease)
        except Exception as error:
            if not isinstance(error, ReconcilerError):
                log.exception("%s failed unexpectedly", change.ref)
            result = result_of(change, error, [])
        result = replace(result, duration=time.monotonic() - started)
        run.listener.change_ended(result)
        return result

    def recover(self) -> None:
        """End and close what dead holders left open, also of resources for which nothing is to be done any more."""
        with self._runtime.database.read() as connection:
            refs = journal.left_open(connection)
        for ref in refs:
            try:
                with self._keeper.holding(lambda ref=ref: self._acquire_now(ref)) as lease:  # type: ignore[misc]  # binds it
                    self._end_orphans(lease, ref)
            except (LeaseHeldError, LeaseLostError):
                continue  # somebody works on it

    def stop(self) -> bool:
        """Start no further step. False when that was said before."""
        if self._runtime.stopping.is_set():
            return False
        self._runtime.stopping.set()
        return True

    def _acquire(self, run: Run, ref: ResourceRef) -> Lease:
        until = time.monotonic() + run.lease_wait
        while True:
            try:
                return self._acquire_now(ref)
            except LeaseHeldError:
                if time.monotonic() >= until or self._runtime.stopping.wait(0.2):
                    raise

    def _acquire_now(self, ref: ResourceRef) -> Lease:
        return leases.acquire(self._runtime.database, str(ref), self._runtime.owner, self._runtime.settings.lease_ttl)

    def _under_lease(self, run: Run, change: Change, lease: Lease) -> Result:
        self._end_orphans(lease, change.ref)
        record = self._record(change.ref)
        unfinished = self._unfinished(change.ref)
        if unfinished is not None:
            return self._go_on(run, change, unfinished, lease)
        current = self._look_again(run, change, record)
        is_newer = record is not None and record.resource.generation > change.resource.generation
        is_planned = current.fingerprint == change.fingerprint or _refines(change, current)
        if is_newer or current.obstacle is not None or not is_planned:
            result = _moved(change, current)
            record_result(self._runtime, lease, _outcome(run, result, record))
            return result
        planned = planned_form(current, self._runtime.key) if self._is_continued(change.ref) else None
        change_id = journal.start_change(lease, run.id, current, planned)
        return self._made(StepRunner(self._runtime, run, current, change_id, lease), record)

    def _go_on(self, run: Run, planned: Change, unfinished: Unfinished, lease: Lease) -> Result:
        """Continue a change whose process died, in place of what was planned now: that is planned anew afterwards."""
        record = self._record(unfinished.ref)
        newest = run.newest(unfinished.ref) or (record.resource if record is not None else None)
        try:
            change = rebuilt(unfinished.planned, newest, self._runtime.key)
        except TerminalError as error:
            result = result_of(planned, error, [])
            record_result(self._runtime, lease, _outcome(run, result, record), unfinished.change_id, run.id)
            return result
        log.info("%s: going on with an interrupted change", change.ref)
        runner = StepRunner(self._runtime, run, change, unfinished.change_id, lease, unfinished=unfinished)
        return self._made(runner, record)

    def _made(self, runner: StepRunner, record: Record | None) -> Result:
        """Run the steps of a change, verify it and store how it ended, unless it is to be continued later."""
        run, change = runner.run, runner.change
        run.listener.change_started(change)
        seen, stays_open = None, False
        try:
            runner.run_all()
            seen = self._verify(change, record)
            result = Result(change, "changed", "Applied", _DONE[change.action], tuple(runner.outcomes))
        except LeaseLostError:
            raise
        except Exception as error:
            if not isinstance(error, ReconcilerError):
                log.exception("%s failed unexpectedly", change.ref)
            waits = isinstance(error, WaitingError) and error.reason != SUPERSEDED
            stays_open = waits and self._is_continued(change.ref)
            result = result_of(change, error, runner.outcomes)
        outcome = _outcome(run, result, record, seen)
        record_result(self._runtime, runner.lease, outcome, None if stays_open else runner.change_id, run.id)
        return result

    def _is_continued(self, ref: ResourceRef) -> bool:
        """Whether an interrupted change of this kind is gone on with, and not planned anew."""
        kind = self._runtime.kinds.get(ref.kind)
        return kind is not None and kind.recovery == "continue"

    def _unfinished(self, ref: ResourceRef) -> Unfinished | None:
        if not self._is_continued(ref):
            return None
        with self._runtime.database.read() as connection:
            return unfinished(connection, ref)

    def _end_orphans(self, lease: Lease, ref: ResourceRef) -> None:
        """What a dead or superseded holder left behind is ended before anything is looked at.

        Nobody but the holder of the lease adds to that, and mostly there is nothing, so that is read first.
        """
        with self._runtime.database.read() as connection:
            if not journal.is_anything_left(connection, ref):
                return
        for orphan in journal.orphans(lease):
            log.warning(
                "ending process group %d that an earlier run of %s left: %s", orphan.pgid, ref, orphan.argv[:200]
            )
            kill_group(orphan.pgid, orphan.start_time)
            journal.forget_process(lease, orphan.row_id)
        journal.close_interrupted(lease, ref, keep=self._is_continued(ref))

    def _record(self, ref: ResourceRef) -> Record | None:
        with self._runtime.database.read() as connection:
            return load_records(connection, [ref]).get(ref)

    def _look_again(self, run: Run, change: Change, record: Record | None) -> Change:
        """The change as it would be planned now, from a fresh look and a fresh record."""
        observation = self._observer.observe([change.resource]).get(change.ref)
        vanished = record is not None and record.vanished
        approvals = run.approvals | {(change.ref, change.fingerprint)}
        judgement = Judgement(self._runtime.kinds, run.prune, approvals=approvals, key=self._runtime.key)
        return decide(judgement, change.ref, None if vanished else change.resource, record, observation)

    def _verify(self, change: Change, record: Record | None) -> Observation:
        """Look again after the last step: only what is seen counts as applied."""
        observation = self._observer.observe([change.resource])[change.ref]
        is_gone = observation.pending is not None  # and so is what it lived in
        if change.orphan or (change.action is Action.DELETE and is_gone):
            return observation
        if not observation.is_known:
            raise TransientError("NotVerified", f"every step was done, but could not look: {observation.unknown}")
        if change.action is Action.DELETE:
            if observation.state is not None:
                raise TransientError("NotVerified", "every step was done, but it is still there")
            return observation
        left = decide(
            Judgement(self._runtime.kinds, key=self._runtime.key), change.ref, change.resource, record, observation
        )
        if left.action is not Action.NOOP:
            paths = ", ".join(entry.path for entry in left.diffs[:5]) or "all of it"
            raise TransientError("NotVerified", f"every step was done, but it still differs: {paths}")
        return observation


def _moved(change: Change, current: Change) -> Result:
    """Between plan and apply the world moved: maybe to where we wanted it, otherwise it has to be planned anew."""
    obstacle = current.obstacle
    if current.action is Action.NOOP and obstacle is None:
        return Result(current, "ok", "AsDesired", "already as desired")
    if obstacle is not None and obstacle.kind == "unknown":
        verdict: Verdict = "unreachable" if obstacle.reason == "Unreachable" else "unknown"
        return Result(current, verdict, obstacle.reason, obstacle.message)
    if obstacle is not None:
        verdict = "skipped" if obstacle.kind == "suspended" else "blocked"
        return Result(replace(change, obstacle=obstacle), verdict, obstacle.reason, obstacle.message)
    message = "what the plan was computed from has moved; plan again"
    blocked = replace(change, obstacle=Obstacle("blocked", "Moved", message))
    return Result(blocked, "blocked", "Moved", message, retry_after=0.0)


def _refines(planned: Change, current: Change) -> bool:
    """What could not be known when it was planned may turn out to need an update, with steps that were planned."""
    is_possible = planned.conditional and current.action in (Action.CREATE, Action.UPDATE)
    return is_possible and {step.name for step in current.steps} <= {step.name for step in planned.steps}


def _outcome(run: Run, result: Result, record: Record | None, seen: Observation | None = None) -> Outcome:
    """What is to be stored. record: as it was before the last look, so that it says which request that look answers."""
    ref = result.change.ref
    return Outcome(
        result.change,
        result,
        problem=run.problem_of(ref),  # a change that was made does not mend the document
        unhealthy=seen.unhealthy if seen else "",
        answered=record.requested if record else "",
        seen=seen,
    )
