"""How an upgrade ends: recorded, whichever way it went, and told to people where they have something to do.

What is raised here comes after everything was written: the pair's rows say the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.errors import LeaseLostError, ReconcilerError, TerminalError
from reconciler.kind import Context, Outputs
from reconciler.kinds.node_pair.nodes.checking import version_of
from reconciler.kinds.node_pair.spec import ROLES, Role
from reconciler.kinds.node_pair.states import Event, PairState
from reconciler.kinds.node_pair.steps.clearing import clear_older
from reconciler.kinds.node_pair.steps.pausing import begin_rolling_back, begin_upgrading, is_as_backed_up
from reconciler.kinds.node_pair.steps.resuming import note_resumed
from reconciler.kinds.node_pair.steps.securing import lock_of
from reconciler.kinds.node_pair.steps.upgrading import serving_roles
from reconciler.kinds.node_pair.steps.work import STOPS_US, Work, perform, recorded

LEFT_TO_A_PERSON = (
    PairState.UPGRADING,
    PairState.UPGRADED,
    PairState.SYNCING,
    PairState.VERIFY_FAILED,
    PairState.RESUME_FAILED,
)


@recorded("record")
def record(work: Work) -> Outputs:
    """End the upgrade. Raises TerminalError("WaitManual" | "PartialSuccess") when a person has something to do."""
    waits = [str(one["wait"]) for one in work.context.outputs.values() if one.get("wait")]
    partial = [str(one["partial"]) for one in work.context.outputs.values() if one.get("partial")]
    message = "; ".join((*waits, *partial))
    _note_resume(work)
    if waits or work.rows.state() is PairState.RESUME_FAILED:
        work.went(Event.DIFFERENT, message, PairState.VERIFYING)
        work.went(Event.NEEDS_PERSON, message, *LEFT_TO_A_PERSON)
    else:
        _finish(work)
    assert work.upgrade_id is not None
    work.rows.end_upgrade(work.upgrade_id, "PARTIAL" if message else "SUCCESS", message)
    _tidy(work)
    if waits:
        raise TerminalError("WaitManual", f"{message}. {resolving(work)}")
    if partial:
        raise TerminalError("PartialSuccess", f"upgraded to {work.spec.version}, but {message}")
    return {"status": "SUCCESS"}


def end_rolled_back(context: Context) -> Outputs | None:
    """After everything was taken back: whether both nodes really are as they were before the upgrade.

    If not, the pair waits for a person, who is told what to do in so many words.
    """
    return perform("undo-check_nodes", context, _end_rolled_back)


def resolving(work: Work) -> str:
    """How a person goes on."""
    command = f"reconciler rsync resolve {work.spec.name} --keep master|backup"
    return f"Nothing more is done before a person decides: look at both nodes, then `{command}`"


def _finish(work: Work) -> None:
    """Whatever steps this upgrade had, rsync runs and the upgrade is over."""
    passed = work.context.records.list("pair_transitions", pair=work.spec.name, upgrade_id=work.upgrade_id)
    if passed and work.rows.state() is PairState.RSYNC_RUNNING:
        return  # this step was interrupted right after that
    begin_upgrading(work, "there was nothing to pause")
    work.went(Event.NODES_VERIFIED, "both nodes are verified", PairState.UPGRADING)
    work.went(Event.SYNC_BEGAN, "there is no rsync to resume, or it was paused by hand", PairState.UPGRADED)
    work.went(Event.SYNCED_UNVERIFIED, "there is nothing to compare", PairState.SYNCING)
    work.went(Event.FINISHED, f"upgraded to {work.spec.version}", PairState.VERIFY_OK)


def _note_resume(work: Work) -> None:
    """The resume is recorded after the synchronization; if that came to nothing, here.

    The upgrade ends all the same where a node does not let us see how its rsync is.
    """
    resumed = work.earlier("resume_rsync")
    known = (work.rows.status()["nodes"]["master"]["rsync"] or {}) if resumed.get("resumed") else {}
    if not known.get("paused"):
        return
    try:
        note_resumed(work, resumed["at"])
    except STOPS_US:
        raise
    except ReconcilerError as error:
        work.tell(f"rsync was resumed; how it is now cannot be seen: {error}")


def _tidy(work: Work) -> None:
    """What older upgrades left on the nodes goes. That it stays is no reason for this one to fail."""
    try:
        clear_older(work)
    except LeaseLostError:
        raise
    except ReconcilerError as error:
        work.tell(f"older upgrades' files stay on the nodes: {error}")


def _end_rolled_back(work: Work) -> Outputs:
    assert work.upgrade_id is not None
    begin_rolling_back(work)
    todo = _not_as_before(work)
    cause = _cause(work)
    if not todo:
        work.went(Event.ROLLED_BACK, "both nodes are as they were before", PairState.ROLLING_BACK)
        work.rows.end_upgrade(work.upgrade_id, "ROLLED_BACK", cause)
        return {"status": "ROLLED_BACK"}
    work.went(Event.STARTED, "the upgrade failed before rsync was paused", PairState.RSYNC_RUNNING)
    begin_rolling_back(work)
    message = f"the upgrade failed ({cause}), and not everything could be taken back. To do: {'; '.join(todo)}"
    work.went(Event.NEEDS_PERSON, message, PairState.ROLLING_BACK)
    work.rows.end_upgrade(work.upgrade_id, "FAILED", message)
    work.alarm("RollbackIncomplete", message)
    raise TerminalError("WaitManual", f"{message}. {resolving(work)}")


def _cause(work: Work) -> str:
    """Why the upgrade failed, as its step said."""
    rows = work.context.records.list("upgrade_progress", upgrade_id=work.upgrade_id, status="FAILED")
    failed = [row for row in rows if not row["step"].startswith("undo-") and row["step"] != "pause_rsync"]
    return f"{failed[-1]['step']}: {failed[-1]['message']}" if failed else "a step failed"


def _not_as_before(work: Work) -> list[str]:
    """What a person has to do until both nodes are as they were."""
    todo: list[str] = []
    for look in (_versions, _serving, _configuration, _locks, _rsync):
        try:
            todo += look(work)
        except STOPS_US:
            raise
        except ReconcilerError as error:
            todo.append(f"look yourself, for we could not: {error}")
    return todo


def _versions(work: Work) -> list[str]:
    reported = work.on_both(lambda role: version_of(work.nodes[role], work.spec))
    todo = []
    for role in ROLES:
        before = work.version_before(role)
        if reported[role] != before:
            todo.append(f"{_name(work, role)} runs {reported[role] or 'nothing'}: {_back_to(work, before)}")
    return todo


def _back_to(work: Work, version: str) -> str:
    """How a version is put back by hand."""
    commands = [work.spec.commands[name] for name in ("rollback", "start") if name in work.spec.commands]
    how = " and ".join(f"`{command}`" for command in commands)
    return f"put {version} back" + (f" with {how}, with VERSION={version}" if how else "")


def _serving(work: Work) -> Sequence[str]:
    served = work.earlier("check_nodes").get("serving")
    if not served or work.spec.serving is None:
        return ()
    serving = serving_roles(work)
    if serving == [served]:
        return ()
    return (f"{' and '.join(serving) or 'no node'} serves: let the {served} serve, as before",)


def _configuration(work: Work) -> Sequence[str]:
    changed = is_as_backed_up(work)
    if not changed or work.spec.configuration is None:
        return ()
    copies = f"{work.spec.configuration.backup_directory}/{work.spec.name}/{work.run}"
    return (f"restore from {copies} on its node: {', '.join(changed[:10])}",)


def _locks(work: Work) -> Sequence[str]:
    if work.spec.configuration is None:
        return ()
    seen = work.on_both(lambda role: lock_of(work, role).look())
    how = "chattr -i" if work.spec.configuration.lock == "immutable" else "chmod u+w"
    return [f"on the {role}: `{how} {' '.join(seen[role].paths)}`" for role in ROLES if seen[role].paths]


def _rsync(work: Work) -> Sequence[str]:
    if work.spec.rsync is None or "pause_rsync" not in work.context.outputs:
        return ()
    todo = []
    before = work.earlier("detect_rsync").get("nodes", {})
    for role in ROLES:
        seen = work.control(role).look()
        is_ours = seen.pause is not None and seen.pause.reason == "UPGRADE"
        is_by_hand = seen.pause is not None and seen.pause.reason == "MANUAL"
        stopped = before.get(role, {}).get("status") == "RUNNING" and seen.status != "RUNNING" and not is_by_hand
        if is_ours or stopped:
            todo.append(f"rsync is {'paused' if is_ours else 'stopped'} on {_name(work, role)}: resume it")
    return todo


def _name(work: Work, role: Role) -> str:
    return f"the {role} ({work.nodes[role].address})"
