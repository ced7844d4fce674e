"""Looking at rsync while an upgrade runs: every `rsync.monitor` seconds on both nodes, whatever a step waits for.

Called by `work.perform` around each step between the pause and the resume. What runs although it was paused is an
alarm, and is never stopped: it may be somebody's own. A node that does not answer is UNKNOWN.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.errors import LeaseLostError, ReconcilerError, UnreachableError
from reconciler.kinds.node_pair.monitor import verdict
from reconciler.kinds.node_pair.nodes.rsync_control import RsyncControl, RsyncSeen
from reconciler.kinds.node_pair.rows import RsyncStatus, Standing
from reconciler.kinds.node_pair.spec import ROLES, Role

if TYPE_CHECKING:
    from reconciler.kinds.node_pair.steps.work import Work

log = logging.getLogger(__name__)
_NOT_WATCHED = ("detect_rsync", "pause_rsync", "resume_rsync", "synchronize", "compare", "record")
"""The steps that look at rsync themselves, or start it."""


@contextmanager
def watching(work: Work, step: str) -> Iterator[None]:
    """Keep an eye on rsync meanwhile, if this step of an upgrade comes after the pause and before the resume."""
    is_due = work.spec.rsync is not None and "pause_rsync" in work.context.outputs and work.upgrade_id is not None
    if not is_due or step in _NOT_WATCHED or step.startswith("undo-"):
        yield
        return
    watch = RsyncWatch(work)
    thread = threading.Thread(target=watch.run, name=f"rsync-of-{work.spec.name}")
    thread.start()
    try:
        yield
    finally:
        watch.over.set()
        thread.join()


class RsyncWatch:
    """The looking of one step. over: set when the step has ended."""

    def __init__(self, work: Work) -> None:
        self.over = threading.Event()
        self._work = work
        self._seen: dict[Role, dict[str, Any]] = _recorded(work)

    def run(self) -> None:
        """Look whenever it is time, counted from the last look that was recorded, until the step is over."""
        every = self._work.rsync.monitor
        last = min((one["checkedAt"] for one in self._seen.values()), default=0.0)
        while not self.over.wait(max(0.0, min(every, last + every - self._work.context.now()))):
            last = self._work.context.now()
            try:
                for role in ROLES:
                    self._look(role)
            except LeaseLostError:
                return
            except Exception:
                log.exception("NodePair/%s: rsync could not be watched", self._work.spec.name)

    def _look(self, role: Role) -> None:
        work, before = self._work, self._seen.get(role, {})
        node = replace(work.nodes[role], patience=0.0, sleep=self._nap)
        try:
            seen = RsyncControl(node, work.rsync, work.spec.name).look()
        except ReconcilerError as error:
            note(work, role, "UNKNOWN", str(error), before)
            return
        note_seen(work, role, seen)
        is_new = before.get("status") != "RUNNING"
        alarm = verdict(seen.status, upgrade_running=True) if _was_paused(work, role) else None
        if alarm is not None and is_new:
            work.alarm(alarm.reason, f"{role} ({node.address}): {alarm.message}")
        self._seen[role] = {**before, "status": seen.status}

    def _nap(self, seconds: float) -> None:
        """Wait no longer than the step does."""
        if self.over.wait(seconds):
            raise UnreachableError("Over", "the step that it was watched for is over")


def note_seen(work: Work, role: Role, seen: RsyncSeen, resumed_at: float | None = None) -> None:
    """Record how rsync is on a node, with the pause that is on it. resumed_at: when it was resumed, seconds."""
    if seen.pause is not None:
        at, reason = seen.pause.at, seen.pause.reason
        standing = Standing(paused=True, pause_time=at, resume_time=None, reason=reason, detail=seen.detail)
    else:
        before = _recorded(work).get(role, {})
        standing = Standing(
            paused=False,
            pause_time=before.get("pauseTime"),
            resume_time=resumed_at if resumed_at is not None else before.get("resumeTime"),
            reason="UPGRADE" if resumed_at is not None else None,
            detail=seen.detail,
        )
    work.rows.note_rsync(role, work.nodes[role].address, seen.status, **standing)


def note(work: Work, role: Role, status: RsyncStatus, detail: str, before: dict[str, Any] | None = None) -> None:
    """Record how rsync is on a node that could not be looked at: of its pause, what was known."""
    known = before if before is not None else _recorded(work).get(role, {})
    standing = Standing(
        paused=bool(known.get("paused")),
        pause_time=known.get("pauseTime"),
        resume_time=known.get("resumeTime"),
        reason=known.get("reason"),
        detail=detail,
    )
    work.rows.note_rsync(role, work.nodes[role].address, status, **standing)


def _recorded(work: Work) -> dict[Role, dict[str, Any]]:
    """What was last recorded of rsync, by role."""
    nodes = work.rows.status().get("nodes", {})
    return {role: dict(told) for role in ROLES if (told := (nodes.get(role) or {}).get("rsync"))}


def _was_paused(work: Work, role: Role) -> bool:
    """Whether it was brought to a stop on this node, for this upgrade or before it."""
    return bool(work.earlier("pause_rsync").get("nodes", {}).get(role) == "STOPPED")
