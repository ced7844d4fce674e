"""Which exit code a result means. The table of `docs/exit-codes.md`; a test compares the two."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.plan import Plan
from reconciler.model.result import Result, Verdict

OK, ERROR, CHANGES, PARTLY, STALE, LEASE, UNKNOWN, BLOCKED, DATABASE = range(9)
USAGE, INTERRUPTED = 64, 130
TABLE = {
    OK: "done, nothing is wrong",
    ERROR: "an error; for `diff`: there are differences",
    CHANGES: "`plan --detailed-exitcode`: there are changes; `diff`: an error",
    PARTLY: "some changes succeeded, others did not",
    STALE: "the plan is stale: what it was computed from has moved, or it was used before",
    LEASE: "somebody else holds the lease",
    UNKNOWN: "a target could not be reached, or its state is not known",
    BLOCKED: "a change is blocked or needs an approval",
    DATABASE: "the database cannot be used",
    USAGE: "wrong usage or settings",
    INTERRUPTED: "interrupted",
}
_BY_REASON = {
    "LeaseHeld": LEASE,
    "LeaseLost": LEASE,
    "Moved": STALE,
    "StepsMoved": STALE,
    "DependencyNotReady": BLOCKED,
    "DatabaseError": DATABASE,
    "DatabaseLocked": DATABASE,
}
_ON_PURPOSE = "Suspended"
_BY_VERDICT: dict[Verdict, int] = {
    "failed": ERROR,
    "skipped": ERROR,
    "unreachable": UNKNOWN,
    "unknown": UNKNOWN,
    "blocked": BLOCKED,
}


def of_results(results: Iterable[Result]) -> int:
    """For `apply`: 0 when all is well, 3 when only a part is, otherwise what is wrong with the first one."""
    listed = list(results)
    bad = [result for result in listed if result.verdict not in ("ok", "changed") and result.reason != _ON_PURPOSE]
    if not bad:
        return OK
    if any(result.verdict == "changed" for result in listed):
        return PARTLY
    serious = [result for result in bad if result.verdict == "failed"] or bad
    return _BY_REASON.get(serious[0].reason, _BY_VERDICT[serious[0].verdict])


def of_plan(plan: Plan, *, detailed: bool) -> int:
    """For `plan`: 6 when something could not be looked at; detailed also 2 for changes, 7 for blocked ones."""
    obstacles = {change.obstacle.kind for change in plan.changes if change.obstacle is not None}
    if "unknown" in obstacles:
        return UNKNOWN
    if not detailed:
        return OK
    if plan.effective:
        return CHANGES
    return BLOCKED if obstacles & {"blocked", "waiting"} else OK
