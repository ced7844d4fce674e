"""Which steps a change of a node pair has: the table of contents of an upgrade. Pure; called by `NodePairKind.steps`.

Up to the step that commits (the last one before anything of the new state is shared), a failure takes everything back,
in reverse order: nodes roll back, the one that served serves again, the old configuration is restored, rsync resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from reconciler.kind import Context, Outputs, Step
from reconciler.kinds.node_pair.spec import ROLES, NodePairSpec, Role
from reconciler.kinds.node_pair.step_names import name_of
from reconciler.kinds.node_pair.steps import (
    checking,
    pausing,
    recording,
    releasing,
    resuming,
    securing,
    staging,
    upgrading,
)
from reconciler.model.plan import Action, Change, Preview

StepFunction = Callable[[Context], Outputs | None]
_ON_A_NODE = {"stop": 4, "install": 10, "start": 4, "verify": 6}


def steps_of(change: Change) -> Sequence[Step]:
    """The steps, in order."""
    if change.action is Action.DELETE:
        return (_step("release", releasing.release, 1),)
    if change.action is Action.NOOP:
        return ()
    spec = NodePairSpec.of(change.resource)
    parts = {entry.path.split(".")[1].partition("[")[0] for entry in change.diffs}
    if change.before is None or "versions" in parts:
        versions = (change.before or {}).get("versions", {})
        behind = [role for role in spec.order if versions.get(role) != spec.version]
        return tuple(_guarded(spec, list(_upgrade(spec, behind))))
    if "configuration" in parts:
        return tuple(_guarded(spec, list(_rewrite(spec))))
    return tuple(_tidied(spec, parts))


def _upgrade(spec: NodePairSpec, behind: Sequence[Role]) -> Iterator[Step]:
    """Everything that happens before there is no way back. behind: the nodes that do not run the version yet."""
    yield _checked(spec)
    if spec.artifact is not None or "prepare" in spec.commands:
        yield _step("stage", staging.stage, 15, preview="opaque", command=_staging(spec))
    yield from _pause(spec)
    yield from _secured(spec)
    is_switched = "switchover" in spec.commands and "master" in behind
    for role in behind:
        if is_switched and role == "master":
            yield _switch_over(spec)
        yield from _node(spec, role)
        if is_switched and role == "master" and behind[-1] != "master":
            yield _switch_back(spec)


def _rewrite(spec: NodePairSpec) -> Iterator[Step]:
    """What comes before a new configuration of the same version is written."""
    yield _checked(spec)
    yield from _pause(spec)
    if spec.configuration is not None:
        back_up = _step("back_up_configuration", securing.back_up_configuration, 3)
        yield _taken_back(back_up, securing.restore_configuration)


def _guarded(spec: NodePairSpec, before: list[Step]) -> Iterator[Step]:
    """The whole change: what can be taken back, the step that commits, and what follows."""
    names = {step.name for step in before}
    if spec.rsync is not None:
        before.append(
            _step("confirm_paused", pausing.confirm_paused, 2, preview="conditional", command=_stopping(spec))
        )
    if "lock_configuration" in names:
        before.append(_step("unlock_configuration", securing.unlock_configuration, 2))
    if spec.configuration is not None and spec.configuration.new:
        written = ", ".join(spec.configuration.new)
        before.append(_step("write_configuration", securing.write_configuration, 5, command=f"both: write {written}"))
    yield from before[:-1]
    yield replace(before[-1], commits=True)
    if "switch_over" in names and "switch_back" not in names:
        yield _step("switch_back", upgrading.switch_back_at_end, 3, preview="opaque", command=_back(spec))
    yield from _resumed(spec)
    yield _step("record", recording.record, 1)


def _resumed(spec: NodePairSpec) -> Iterator[Step]:
    if spec.rsync is None:
        return
    yield _step("resume_rsync", resuming.resume_rsync, 4, command=_starting(spec))
    if spec.rsync.sync is not None:
        yield _step("synchronize", resuming.synchronize_once, 10, preview="opaque", command=_syncing(spec))
    if spec.configuration is not None:
        yield _step("compare", resuming.compare, 3)


def _tidied(spec: NodePairSpec, parts: set[str]) -> Iterator[Step]:
    """Equal versions, but a lock was left behind, or rsync is stopped though nobody paused it."""
    if "locks" in parts:
        yield _step("unlock_configuration", securing.unlock_configuration, 1)
    if "rsync" in parts:
        yield _step("resume_rsync", resuming.resume_rsync, 1, command=_starting(spec))


def _checked(spec: NodePairSpec) -> Step:
    command = "; ".join(f"{role}: {spec.commands['version']}" for role in ROLES)
    step = _step("check_nodes", checking.check_nodes, 2, command=command)
    return replace(step, undo=checking.end_rolled_back, safe_point=True)


def _pause(spec: NodePairSpec) -> Iterator[Step]:
    if spec.rsync is None:
        return
    yield _step("detect_rsync", pausing.detect_rsync, 1)
    pause = _step("pause_rsync", pausing.pause_rsync, 4, command=_stopping(spec))
    yield _taken_back(pause, pausing.resume_old)


def _secured(spec: NodePairSpec) -> Iterator[Step]:
    if spec.configuration is None:
        return
    is_locked, restore = spec.configuration.lock != "none", securing.restore_configuration
    back_up = _step("back_up_configuration", securing.back_up_configuration, 3)
    yield back_up if is_locked else _taken_back(back_up, restore)
    if is_locked:
        how = "chattr +i" if spec.configuration.lock == "immutable" else "chmod a-w"
        command = f"both: {how} {' '.join(spec.configuration.paths)}"
        yield _taken_back(_step("lock_configuration", securing.lock_configuration, 2, command=command), restore)


def _node(spec: NodePairSpec, role: Role) -> Iterator[Step]:
    """One node. Once its stop was tried, taking it back means that the node rolls back."""
    functions = {
        "stop": upgrading.stop,
        "install": upgrading.install,
        "start": upgrading.start,
        "verify": upgrading.verify,
    }
    first = next((name for name in functions if name in spec.commands), "verify")
    for name, function in functions.items():
        if name not in spec.commands and name != "verify":
            continue
        command = f"{role}: {spec.commands.get(name, spec.commands['version'])}"
        step = _step(f"{name}_{role}", partial(function, role), _ON_A_NODE[name], preview="opaque", command=command)
        yield _taken_back(step, partial(upgrading.roll_back, role)) if name == first else step


def _switch_over(spec: NodePairSpec) -> Step:
    command = f"backup: {spec.commands['switchover']}"
    step = _step("switch_over", upgrading.switch_over, 3, preview="opaque", command=command)
    return _taken_back(step, upgrading.undo_switch_over)


def _switch_back(spec: NodePairSpec) -> Step:
    step = _step("switch_back", upgrading.switch_back, 3, preview="opaque", command=_back(spec))
    return _taken_back(step, upgrading.undo_switch_back)


def _step(name: str, run: StepFunction, weight: int, *, preview: Preview = "exact", command: str = "") -> Step:
    """A step that no newer generation interrupts: an upgrade that began is ended first, one way or the other."""
    shown = "; ".join(line.strip() for line in command.splitlines() if line.strip())
    return Step(name, str(name_of(name)), run, weight, preview, safe_point=False, command=shown)


def _taken_back(step: Step, undo: StepFunction) -> Step:
    """The step with what takes it back, also after it failed half way."""
    return replace(step, undo=undo, undo_partial=True)


def _staging(spec: NodePairSpec) -> str:
    parts = []
    if spec.artifact is not None:
        parts.append(f"upload {spec.artifact.source} to {spec.artifact.destination}")
    if "prepare" in spec.commands:
        parts.append(str(spec.commands["prepare"]))
    return f"both: {'; '.join(parts)}"


def _stopping(spec: NodePairSpec) -> str:
    return f"both: {_controlled(spec, 'stop')}"


def _starting(spec: NodePairSpec) -> str:
    return f"both: {_controlled(spec, 'start')}"


def _controlled(spec: NodePairSpec, verb: str) -> str:
    """What starts or stops rsync, for people."""
    assert spec.rsync is not None
    if spec.rsync.control == "command":
        return spec.rsync.start if verb == "start" else spec.rsync.stop
    units = (spec.rsync.unit, *spec.rsync.timers)
    if spec.rsync.control == "systemd":
        return f"systemctl {verb} {' '.join(units)}"
    return f"/etc/init.d/{spec.rsync.unit} {verb}"


def _back(spec: NodePairSpec) -> str:
    return f"master: {spec.commands['switchback']}"


def _syncing(spec: NodePairSpec) -> str:
    assert spec.rsync is not None
    assert spec.rsync.sync is not None
    sync = spec.rsync.sync
    return f"backup: {sync.command or f'rsync from module {sync.module} of the master'}"
