"""The configuration is backed up and locked before the nodes are upgraded, and written once both are verified.

Of its contents nothing is seen here: `Configuration` passes them to the nodes, and answers with checksums.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.errors import TerminalError
from reconciler.kind import Context, Outputs
from reconciler.kinds.node_pair.nodes.configuration import Configuration
from reconciler.kinds.node_pair.nodes.locks import ConfigurationLock
from reconciler.kinds.node_pair.spec import ROLES, ConfigurationSpec, Role
from reconciler.kinds.node_pair.states import Event, PairState
from reconciler.kinds.node_pair.steps.pausing import begin_rolling_back, begin_upgrading, is_as_backed_up
from reconciler.kinds.node_pair.steps.work import SkippedError, Work, perform, recorded
from reconciler.kinds.node_pair.syncing import differing

Sums = Mapping[Role, Mapping[str, str]]


@recorded("back_up_configuration")
def back_up_configuration(work: Work) -> Outputs:
    """Copy it on each node, verified. Outputs: `sums`, by role, the checksum of each file.

    Where both nodes have the same, or nothing is known from before, this is what later changes are told by.
    """
    sums = work.on_both(lambda role: configuration_of(work, role).back_up(work.run))
    if not work.rows.baseline() or not differing(sums["master"], sums["backup"]):
        work.rows.keep_baseline(sums)
    return {"sums": sums}


@recorded("lock_configuration")
def lock_configuration(work: Work) -> Outputs:
    """Keep it from being changed, by whoever, until it is unlocked or the lock expires. Outputs: `expires_at`."""
    expires_at = work.context.now() + _spec(work).lock_expiry
    work.on_both(lambda role: lock_of(work, role).take(work.run, expires_at))
    return {"expires_at": expires_at}


@recorded("unlock_configuration")
def unlock_configuration(work: Work) -> Outputs:
    """Let it be changed again."""
    if work.held:
        raise SkippedError("rsync still runs, so the configuration stays locked")
    work.on_both(lambda role: lock_of(work, role).release())
    return {}


@recorded("write_configuration")
def write_configuration(work: Work) -> Outputs:
    """Write the new configuration on both nodes, verified. Outputs: `sums`, by role, the checksum of each new path."""
    if work.held:
        raise SkippedError("rsync still runs and would carry the old configuration over the new one")
    begin_upgrading(work, "there is no rsync to pause")
    work.went(Event.NODES_VERIFIED, "both nodes are verified", PairState.UPGRADING)
    new = _spec(work).new
    written = work.on_both(lambda role: configuration_of(work, role).write(new))
    sums = {role: {path: found[path] for path in new if path in found} for role, found in written.items()}
    before: Sums = work.rows.baseline() or work.earlier("back_up_configuration").get("sums", {})
    work.rows.keep_baseline({role: {**before.get(role, {}), **sums[role]} for role in ROLES})
    return {"sums": sums}


def restore_configuration(context: Context) -> Outputs | None:
    """Take back the lock, and whatever was written: each file is again as it was backed up, and unlocked."""
    assert context.change is not None
    is_locked = any(step.name == "lock_configuration" for step in context.change.steps)
    step = "lock_configuration" if is_locked else "back_up_configuration"
    return perform(f"undo-{step}", context, _restore)


def renew_lock(work: Work) -> None:
    """Lock for longer what would be unlocked soon: an upgrade may outlast the lock."""
    expires_at = work.earlier("lock_configuration").get("expires_at")
    if expires_at is None or expires_at - work.context.now() > _spec(work).lock_expiry / 2:
        return
    until = work.context.now() + _spec(work).lock_expiry
    work.on_both(lambda role: lock_of(work, role).take(work.run, until))


def configuration_of(work: Work, role: Role) -> Configuration:
    """The configuration of a node."""
    return Configuration(work.nodes[role], _spec(work), work.spec.name)


def lock_of(work: Work, role: Role) -> ConfigurationLock:
    """The lock on a node."""
    return ConfigurationLock(work.nodes[role], _spec(work), work.spec.name)


def _restore(work: Work) -> Outputs:
    begin_rolling_back(work)

    def restore(role: Role) -> None:
        if _is_locked(work):
            lock_of(work, role).release()
        if "back_up_configuration" in work.context.outputs:
            configuration_of(work, role).restore(work.run)

    work.on_both(restore)
    different = is_as_backed_up(work)
    if different:
        raise TerminalError("NotRestored", f"the configuration is not as it was backed up: {', '.join(different[:5])}")
    return {}


def _is_locked(work: Work) -> bool:
    """Whether the spec asks for a lock."""
    return _spec(work).lock != "none"


def _spec(work: Work) -> ConfigurationSpec:
    assert work.spec.configuration is not None
    return work.spec.configuration
