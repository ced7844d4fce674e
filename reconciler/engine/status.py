"""One function turns what a pass found into conditions; nobody else writes them. Called by reconcile and executor.

kstatus: `Ready` sums up; `Reconciling`, `Stalled` and `Suspended` are present only while they are true.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from reconciler.model.condition import Condition, ConditionStatus
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change
from reconciler.model.result import Result
from reconciler.store.statuses import Status, StatusUpdate

PENDING_REASONS = frozenset({"NeedsApproval", "ReplaceForbidden"})
UNSEEN = frozenset({"SpecInvalid", "UnknownKind"})
"""Reasons for which nobody looked, although nothing was in the way of looking."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass found out about one resource.

    change: what was planned. result: how it ended, None when nothing was run. problem: what is wrong with its document
    ("" when nothing is). unhealthy: why what is there does not work. answered: the token of the request that waited
    when the look began; one that came later is not answered by it. seen: what the last look showed, for kinds that keep
    it.
    """

    change: Change
    result: Result | None = None
    problem: str = ""
    unhealthy: str = ""
    answered: str = ""
    seen: Observation | None = None


def status_update(previous: Status | None, outcome: Outcome, now: float) -> StatusUpdate:
    """The status to store: conditions with their transition times, drift, failures in a row, pending approval."""
    change = outcome.change
    generation = change.resource.generation
    conditions = _stamped(previous, _verdicts(outcome), generation, now)
    result = outcome.result
    settled = result.verdict in ("ok", "changed") if result is not None else change.action is Action.NOOP
    failed = result is not None and result.verdict != "skipped"
    failures = 0 if settled else (previous.failures if previous else 0) + failed
    obstacle = change.obstacle
    looked = obstacle is None or (obstacle.kind not in ("unknown", "suspended") and obstacle.reason not in UNSEEN)
    waits = obstacle is not None and obstacle.reason in PENDING_REASONS and result is None
    pending = {"fingerprint": change.fingerprint, "action": change.action.value, "why": change.why} if waits else None
    return StatusUpdate(
        ref=change.ref,
        conditions=conditions,
        observed_generation=generation,
        drift=() if settled else tuple((entry.path, entry.before, entry.after) for entry in change.diffs),
        failures=failures,
        checked_at=now if looked else None,
        handled_at=outcome.answered,
        pending=pending,
        protected=change.resource.lifecycle.deletion == "protect" if settled and obstacle is None else None,
    )


Verdict = tuple[str, ConditionStatus, str, str]
"""A condition without its times: type, status, reason, message."""
_VALID: Verdict = ("SpecValid", "True", "Valid", "the document is valid")
_SEEN: Verdict = ("Observed", "True", "Observed", "its state is known")
_SOUND: Verdict = ("Healthy", "True", "Healthy", "nothing wrong was seen")


def _verdicts(outcome: Outcome) -> tuple[Verdict, ...]:
    """Every condition that holds, `Ready` first."""
    change = outcome.change
    if (
        change.action is Action.NOOP
        and change.obstacle is None
        and not (outcome.result or outcome.problem or outcome.unhealthy)
    ):
        return _undisturbed(change.resource.lifecycle.state == "absent", change.why)
    return tuple(_judged(outcome))


@lru_cache(maxsize=64)
def _undisturbed(absent: bool, why: str) -> tuple[Verdict, ...]:
    """What holds for nearly all of ten thousand resources: there is nothing to do and nothing is wrong."""
    ready = ("Absent", "absent, as desired") if absent else ("AsDesired", "as desired")
    return (("Ready", "True", *ready), _VALID, _SEEN, ("Applied", "True", "AsDesired", why), _SOUND)


def _judged(outcome: Outcome) -> Iterable[Verdict]:
    parts = [_spec_valid(outcome), _observed(outcome.change), _applied(outcome), _healthy(outcome)]
    extra = list(_transient(outcome))
    worst = next((part for part in parts if part[1] == "False"), None)
    worst = worst or next((part for part in parts if part[1] == "Unknown"), None)
    stalled = next((entry for entry in extra if entry[0] == "Stalled"), None)
    if worst is None:
        absent = outcome.change.resource.lifecycle.state == "absent"
        yield "Ready", "True", "Absent" if absent else "AsDesired", "absent, as desired" if absent else "as desired"
    else:
        blamed = stalled or worst
        yield "Ready", "Unknown" if worst[1] == "Unknown" else "False", blamed[2], blamed[3]
    yield from extra
    yield from parts


def _spec_valid(outcome: Outcome) -> Verdict:
    if outcome.problem:
        return "SpecValid", "False", "InvalidSpec", outcome.problem
    return _VALID


def _observed(change: Change) -> Verdict:
    if change.obstacle is not None and (change.obstacle.kind == "unknown" or change.obstacle.reason in UNSEEN):
        return "Observed", "Unknown", change.obstacle.reason, change.obstacle.message
    if change.obstacle is not None and change.obstacle.kind == "suspended":
        return "Observed", "True", "Suspended", "not looked at while suspended"
    return _SEEN


def _applied(outcome: Outcome) -> Verdict:
    change, result = outcome.change, outcome.result
    if result is not None:
        if result.verdict in ("ok", "changed"):
            return "Applied", "True", "Applied", result.message or "applied and verified"
        if result.verdict in ("unreachable", "unknown"):
            return "Applied", "Unknown", result.reason, result.message
        return "Applied", "False", result.reason, result.message
    obstacle = change.obstacle
    if obstacle is None:
        if change.action is Action.NOOP:
            return "Applied", "True", "AsDesired", change.why
        return "Applied", "False", "Pending", change.why
    if obstacle.kind == "unknown":
        return "Applied", "Unknown", obstacle.reason, obstacle.message
    if obstacle.kind == "suspended":
        return "Applied", "Unknown", "Suspended", obstacle.message
    return "Applied", "False", obstacle.reason, obstacle.message


def _healthy(outcome: Outcome) -> Verdict:
    if outcome.unhealthy:
        return "Healthy", "False", "Unhealthy", outcome.unhealthy
    obstacle = outcome.change.obstacle
    if obstacle is not None and (obstacle.kind in ("unknown", "suspended") or obstacle.reason in UNSEEN):
        return "Healthy", "Unknown", obstacle.reason, "its health is not known"
    return _SOUND


def _transient(outcome: Outcome) -> Iterable[Verdict]:
    change, result = outcome.change, outcome.result
    obstacle = change.obstacle
    if obstacle is not None and obstacle.kind == "suspended":
        yield "Suspended", "True", "Suspended", obstacle.message
    if outcome.problem:
        yield "Stalled", "True", "InvalidSpec", outcome.problem
    elif result is not None and result.verdict not in ("ok", "changed"):
        kind = "Stalled" if result.stalled else "Reconciling"
        yield kind, "True", result.reason, result.message
    elif result is None and obstacle is not None and obstacle.kind == "blocked":
        yield "Stalled", "True", obstacle.reason, obstacle.message
    elif result is None and obstacle is not None and obstacle.kind in ("waiting", "unknown"):
        yield "Reconciling", "True", obstacle.reason, obstacle.message
    elif result is None and obstacle is None and change.action is not Action.NOOP:
        yield "Reconciling", "True", "Pending", change.why


def _stamped(
    previous: Status | None, verdicts: tuple[Verdict, ...], generation: int, now: float
) -> tuple[Condition, ...]:
    """The conditions that the verdicts are, each since it was last otherwise. The ones before, where nothing is new."""
    known = previous.conditions if previous is not None else ()
    if len(known) == len(verdicts) and all(
        one[:4] == verdict and one.observed_generation == generation
        for one, verdict in zip(known, verdicts, strict=True)
    ):
        return known
    since = {(entry.type, entry.status): entry.last_transition for entry in known}
    return tuple(Condition(*verdict, generation, since.get(verdict[:2], now)) for verdict in verdicts)
