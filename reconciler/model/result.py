"""What was done: the outcome of steps and changes, and the recap. Made by the executor, shown by CLI and page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from reconciler.model.plan import Change

Verdict = Literal["ok", "changed", "unreachable", "failed", "skipped", "blocked", "unknown"]
VERDICTS: tuple[Verdict, ...] = ("ok", "changed", "unreachable", "failed", "skipped", "blocked", "unknown")


class StepOutcome(StrEnum):
    """How a journalled step ended. OPEN: its intent is written, its outcome is not (yet)."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True)
class Result:
    """How one change ended. reason and message as in a condition; retry_after: seconds, or None for the back-off."""

    change: Change
    verdict: Verdict
    reason: str
    message: str
    outcomes: tuple[tuple[str, StepOutcome], ...] = ()
    retry_after: float | None = None
    stalled: bool = False
    duration: float = 0.0


def recap(results: Iterable[Result]) -> dict[str, dict[Verdict, int]]:
    """Counts per target and verdict, targets sorted, every verdict present."""
    counts: dict[str, dict[Verdict, int]] = {}
    for result in results:
        row = counts.setdefault(result.change.target, dict.fromkeys(VERDICTS, 0))
        row[result.verdict] += 1
    return dict(sorted(counts.items()))
