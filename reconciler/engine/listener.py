"""Who watches an execution: the CLI prints, the daemon logs and counts. Called by the executor, from many threads."""

from __future__ import annotations

from reconciler.model.plan import Change, PlannedStep
from reconciler.model.result import Result, StepOutcome


class Listener:
    """Hears everything and does nothing; override what you care about. Must be quick and must not raise."""

    def change_started(self, change: Change) -> None:
        """Its lease is held and its first step is about to run."""

    def step_started(self, change: Change, step: PlannedStep) -> None:
        """The intent is journalled."""

    def step_progress(self, change: Change, step: PlannedStep, percent: float, message: str) -> None:
        """How far the step is, 0 to 100."""

    def step_ended(self, change: Change, step: PlannedStep, outcome: StepOutcome, message: str) -> None:
        """The outcome is journalled."""

    def change_ended(self, result: Result) -> None:
        """The result is stored."""
