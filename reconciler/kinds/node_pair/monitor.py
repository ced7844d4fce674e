"""How rsync is, against how it should be: the document's monitor flow; and what a look saw, kept in the rows.

`verdict` is asked by `looking` and, while an upgrade runs, by its steps; `seen` and `facts` by the kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from reconciler.errors import SpecError
from reconciler.kind import Records
from reconciler.kinds.node_pair import showing
from reconciler.kinds.node_pair.rows import PairRows, RsyncStatus, Standing
from reconciler.kinds.node_pair.spec import ROLES, NodePairSpec
from reconciler.model.observation import Observation
from reconciler.model.resource import Resource

__all__ = ["Alarm", "facts", "seen", "verdict"]

facts = showing.facts
_LOOKED = ("versions", "serving", "locked", "errors")


@dataclass(frozen=True, slots=True)
class Alarm:
    """What people have to be told. reason: one CamelCase word."""

    reason: str
    message: str


def verdict(
    status: RsyncStatus, upgrade_running: bool, paused_for: Literal["UPGRADE", "MANUAL"] | None = None
) -> Alarm | None:
    """Whether rsync is as it should be on a node that is to run it: None when it is. Pure.

    Running during an upgrade and stopped without one are alarms; what an operator paused is as it should be, and of
    what could not be looked at nothing is said.
    """
    if status == "RUNNING" and upgrade_running:
        return Alarm("RsyncRuns", "rsync runs during an upgrade, and should not: it is left alone")
    if status == "STOPPED" and not upgrade_running and paused_for != "MANUAL":
        return Alarm("RsyncStopped", "rsync does not run, and should: no upgrade is under way")
    return None


def seen(records: Records, resource: Resource, observation: Observation) -> None:
    """Record what a look saw of both nodes, in the transaction that stores its outcome (see `kind.KeepsSeen`)."""
    if resource.lifecycle.state == "absent" or not observation.facts:
        return
    rows = PairRows(records, resource.ref.name, lambda: observation.observed_at)
    try:
        rows.ensure(NodePairSpec.of(resource))
    except SpecError:
        if not rows.is_known():
            return
    rsync, before = observation.facts.get("rsync", {}), rows.status().get("nodes", {})
    for role in ROLES:
        if told := rsync.get(role):
            last = (before.get(role) or {}).get("rsync")
            rows.note_rsync(role, told["address"], told["status"], **_standing(told, last, observation.observed_at))
    looked = {name: observation.facts[name] for name in _LOOKED if name in observation.facts}
    rows.note_look(looked, observation.observed_at)


def _standing(told: dict[str, Any], last: dict[str, Any] | None, at: float) -> Standing:
    """What a look says of a pause, with the times of the last one that was recorded.

    A pause that is gone without a word of ours was ended by somebody: then it ended when that was seen.
    """
    detail = told.get("detail", "")
    if told["paused"]:
        return Standing(
            paused=True, pause_time=told["pause_time"], resume_time=None, reason=told["reason"], detail=detail
        )
    pause_time, resume_time, reason = None, None, None
    if last is not None:
        pause_time, resume_time = last["pauseTime"], last["resumeTime"]
        if told["status"] == "UNKNOWN":
            return Standing(
                paused=last["paused"],
                pause_time=pause_time,
                resume_time=resume_time,
                reason=last["reason"],
                detail=detail,
            )
        if last["paused"] and resume_time is None:
            resume_time = at
    return Standing(paused=False, pause_time=pause_time, resume_time=resume_time, reason=reason, detail=detail)
