"""How a resource stands, in one word, and which words mean that something is wrong. One SQL expression says it.

Counting, filtering and sorting all use it, so that the overview, the list and a resource's page never disagree:

    stalled      trying again cannot help: the document has to change
    failed       the last attempt failed and is tried again
    unknown      could not be looked at, e.g. unreachable
    blocked      a guard refused, or an approval is awaited
    overdue      suspended for longer than was said
    vanished     no longer in the specs, and not deleted
    drifted      differs from its document and is left alone (mode notify)
    waiting      something that it needs is not ready
    reconciling  being changed, or a newer generation was not looked at yet
    new          never looked at
    suspended    left alone on purpose
    ready        as desired
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Integer, and_, case, cast, func, literal, or_

from reconciler.store.tables import resources, statuses

Standing = Literal[
    "stalled",
    "failed",
    "unknown",
    "blocked",
    "overdue",
    "vanished",
    "drifted",
    "waiting",
    "reconciling",
    "new",
    "suspended",
    "ready",
]
STANDINGS: tuple[Standing, ...] = get_args(Standing)
"""Worst first."""
WRONG: tuple[Standing, ...] = STANDINGS[: STANDINGS.index("waiting")]
"""What somebody should look at."""

_BLOCKED = (
    "NeedsApproval",
    "ReplaceForbidden",
    "Protected",
    "StillNeeded",
    "TooManyDeletes",
    "EmptySource",
    "SpecsBroken",
    "UnknownKind",
)
_UNKNOWN = ("Unreachable", "NotObserved")
_WAITING = ("DependencyNotReady",)
AGAIN = ("Pending", "Moved", "StepsMoved", "Superseded", "ShuttingDown", "LeaseHeld", "LeaseLost")
"""Nothing failed: it is simply done again, at once or soon."""


def standing_column(now: float) -> ColumnElement[str]:
    """The standing of a row of `resources` joined with `statuses`, as a column. now: by the database's clock."""
    ready = func.coalesce(statuses.c.ready, "Unknown")
    reason = func.coalesce(statuses.c.reason, "")
    outdated = func.coalesce(statuses.c.observed_generation, 0) < resources.c.generation
    never = and_(ready == "Unknown", reason == "", statuses.c.checked_at.is_(None))
    return case(
        (resources.c.vanished_at.is_not(None), "vanished"),
        (statuses.c.suspend_until < now, "overdue"),
        (is_suspended(), "suspended"),
        (or_(statuses.c.pending.is_not(None), reason.in_(_BLOCKED)), "blocked"),
        (_has_condition("Stalled"), "stalled"),
        (reason.in_(_UNKNOWN), "unknown"),
        (reason.in_(_WAITING), "waiting"),
        (or_(reason == "DriftReported", and_(ready == "True", statuses.c.drift != "[]")), "drifted"),
        (or_(reason.in_(AGAIN), and_(ready == "True", outdated)), "reconciling"),
        (ready == "True", "ready"),
        (never, "new"),
        (and_(_has_condition("Reconciling"), statuses.c.failures == 0), "reconciling"),
        (ready == "False", "failed"),
        else_="unknown",
    )


def rank_column(standing: ColumnElement[str]) -> ColumnElement[int]:
    """Where a standing comes in STANDINGS: what "worst first" sorts by."""
    return case({word: literal(place) for place, word in enumerate(STANDINGS)}, value=standing, else_=len(STANDINGS))


def is_suspended() -> ColumnElement[bool]:
    """Suspended by hand or in the document. The texts are canonical JSON, where a string cannot hold a bare quote."""
    return or_(statuses.c.suspend_since.is_not(None), resources.c.lifecycle.contains('"suspend":true', autoescape=True))


def as_flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """A condition as 1 or 0 in a row, also where it is NULL."""
    return cast(func.coalesce(case((condition, 1), else_=0), 0), Integer)


def joined() -> Any:
    """Every resource with its status."""
    same = and_(resources.c.kind == statuses.c.kind, resources.c.name == statuses.c.name)
    return resources.outerjoin(statuses, same)


def _has_condition(type_: str) -> ColumnElement[bool]:
    return statuses.c.conditions.contains(f'"status":"True","type":"{type_}"', autoescape=True)
