"""Rsync runs again, one synchronization is run, and both nodes are compared. Nothing of this can be taken back.

Before anything flows, the direction is checked: the source has to be an upgraded node with the configuration that was
written, and the other side may not have been changed as well. What is not so stays as it is until a person decides.
"""

from __future__ import annotations

from reconciler.errors import ReconcilerError, TerminalError
from reconciler.kind import Outputs
from reconciler.kinds.node_pair.nodes.checking import version_of
from reconciler.kinds.node_pair.nodes.rsync_control import Pause
from reconciler.kinds.node_pair.spec import ROLES, Role
from reconciler.kinds.node_pair.states import Event, PairState
from reconciler.kinds.node_pair.steps.pausing import look_at_both, resume_on
from reconciler.kinds.node_pair.steps.securing import configuration_of
from reconciler.kinds.node_pair.steps.watching import note_seen
from reconciler.kinds.node_pair.steps.work import STOPS_US, SkippedError, Work, recorded
from reconciler.kinds.node_pair.syncing import conflict_between, differing, synchronize

SUCCESS = "SUCCESS"


@recorded("resume_rsync", gently=True)
def resume_rsync(work: Work) -> Outputs:
    """Start it again, after a look at the direction. Outputs: `resumed`, `at` (seconds), or `partial`, or `wait`.

    What an operator paused stays paused (`by_hand`).
    """
    _may_flow(work)
    work.said("COORDINATOR", "MASTER", "is rsync still stopped?")
    found = look_at_both(work)
    work.said("MASTER", "COORDINATOR", f"rsync is {found['master']['status']} before it is resumed")
    if astray := _astray(work):
        return _left_to_a_person(work, "WrongDirection", f"rsync is not resumed: {astray}")
    if conflict := _conflict(work):
        return _left_to_a_person(work, "ConfigurationConflict", f"rsync is not resumed: {conflict}")
    work.said("COORDINATOR", "MASTER", "start rsync")
    try:
        is_free = [resume_on(work, role) for role in ROLES]
    except STOPS_US:
        raise
    except ReconcilerError as error:
        return _not_resumed(work, error)
    if not all(is_free):
        look_at_both(work)
        return {"resumed": False, "by_hand": True}
    work.said("MASTER", "COORDINATOR", "rsync started")
    work.went(Event.SYNC_BEGAN, "rsync runs again", PairState.UPGRADED)
    at = work.context.now()
    if not _is_planned(work, "synchronize"):
        note_resumed(work, at)
    return {"resumed": True, "at": at}


@recorded("synchronize", gently=True)
def synchronize_once(work: Work) -> Outputs:
    """One synchronization from the master to the backup, recorded. Outputs: `status`, `files`, both checksums."""
    _needs_resumed(work)
    if conflict := _conflict(work):
        return _left_to_a_person(work, "ConfigurationConflict", f"nothing is synchronized: {conflict}")
    outputs = _recorded_sync(work) or _synchronized(work)
    if outputs["status"] == SUCCESS:
        return outputs
    message = f"the synchronization after the upgrade ended with {outputs['status']}: {outputs['error']}"
    work.alarm("SyncFailed", message)
    return {**outputs, "partial": message}


@recorded("compare", gently=True)
def compare(work: Work) -> Outputs:
    """Each file on both nodes. Outputs: `alike`, or `wait`: then rsync is stopped until a person decides."""
    _needs_resumed(work)
    if work.earlier("synchronize").get("wait"):
        raise SkippedError("nothing was synchronized")
    work.went(Event.VERIFY_BEGAN, "both nodes are compared", PairState.SYNCING)
    sums = work.on_both(lambda role: configuration_of(work, role).sums())
    different = differing(sums["master"], sums["backup"])
    if not different:
        work.went(Event.ALIKE, "both nodes have the same configuration", PairState.VERIFYING)
        work.rows.keep_baseline(sums)
        return {"alike": True, "files": len(sums["master"])}
    shown = ", ".join(different[:5]) + (f" and {len(different) - 5} more" if len(different) > 5 else "")
    message = f"the configuration is not the same on both nodes: {shown}; rsync is stopped"
    work.went(Event.DIFFERENT, message, PairState.VERIFYING)
    return _left_to_a_person(work, "ConfigurationDiffers", message)


def note_resumed(work: Work, at: float) -> None:
    """Record that rsync was resumed on both nodes. at: seconds since the epoch."""
    for role in ROLES:
        note_seen(work, role, work.control(role).look(), at)


def _may_flow(work: Work) -> None:
    """Raises SkippedError where an earlier step said that rsync has to stay as it is."""
    if work.held:
        raise SkippedError("it could not be stopped before the configuration was to be written")
    for step in ("switch_back", "write_configuration"):
        if why := work.earlier(step).get("wait"):
            raise SkippedError(f"rsync stays paused, for {why}")


