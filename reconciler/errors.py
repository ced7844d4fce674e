"""The exception tree. Each class says by its type what happens next, so nobody interprets messages.

    ReconcilerError(reason, message)
    ├── SpecError          the desired state is wrong: stalled until its generation changes
    ├── TerminalError      trying again cannot help: stalled until its generation changes
    ├── WaitingError       nothing is wrong, something is not ready yet: again after `retry_after` seconds
    ├── TransientError     trying again may help: exponential back-off with jitter
    │   ├── UnreachableError   the target could not be reached (counted apart from failed)
    │   ├── DeadlineError      an external call outlived its deadline
    │   └── DatabaseError      the store could not be read or written
    ├── BlockedError       a guard refused: needs an approval, a flag or another change first
    │   └── StalePlanError     what a plan was computed from has moved
    ├── LeaseHeldError     somebody else changes this resource now
    ├── LeaseLostError     our own lease was taken over: stop at once, write nothing more
    └── UsageError         the command line or the settings are wrong

Raised where the fact is known, caught per change in `engine.executor`, per pass in `engine.reconcile`, and once in
the CLI. `exit_code` is the one table of `docs/exit-codes.md`.
"""

from __future__ import annotations


class ReconcilerError(Exception):
    """Base of every error that we raise on purpose.

    reason: one CamelCase word, stable, used in conditions and alerts. message: one or more readable
    lines, never a secret.
    """

    exit_code = 1

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


class SpecError(ReconcilerError):
    """The desired state cannot be applied as written."""


class TerminalError(ReconcilerError):
    """Retrying the same generation cannot succeed."""


class WaitingError(ReconcilerError):
    """Not ready yet. retry_after: seconds until it is worth looking again."""

    def __init__(self, reason: str, message: str, retry_after: float = 5.0) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class TransientError(ReconcilerError):
    """Retrying may succeed."""


class UnreachableError(TransientError):
    """The target did not answer; nothing is known about its state."""

    exit_code = 6


class DeadlineError(TransientError):
    """An external call did not end within its deadline and was ended."""


class DatabaseError(TransientError):
    """The store did not answer within its time-out or is damaged."""

    exit_code = 8


class BlockedError(ReconcilerError):
    """A guard refused the change."""

    exit_code = 7


class StalePlanError(BlockedError):
    """What the plan was computed from has changed since."""

    exit_code = 4


class LeaseHeldError(ReconcilerError):
    """Another process holds the lease; the message names it and since when."""

    exit_code = 5


class LeaseLostError(ReconcilerError):
    """Another process took our lease over; nothing that we do now may be recorded."""

    exit_code = 5


class UsageError(ReconcilerError):
    """The command line or a setting is wrong."""

    exit_code = 64
