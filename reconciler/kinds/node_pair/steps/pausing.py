"""Rsync is stopped before the first command of an upgrade, and confirmed to be stopped before anything is written.

An upgrade does not depend on the pause: when it fails people are told, and it is tried again once both nodes are
verified. Only if it cannot be had then either, nothing is written, resumed or synchronized.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.errors import BlockedError, ReconcilerError, TerminalError
from reconciler.kind import Context, Outputs
from reconciler.kinds.node_pair.nodes.configuration import Configuration
from reconciler.kinds.node_pair.nodes.locks import ConfigurationLock
from reconciler.kinds.node_pair.nodes.rsync_control import Pause, RsyncSeen
from reconciler.kinds.node_pair.spec import ROLES, Role
from reconciler.kinds.node_pair.states import Event, PairState
from reconciler.kinds.node_pair.steps.watching import note, note_seen
from reconciler.kinds.node_pair.steps.work import STOPS_US, Work, perform, recorded

UNKNOWN = "UNKNOWN"
_AGAIN_AFTER = 1.0
_ROLLED_BACK_FROM = (PairState.UPGRADE_PAUSED, PairState.PAUSE_FAILED, PairState.UPGRADING, PairState.UPGRADED)


@recorded("detect_rsync")
def detect_rsync(work: Work) -> Outputs:
    """How the daemon of its port is, on both nodes. Outputs: `nodes`, by role, what was seen."""
    work.said("MANAGER", "COORDINATOR", f"upgrade to {work.spec.version} begins")
    work.said("COORDINATOR", "MASTER", "is rsync running?")
    found = look_at_both(work)
    status = found["master"]["status"]
    work.said("MASTER", "COORDINATOR", f"rsync is {status}")
    for role, one in found.items():
        work.tell(f"{role}: rsync is {one['status']}{': ' + one['detail'] if one['detail'] else ''}")
    return {"nodes": found}


@recorded("pause_rsync")
def pause_rsync(work: Work) -> Outputs:
    """Stop it on both nodes, so that it stays stopped over a reboot. Outputs: `paused`, `nodes` (status by role).

    What goes wrong is `failed`: told to people, and the upgrade goes on.
    """
    work.went(Event.STARTED, f"upgrade to {work.spec.version}", PairState.RSYNC_RUNNING)
    work.said("COORDINATOR", "MASTER", "stop rsync")
    why = _paused(work, _to_pause(work))
    found = look_at_both(work)
    status = {role: one["status"] for role, one in found.items()}
    if not why and status["master"] != "STOPPED":
        why = f"master: rsync is {status['master']} though it was stopped"
    work.said("MASTER", "COORDINATOR", "rsync did not stop" if why else "rsync stopped")
    work.said("COORDINATOR", "STORE", "rsync is not paused" if why else "rsync is paused")
    work.said("STORE", "STORE", "inserted rsync_status_record of the pause")
    if why:
        message = f"rsync could not be paused, and the upgrade goes on; check the rsync service: {why}"
        work.went(Event.PAUSE_FAILED, why, PairState.UPGRADE_PAUSED)
        work.alarm("RsyncNotPaused", message)
    _step_is_recorded(work, why)
    return {"paused": not why, "nodes": status, **({"failed": why} if why else {})}


@recorded("confirm_paused")
def confirm_paused(work: Work) -> Outputs:
    """Both nodes are verified: what runs of rsync is stopped now. Outputs: `held`, why nothing may be written.

    Before, an rsync that runs is left alone; from here on it would carry the old configuration over the new one.
    """
    begin_upgrading(work, "there is nothing to upgrade but the configuration")
    work.on_both(lambda role: _stop_again(work, role))
    still = {role: _trouble(work, role) for role in ROLES}
    held = "; ".join(f"{role}: {why}" for role, why in still.items() if why)
    if not held:
        work.went(Event.NODES_VERIFIED, "both nodes are verified, and rsync is stopped", PairState.UPGRADING)
        work.said("MANAGER", "COORDINATOR", f"both nodes run {work.spec.version}")
        return {}
    message = f"rsync cannot be stopped, so the new configuration is not written and rsync not resumed: {held}"
    work.alarm("RsyncStillRuns", message)
    keep_locked(work)
    return {"held": held, "wait": message}


def resume_old(context: Context) -> Outputs | None:
    """Take the pause back: rsync runs again with the old version and the old configuration. Nothing is synchronized."""
    return perform("undo-pause_rsync", context, _resume_old)


def begin_upgrading(work: Work, why: str) -> None:
    """The pair is being upgraded from now on, whether rsync is paused, could not be paused, or is none."""
    work.went(Event.STARTED, f"upgrade to {work.spec.version}", PairState.RSYNC_RUNNING)
    work.went(Event.UPGRADE_BEGAN, why, PairState.UPGRADE_PAUSED, PairState.PAUSE_FAILED)


def begin_rolling_back(work: Work) -> None:
    """The pair is being rolled back from now on."""
    work.went(Event.ROLLBACK_BEGAN, "the upgrade failed", *_ROLLED_BACK_FROM)


def keep_locked(work: Work) -> None:
    """Lock the configuration, or lock it for longer, where that is asked for. What fails is an alarm."""
    spec = work.spec.configuration
    if spec is None or spec.lock == "none":
        return
    expires_at = work.context.now() + spec.lock_expiry
    try:
        work.on_both(lambda role: ConfigurationLock(work.nodes[role], spec, work.spec.name).take(work.run, expires_at))
    except STOPS_US:
        raise
    except ReconcilerError as error:
        work.alarm(error.reason, f"the configuration could not be locked: {error}")


def look_at_both(work: Work) -> dict[Role, dict[str, Any]]:
    """How rsync is on both nodes, recorded: `{status, exists, pause, timers, detail}`; of what cannot be seen, why."""
    return {role: _told(work, role, seen) for role, seen in work.on_both(lambda role: _look(work, role)).items()}


def is_as_backed_up(work: Work) -> list[str]:
    """What of the configuration is not what the backup of this upgrade holds; empty as well when there is none."""
    kept = work.earlier("back_up_configuration").get("sums")
    spec = work.spec.configuration
    if not kept or spec is None:
        return []
    now = work.on_both(lambda role: Configuration(work.nodes[role], spec, work.spec.name).sums())
    return [
        f"{role}: {path}"
        for role in ROLES
        for path in sorted(now[role].keys() | kept[role].keys())
        if now[role].get(path) != kept[role].get(path)
    ]


def _to_pause(work: Work) -> list[Role]:
    """The master, and the backup if it has a daemon or anything else that starts one."""
    backup = work.earlier("detect_rsync").get("nodes", {}).get("backup", {})
    is_needed = backup.get("exists", True) or work.rsync.timers
    return ["master", "backup"] if is_needed else ["master"]


def _paused(work: Work, roles: list[Role]) -> str:
    """Pause it on these nodes; why it is not paused, "" when it is."""
    if work.earlier("detect_rsync").get("nodes", {}).get("master", {}).get("exists") is False:
        return f"master: there is no rsync to stop ({work.rsync.unit})"
    pause = Pause("UPGRADE", work.run, work.context.now())

    def attempt(role: Role) -> str:
        try:
            work.control(role).pause(pause)
        except STOPS_US:
            raise
        except ReconcilerError as error:
            return f"{role}: {error}"
        return ""

    return "; ".join(filter(None, work.on_both(attempt, roles).values()))


def _step_is_recorded(work: Work, why: str) -> None:
    """The messages about the row of the step, in their order; the row itself is closed in between."""
    work.said("COORDINATOR", "STORE", "progress of the step: pause rsync")
    if work.upgrade_id is not None:
        work.rows.step_ended(work.upgrade_id, "pause_rsync", "FAILED" if why else "DONE", why)
    work.said("STORE", "STORE", "updated upgrade_progress")
    work.said("COORDINATOR", "MANAGER", "rsync is not paused, the upgrade goes on" if why else "rsync is paused")


def _look(work: Work, role: Role) -> RsyncSeen | ReconcilerError:
    try:
        return work.control(role).look()
    except STOPS_US:
        raise
    except ReconcilerError as error:
        return error


def _told(work: Work, role: Role, seen: RsyncSeen | ReconcilerError) -> dict[str, Any]:
    if isinstance(seen, ReconcilerError):
        note(work, role, "UNKNOWN", str(seen))
        return {"status": UNKNOWN, "exists": True, "pause": None, "timers": [], "detail": str(seen)}
    note_seen(work, role, seen)
    pause = seen.pause.reason if seen.pause is not None else None
    timers = list(seen.timers)
    return {"status": seen.status, "exists": seen.exists, "pause": pause, "timers": timers, "detail": seen.detail}


def _stop_again(work: Work, role: Role) -> None:
    """Stop what runs although it was to be paused. What fails is seen by looking afterwards."""
    try:
        seen = work.control(role).look()
        if seen.status == "RUNNING" or seen.children:
            work.tell(f"{role}: rsync runs, and is stopped before anything is written")
            work.control(role).stop()
    except STOPS_US:
        raise
    except ReconcilerError as error:
        work.tell(f"{role}: {error}")


def _trouble(work: Work, role: Role) -> str:
    """What keeps us from writing the configuration of a node."""
    seen = _look(work, role)
    told = _told(work, role, seen)
    if isinstance(seen, ReconcilerError):
        return f"nobody knows whether rsync runs: {told['detail']}"
    if seen.status == "RUNNING" or seen.children:
        return f"rsync runs, and does not stop ({seen.detail})" if seen.detail else "rsync runs, and does not stop"
    return ""


def _resume_old(work: Work) -> Outputs:
    begin_rolling_back(work)
    changed = is_as_backed_up(work)
    if changed:
        message = f"rsync stays paused: the configuration is not what it was before: {', '.join(changed[:5])}"
        raise TerminalError("NotRestored", message)
    there = work.earlier("detect_rsync").get("nodes", {})
    for role in ROLES:
        if there.get(role, {}).get("exists", True):
            resume_on(work, role)
    for role in ROLES:
        note_seen(work, role, work.control(role).look(), work.context.now())
    return {}


def resume_on(work: Work, role: Role) -> bool:
    """Take our pause of rsync back on a node, as often as the spec says; whether it is free to run now.

    What an operator paused as well stays paused. Raises what the last try raised.
    """
    detected: Mapping[str, Any] = work.earlier("detect_rsync").get("nodes", {}).get(role, {})
    if detected.get("exists") is False and role == "backup" and not work.rsync.timers:
        return True
    tries = work.rsync.resume_tries
    for attempt in range(1, tries + 1):
        try:
            work.control(role).resume("UPGRADE")
        except BlockedError as error:
            work.tell(str(error))
            return False
        except STOPS_US:
            raise
        except ReconcilerError as error:
            work.tell(f"{role}: rsync did not start, try {attempt} of {tries}: {error}")
            if attempt == tries:
                raise
            work.context.sleep(_AGAIN_AFTER)
        else:
            break
    return True