def _needs_resumed(work: Work) -> None:
    if not work.earlier("resume_rsync").get("resumed"):
        raise SkippedError("rsync was not resumed")


def _astray(work: Work) -> str:
    """Why the master may not be the source; "" when it may."""
    reported = work.on_both(lambda role: version_of(work.nodes[role], work.spec))
    behind = [f"{role} runs {reported[role]}" for role in ROLES if reported[role] != work.spec.version]
    if behind:
        return f"not both nodes are upgraded to {work.spec.version}: {' and '.join(behind)}"
    if work.spec.configuration is None:
        return ""
    configuration = configuration_of(work, "master")
    pending = configuration.pending(work.spec.configuration.new)
    old = sorted(path for path, standing in pending.items() if standing != "current")
    written = work.earlier("write_configuration").get("sums", {}).get("master", {})
    now = configuration.sums() if written else {}
    old += sorted(path for path, digest in written.items() if now.get(path) != digest and path not in old)
    return f"the master does not have the new configuration any more: {', '.join(old)}" if old else ""


def _conflict(work: Work) -> str:
    """Which files were changed on both sides; "" for none, or when nothing is known from before."""
    baseline = work.rows.baseline()
    if work.spec.configuration is None or not baseline:
        return ""
    return conflict_between(baseline, work.on_both(lambda role: configuration_of(work, role).sums()))


def _left_to_a_person(work: Work, reason: str, message: str) -> Outputs:
    """Rsync stays stopped, also over a reboot; nothing more is done before a person decides."""
    work.alarm(reason, message)
    pause = Pause("UPGRADE", work.run or "reconciler", work.context.now())
    try:
        work.on_both(lambda role: work.control(role).pause(pause), _with_rsync(work))
    except STOPS_US:
        raise
    except ReconcilerError as error:
        work.alarm("RsyncNotPaused", f"rsync could not be stopped: {error}")
    look_at_both(work)
    if work.upgrade_id is None:
        raise TerminalError(reason, message)
    return {"resumed": False, "wait": message}


def _with_rsync(work: Work) -> list[Role]:
    """The nodes that have something to pause."""
    return [role for role in ROLES if role == "master" or work.rsync.timers or work.control(role).look().exists]


def _not_resumed(work: Work, error: ReconcilerError) -> Outputs:
    if work.upgrade_id is None:
        raise error
    tries = work.rsync.resume_tries
    message = f"upgraded, but rsync did not start, tried {tries} times: {error}; start it by hand"
    work.alarm("RsyncNotResumed", message)
    work.went(Event.RESUME_FAILED, message, PairState.UPGRADED)
    look_at_both(work)
    return {"resumed": False, "partial": message}


def _synchronized(work: Work) -> dict[str, object]:
    """Run it, with its messages; those about the resume come after it, as the document has them."""
    work.said("COORDINATOR", "MASTER", "synchronize once")
    work.said("MASTER", "BACKUP", "files")
    synced = synchronize(work.nodes, work.spec, log=work.context.log, alarm=work.alarm)
    work.said("BACKUP", "MASTER", "files are there" if synced.status == SUCCESS else f"ended with {synced.status}")
    work.said("MASTER", "COORDINATOR", f"synchronized: {synced.status}")
    work.said("COORDINATOR", "STORE", "rsync is resumed")
    note_resumed(work, work.earlier("resume_rsync")["at"])
    work.said("STORE", "STORE", "inserted rsync_status_record of the resume")
    work.said("COORDINATOR", "STORE", "history of the synchronization")
    addresses = (work.nodes["master"].address, work.nodes["backup"].address)
    work.rows.note_sync(work.upgrade_id, addresses, synced)
    work.said("STORE", "STORE", "inserted config_sync_record")
    work.said("COORDINATOR", "MANAGER", "rsync is resumed")
    return {
        "status": synced.status,
        "files": len(synced.files),
        "checksum_before": synced.checksum_before,
        "checksum_after": synced.checksum_after,
        "error": synced.error,
    }


def _recorded_sync(work: Work) -> dict[str, object]:
    """The synchronization of this upgrade, if it was recorded before we died; nothing if not."""
    rows = work.context.records.list("config_sync_record", upgrade_id=work.upgrade_id)
    if not rows:
        return {}
    row = rows[-1]
    return {
        "status": row["sync_status"],
        "files": row["files_synced"],
        "checksum_before": row["checksum_before"],
        "checksum_after": row["checksum_after"],
        "error": row["error_message"] or "",
    }


def _is_planned(work: Work, step: str) -> bool:
    assert work.context.change is not None
    return any(one.name == step for one in work.context.change.steps)
