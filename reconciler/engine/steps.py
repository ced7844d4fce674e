"""Running the steps of one change in order, each journalled before and after. Called by `engine.executor` only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.engine.leased_context import StepContext
from reconciler.engine.listener import Listener
from reconciler.engine.runtime import Runtime
from reconciler.errors import (
    BlockedError,
    LeaseLostError,
    ReconcilerError,
    TerminalError,
    WaitingError,
)
from reconciler.kind import Context, Step
from reconciler.model.plain import plain_fault
from reconciler.model.plan import Change, PlannedStep
from reconciler.model.resource import Resource, ResourceRef
from reconciler.model.result import StepOutcome
from reconciler.store import journal
from reconciler.store.leases import Lease
from reconciler.store.unfinished import Unfinished

log = logging.getLogger(__name__)
SUPERSEDED = "Superseded"


@dataclass(frozen=True, slots=True)
class Run:
    """One run that changes belong to.

    approvals: what somebody approved. newest: the newest desired resource of a ref, None when nobody wants it any more.
    problem_of: what is wrong with its document now, "" for nothing.
    lease_wait: seconds that a change waits for a lease that somebody else holds.
    """

    id: int
    prune: bool = False
    approvals: frozenset[tuple[ResourceRef, str]] = frozenset()
    newest: Callable[[ResourceRef], Resource | None] = lambda _ref: None
    problem_of: Callable[[ResourceRef], str] = lambda _ref: ""
    listener: Listener = field(default_factory=Listener)
    lease_wait: float = 0.0


@dataclass(slots=True)
class StepRunner:
    """The steps of one change. outcomes grows as they end, also when `run` raises.

    unfinished: what an earlier process has done of it, for a change that is continued.
    """

    runtime: Runtime
    run: Run
    change: Change
    change_id: int
    lease: Lease
    outcomes: list[tuple[str, StepOutcome]] = field(default_factory=list)
    outputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    unfinished: Unfinished | None = None

    def run_all(self) -> None:
        """Every step in order. When one fails, the `undo` of those that were done runs backwards, then it raises.

        Nothing failed when something is only not ready yet, when we are to stop or when a newer generation takes over.
        After an independent step failed, those right after it that are independent too run; the first error counts.
        Of a change that is continued, what was done before is not done again, and what was being undone is undone.
        """
        done: list[Step] = []
        failed: Exception | None = None
        try:
            for step in self._steps():
                if failed is not None and not step.independent:
                    break
                failure = self._tried(step, done)
                failed = failed or failure
            if failed is not None:
                raise failed
        except (LeaseLostError, WaitingError):
            raise
        except Exception:
            self._undo(done)
            raise

    def _tried(self, step: Step, done: list[Step]) -> Exception | None:
        """Run a step. What an independent one failed with is returned; everything else is raised.

        done: what is to be taken back if a later one fails; nothing once a step has committed it all.
        """
        try:
            self._run_or_skip(step)
        except (LeaseLostError, WaitingError):
            raise
        except Exception as error:
            if step.undo_partial:
                done.append(step)
            if not step.independent:
                raise
            return error
        done.append(step)
        if step.commits:
            done.clear()
        return None

    def _run_or_skip(self, step: Step) -> None:
        """Run a step, if an earlier process has not done so already. One that failed there fails again."""
        earlier = self._was(step.name)
        if self.unfinished is not None and earlier is StepOutcome.DONE:
            self.outputs[step.name] = self.unfinished.outputs[step.name]
            return
        if self.unfinished is not None and earlier is StepOutcome.FAILED:
            raise TerminalError("StepFailed", self.unfinished.messages.get(step.name, f"step {step.name} failed"))
        self._may_go_on(step)
        self._journalled(self._planned(step), step.run if earlier is None else self._again(step))

    def _steps(self) -> Sequence[Step]:
        if self.change.orphan:
            return ()
        steps = self.runtime.kinds[self.change.ref.kind].steps(self.change)
        if [step.name for step in steps] != [step.name for step in self.change.steps]:
            raise BlockedError("StepsMoved", f"the steps of {self.change.ref} are not the planned ones; plan again")
        return steps

    def _was(self, name: str) -> StepOutcome | None:
        """How a step ended, or was left, in an earlier process; None when it was not begun."""
        return self.unfinished.outcomes.get(name) if self.unfinished is not None else None

    def _again(self, step: Step) -> Callable[[Context], Mapping[str, Any] | None]:
        """What a step that was open when its process died has to do now: nothing, if it had been carried out."""

        def run(context: Context) -> Mapping[str, Any] | None:
            answer = step.check(context) if step.check is not None else "not_done"
            if answer == "done":
                context.log("it had been carried out before the interruption")
                return {}
            if answer == "not_done":
                return step.run(context)
            message = f"whether step {step.name} was carried out before the interruption cannot be told yet"
            raise WaitingError("NotConfirmed", message)

        return run

    def _planned(self, step: Step) -> PlannedStep:
        return next(entry for entry in self.change.steps if entry.name == step.name)

    def _may_go_on(self, step: Step) -> None:
        """Before each step: is the lease ours, may anything start, does a newer generation take over?"""
        if self.lease.lost.is_set():
            raise LeaseLostError("LeaseLost", f"the lease on {self.lease.name} was taken over")
        if self.runtime.stopping.is_set():
            raise WaitingError("ShuttingDown", f"stopped before step {step.name}", retry_after=0.0)
        newest = self.run.newest(self.change.ref)
        if step.safe_point and newest is not None and newest.generation > self.change.resource.generation:
            message = f"generation {newest.generation} takes over before step {step.name}"
            raise WaitingError(SUPERSEDED, message, retry_after=0.0)

    def _journalled(self, planned: PlannedStep, call: Callable[[Context], Mapping[str, Any] | None]) -> None:
        """Intent, call, outcome."""
        listener = self.run.listener
        context = StepContext(self.runtime, self.change, self.lease, self._progress_of(planned))
        context.outputs = self.outputs
        begun = self.unfinished.begun if self.unfinished is not None else 0
        step_id = journal.open_step(self.lease, self.change_id, begun + len(self.outcomes), planned)
        context.begin_step(step_id)
        listener.step_started(self.change, planned)
        try:
            returned = _carried_out(call, context)
        except LeaseLostError:
            raise
        except Exception as error:
            message = str(error) if isinstance(error, ReconcilerError) else f"{type(error).__name__}: {error}"
            outcome = StepOutcome.UNCONFIRMED if self._goes_on_after(error) else StepOutcome.FAILED
            journal.close_step(self.lease, step_id, outcome, None, message)
            self._ended(planned, outcome, message)
            raise
        journal.close_step(self.lease, step_id, StepOutcome.DONE, returned)
        self.outputs[planned.name] = returned
        self._ended(planned, StepOutcome.DONE, "")

    def _goes_on_after(self, error: Exception) -> bool:
        """Whether the change stays open, so that the step is begun again later."""
        return isinstance(error, WaitingError) and self.runtime.kinds[self.change.ref.kind].recovery == "continue"

    def _undo(self, done: Sequence[Step]) -> None:
        """Take back what was done; what cannot be taken back is logged and does not hide the first error.

        What has to wait is waited for where the change can be gone on with: those before it build on its being undone.
        """
        for step in reversed(done):
            if step.undo is None or self._was(f"undo-{step.name}") is StepOutcome.DONE:
                continue
            undo = step.undo
            planned = PlannedStep(f"undo-{step.name}", f"undo: {step.title}", 0, step.preview)
            try:
                self._journalled(planned, lambda context, undo=undo: undo(context))  # type: ignore[misc]  # default binds it
            except LeaseLostError:
                raise
            except Exception as error:
                if self._goes_on_after(error):
                    raise
                log.exception("%s: step %s could not be undone", self.change.ref, step.name)

    def _progress_of(self, planned: PlannedStep) -> Callable[[float, str], None]:
        return lambda percent, note: self.run.listener.step_progress(self.change, planned, percent, note)

    def _ended(self, planned: PlannedStep, outcome: StepOutcome, message: str) -> None:
        self.outcomes.append((planned.name, outcome))
        self.run.listener.step_ended(self.change, planned, outcome, message)


def _carried_out(call: Callable[[Context], Any], context: Context) -> Mapping[str, Any]:
    """The outputs of a step. It may fail in any way; what ends the process instead is a mistake of the kind."""
    try:
        return _outputs(call(context))
    except SystemExit as error:
        raise TerminalError("KindFailed", f"the step wanted to end the process: {error}") from error


def _outputs(returned: Any) -> Mapping[str, Any]:
    """What a step returned, as it can be journalled. Raises TerminalError for what can not."""
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise TerminalError("BadOutputs", f"the step returned a {type(returned).__name__}, not a mapping")
    if fault := plain_fault(returned):
        raise TerminalError("BadOutputs", f"the step returned what cannot be kept: {fault}")
    return dict(returned)
