"""Letting go of a pair: nothing of ours stays on its nodes, and nothing of their own is touched."""

from __future__ import annotations

from reconciler.errors import BlockedError
from reconciler.kinds.node_pair.nodes.pair_folder import checked_name
from reconciler.kinds.node_pair.spec import ROLES, Role
from reconciler.kinds.node_pair.steps.clearing import forget_all, runs_of
from reconciler.kinds.node_pair.steps.securing import lock_of
from reconciler.kinds.node_pair.steps.work import Work, recorded


@recorded("release")
def release(work: Work) -> None:
    """Unlock, resume what an upgrade had paused, remove our files from both nodes, then the pair's row.

    What an operator paused stays stopped, but is no longer kept from starting.
    """
    checked_name(work.spec.name)
    for role in ROLES:
        _release(work, role)
    left = work.rows.open_upgrade()
    if left is not None:
        work.rows.end_upgrade(left["upgrade_id"], "FAILED", "the pair was let go of before the upgrade had ended")
    work.rows.forget()


def _release(work: Work, role: Role) -> None:
    if work.spec.configuration is not None:
        lock_of(work, role).release()
    if work.spec.rsync is not None:
        control = work.control(role)
        pause = control.look().pause
        if pause is not None:
            try:
                control.resume("UPGRADE")
            except BlockedError as error:
                work.tell(f"{role}: it stays stopped: {error}")
        control.forget()
    forget_all(work, role, runs_of(work))
