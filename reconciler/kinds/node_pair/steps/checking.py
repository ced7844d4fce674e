"""What has to hold before anything of an upgrade is done: looked at on both nodes, and refused where it does not."""

from __future__ import annotations

import hashlib
import secrets

from reconciler.errors import TerminalError
from reconciler.kind import Context, Outputs
from reconciler.kinds.node_pair.nodes.checking import compare_versions, facts_of, version_of
from reconciler.kinds.node_pair.spec import ROLES, Artifact, Role
from reconciler.kinds.node_pair.states import Event, PairState
from reconciler.kinds.node_pair.steps.recording import LEFT_TO_A_PERSON, resolving
from reconciler.kinds.node_pair.steps.recording import end_rolled_back as end_rolled_back
from reconciler.kinds.node_pair.steps.upgrading import serving_roles
from reconciler.kinds.node_pair.steps.work import Work

NAME = "check_nodes"
_CHUNK = 1 << 20
_MEGABYTE = 1_000_000


def check_nodes(context: Context) -> Outputs:
    """Begin the upgrade, if nothing stands against it.

    Outputs: `run` and `upgrade_id`, by which everything of it is known; `versions` by role, and `serving` (a role, ""
    where nobody can tell), as they were before. Raises TerminalError before anything is changed.
    """
    assert context.change is not None
    work = Work.of(context)
    work.rows.ensure(work.spec)
    run = _unfinished(work) or secrets.token_hex(6)
    _refuse_waiting(work)
    if work.spec.artifact is not None:
        _check_artifact(work.spec.artifact)
    work.on_both(lambda role: _check_node(work, role))
    versions = work.on_both(lambda role: version_of(work.nodes[role], work.spec))
    for role in ROLES:
        work.tell(f"{role} ({work.nodes[role].address}) runs {versions[role]}")
        _check_version(work, role, versions[role])
    serving = _serving(work)
    upgrade_id = work.rows.begin_upgrade(run, versions, work.spec.version, [step.name for step in context.change.steps])
    work.rows.step_began(upgrade_id, NAME)
    work.rows.step_ended(upgrade_id, NAME, "DONE")
    return {"run": run, "upgrade_id": upgrade_id, "versions": versions, "serving": serving}


def _refuse_waiting(work: Work) -> None:
    if work.rows.state() is PairState.WAIT_MANUAL:
        message = f"{work.spec.name} waits for a person: {work.rows.wait_reason()}. {resolving(work)}"
        raise TerminalError("WaitManual", message)


def _unfinished(work: Work) -> str:
    """The identity of an upgrade that was only begun, by this step before it was interrupted; "" for none.

    One that went further, and that nobody goes on with any more, is ended: a person has to look at what it left.
    """
    row = work.rows.open_upgrade()
    if row is None:
        return ""
    steps = work.context.records.list("upgrade_progress", upgrade_id=row["upgrade_id"])
    is_begun = any(step["status"] != "PENDING" and step["step"] != NAME for step in steps)
    if not is_begun and row["version"] == work.spec.version:
        return str(row["identity"])
    message = f"the upgrade to {row['version']} ({row['identity']}) was left unfinished"
    for step in steps:
        if step["status"] == "RUNNING":
            work.rows.step_ended(row["upgrade_id"], step["step"], "FAILED", message)
    work.rows.end_upgrade(row["upgrade_id"], "FAILED", message)
    if is_begun:
        work.went(Event.DIFFERENT, message, PairState.VERIFYING)
        work.went(Event.ROLLBACK_BEGAN, message, PairState.UPGRADE_PAUSED, PairState.PAUSE_FAILED)
        work.went(Event.NEEDS_PERSON, message, PairState.ROLLING_BACK, *LEFT_TO_A_PERSON)
    return ""


def _check_artifact(artifact: Artifact) -> None:
    """Raises TerminalError unless it is here and the right one."""
    digest = hashlib.sha256()
    try:
        with artifact.source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise TerminalError("NoArtifact", f"artifact.source: {artifact.source}: {error.strerror or error}") from error
    if digest.hexdigest() != artifact.sha256:
        message = f"artifact.source: {artifact.source} has the sha256 {digest.hexdigest()}, not {artifact.sha256}"
        raise TerminalError("WrongArtifact", message)


def _check_node(work: Work, role: Role) -> None:
    """Raises TerminalError for a node on which an upgrade could fail half way for a reason that can be known before."""
    spec, node = work.spec, work.nodes[role]
    facts, where = facts_of(node, spec), f"{role} ({node.address})"
    if not facts.is_root:
        raise TerminalError("NotRoot", f"{where}: what runs there is not root: log in as root, or set become: sudo")
    if facts.missing_tools:
        raise TerminalError("MissingTools", f"{where}: there is no {', '.join(facts.missing_tools)}")
    if abs(facts.clock_skew) > spec.max_clock_skew:
        direction = "ahead of" if facts.clock_skew > 0 else "behind"
        message = f"{where}: its clock is {abs(facts.clock_skew):.0f} s {direction} ours, and more than"
        raise TerminalError("ClockSkew", f"{message} {spec.max_clock_skew:g} s (maxClockSkew) is too much")
    for path, free in facts.free_mb.items():
        needed = spec.min_disk_space + _size_of(spec.artifact, path)
        if free < needed:
            message = f"{where}: {free} MB are free for {path}, and {needed} MB are needed (minDiskSpace)"
            raise TerminalError("DiskFull", message)


def _size_of(artifact: Artifact | None, path: str) -> int:
    """Megabytes that the artifact takes below a path."""
    if artifact is None or artifact.destination != path:
        return 0
    return -(-artifact.source.stat().st_size // _MEGABYTE)


def _check_version(work: Work, role: Role, version: str) -> None:
    if not work.spec.allow_downgrade and compare_versions(work.spec.version, version) < 0:
        message = f"{role} runs {version}, which is later than {work.spec.version}; set allowDowngrade to go back"
        raise TerminalError("Downgrade", message)


def _serving(work: Work) -> str:
    """Who serves, as the roles say; "" where nobody can tell. Raises TerminalError unless it is the master alone."""
    if work.spec.serving is None:
        return ""
    serving = serving_roles(work)
    if len(serving) != 1:
        who = "both nodes say that they serve" if serving else "no node says that it serves"
        raise TerminalError("ServingUnclear", f"{who}: exactly one has to, the master")
    if serving != ["master"]:
        message = "the backup serves, and not the master: switch back by hand, or swap the two in the document"
        raise TerminalError("RolesSwapped", message)
    return serving[0]
