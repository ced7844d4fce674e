"""From an exception to a result: the one place where error types become verdicts. Called by the executor."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.errors import (
    BlockedError,
    LeaseHeldError,
    LeaseLostError,
    ReconcilerError,
    SpecError,
    TerminalError,
    UnreachableError,
    WaitingError,
)
from reconciler.model.plan import Change
from reconciler.model.result import Result, StepOutcome, Verdict


def result_of(change: Change, error: Exception, outcomes: Sequence[tuple[str, StepOutcome]]) -> Result:
    """The result of a change that ended with `error`; says by `stalled` and `retry_after` what happens next."""
    if not isinstance(error, ReconcilerError):
        message = f"{type(error).__name__}: {error}"
        return Result(change, "failed", "UnexpectedError", message, tuple(outcomes))
    return Result(
        change,
        _verdict(error),
        error.reason,
        error.message,
        tuple(outcomes),
        retry_after=_retry_after(error),
        stalled=isinstance(error, SpecError | TerminalError),
    )


def _verdict(error: ReconcilerError) -> Verdict:
    if isinstance(error, UnreachableError):
        return "unreachable"
    if isinstance(error, LeaseLostError):
        return "unknown"
    if isinstance(error, BlockedError | LeaseHeldError):
        return "blocked"
    return "failed"


def _retry_after(error: ReconcilerError) -> float | None:
    if isinstance(error, WaitingError):
        return error.retry_after
    return 2.0 if isinstance(error, LeaseHeldError) else None
