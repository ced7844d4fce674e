"""What one resource needs, judged alone: action, differences, obstacle. Called by `planner.make_plan`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.model.digest import digest, stored_form
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change, FieldDiff, Obstacle, PlannedStep
from reconciler.model.record import Record
from reconciler.model.resource import Resource, ResourceRef
from reconciler.planning.diff import compared, diff, fields, overlay
from reconciler.planning.fields import Immutable, immutable_field, immutable_fields
from reconciler.planning.rules import KindRules


@dataclass(frozen=True, slots=True)
class Judgement:
    """The rules of one planning pass, and each kind's immutable fields, worked out once.

    unsure: why what no document names may still be wanted. key: the home's digest key, under which a secret of the
    normal form becomes `{"secret": digest}`.
    """

    kinds: Mapping[str, KindRules]
    prune: bool = False
    unsure: Obstacle | None = None
    approvals: frozenset[tuple[ResourceRef, str]] = frozenset()
    key: bytes = b""
    immutable: dict[str, tuple[Immutable, ...]] = field(default_factory=dict)

    def immutable_of(self, kind: KindRules, resource: Resource) -> tuple[str, ...]:
        """The paths that cannot be changed in place for a resource of a kind."""
        found = self.immutable.get(kind.name)
        if found is None:
            found = self.immutable[kind.name] = immutable_fields(kind.schema)
        return tuple(one.path for one in found if one.holds_for(resource.spec))


def decide(
    judgement: Judgement,
    ref: ResourceRef,
    resource: Resource | None,
    record: Record | None,
    observation: Observation | None,
) -> Change:
    """The change that `ref` needs, with what stands in its way. Either `resource` or `record` is given."""
    wanted = resource if resource is not None else (record.resource if record is not None else None)
    assert wanted is not None
    kind = judgement.kinds.get(ref.kind)
    if kind is None:
        obstacle = Obstacle("blocked", "UnknownKind", f"no kind {ref.kind} is installed")
        return Change(ref, Action.NOOP, wanted, "its kind is not known", obstacle=obstacle, target=ref.kind)
    needs = tuple(dict.fromkeys((*wanted.lifecycle.depends_on, *kind.references(wanted))))
    blank = Change(ref, Action.NOOP, wanted, "", requires=needs, target=kind.target(wanted))
    suspended = "suspended in its document" if wanted.lifecycle.suspend else (record.suspended if record else "")
    before = observation.state if observation is not None else None
    if suspended:
        return replace(blank, why="suspended", before=before, obstacle=Obstacle("suspended", "Suspended", suspended))
    if record is not None and record.interrupted:
        why = f"goes on with a change that was interrupted at step {record.interrupted}"
        change = replace(blank, action=Action.UPDATE, why=why, before=before, conditional=True)
        return fingerprinted(kind, change, record)
    if observation is None or observation.unknown:
        reason = "Unreachable" if observation is not None and observation.unreachable else "NotObserved"
        message = observation.unknown if observation is not None else "was not looked at"
        return replace(blank, why="its state is not known", obstacle=Obstacle("unknown", reason, message))
    if resource is None or wanted.lifecycle.state == "absent":
        return _absent(judgement, kind, blank, record, observation, vanished=resource is None)
    return _present(judgement, kind, blank, record, observation)


def _absent(
    judgement: Judgement,
    kind: KindRules,
    blank: Change,
    record: Record | None,
    observation: Observation,
    *,
    vanished: bool,
) -> Change:
    """A resource that should not be there: by its document, or because no document names it any more."""
    lifecycle = blank.resource.lifecycle
    why = "its document says state: absent"
    if vanished:
        where = record.vanished_why if record is not None else ""
        why = f"no longer in the specs: {where}" if where else "no longer in the specs"
    touched = record is not None and record.touched
    if observation.state is None and not touched and not vanished:
        return replace(blank, why="absent, as wanted")
    if vanished and not judgement.prune:
        obstacle = Obstacle("vanished", "NotInSpecs", f"{why}; deleted only with --prune")
        return replace(blank, why=why, before=observation.state, obstacle=obstacle)
    foreign = vanished and not touched and observation.state is not None
    if foreign:
        why += "; nothing of what is there is ours, so it stays"
    orphan = foreign or lifecycle.deletion == "orphan"
    change = replace(blank, action=Action.DELETE, why=why, before=observation.state, orphan=orphan)
    change = _sealed(kind, change, record) if not orphan else fingerprinted(kind, change, record)
    if (record is not None and record.protected) or lifecycle.deletion == "protect":
        return _blocked(change, "Protected", "protected: set lifecycle.deletion to delete and apply that first")
    if vanished and judgement.unsure is not None:
        return replace(change, obstacle=judgement.unsure)
    return _gated(judgement, change)


def _present(
    judgement: Judgement, kind: KindRules, blank: Change, record: Record | None, observation: Observation
) -> Change:
    """A resource that should be there and be as its spec says."""
    lifecycle = blank.resource.lifecycle
    wanted = stored_form(kind.normalize(blank.resource), judgement.key)
    after = overlay(wanted, observation.state, lifecycle.ignore)
    applied = record.applied if record is not None else None
    diffs = diff(wanted, observation.state, applied, lifecycle.ignore) if observation.state is not None else ()
    if observation.state is not None and observation.pending is None and not diffs:
        return Change(
            blank.ref,
            Action.NOOP,
            blank.resource,
            "as desired",
            before=observation.state,
            after=after,
            requires=blank.requires,
            target=blank.target,
        )
    change = replace(blank, before=observation.state, after=after)
    if observation.pending is not None:
        why = f"lives in {observation.pending}, which this plan makes{_noted(observation)}"
        change = replace(change, action=Action.CREATE, why=why, diffs=fields(after), conditional=True)
        return moded(judgement, kind, change, record)
    if observation.state is None:
        why = "it was applied before and is gone" if applied is not None else "it does not exist"
        change = replace(change, action=Action.CREATE, why=why, diffs=fields(after))
    else:
        change = _differs(judgement, kind, change, diffs)
    change = replace(change, why=f"{change.why}{_noted(observation)}")
    return moded(judgement, kind, change, record)


def _noted(observation: Observation) -> str:
    """What the look wants people to know, as the end of a sentence."""
    return f"; {observation.note}" if observation.note else ""


def moded(judgement: Judgement, kind: KindRules, change: Change, record: Record | None) -> Change:
    """A change with its steps, as far as the mode of its resource lets it pass. Called by `following` as well."""
    mode = change.resource.lifecycle.mode
    if mode == "observe":
        return replace(change, action=Action.NOOP, why="only observed", diffs=(), conditional=False)
    change = _sealed(kind, change, record)
    if mode == "notify":
        obstacle = Obstacle("notify", "DriftReported", "mode notify: the difference is reported and left alone")
        return replace(change, obstacle=obstacle)
    return _gated(judgement, change, record)


def _differs(judgement: Judgement, kind: KindRules, change: Change, diffs: tuple[FieldDiff, ...]) -> Change:
    rules = judgement.immutable_of(kind, change.resource)
    fixed = [entry.path for entry in diffs if immutable_field(entry.path, rules, entry.before)]
    if fixed:
        why = f"{', '.join(fixed)} cannot be changed in place"
        return replace(change, action=Action.REPLACE, diffs=diffs, why=why)
    count = f"{len(diffs)} fields differ" if len(diffs) > 1 else f"{diffs[0].path} differs"
    return replace(change, action=Action.UPDATE, diffs=diffs, why=count)


def _gated(judgement: Judgement, change: Change, record: Record | None = None) -> Change:
    """Let a change pass, or say which approval it needs."""
    lifecycle = change.resource.lifecycle
    approved = (change.ref, change.fingerprint) in judgement.approvals
    if change.action is Action.REPLACE:
        if (record is not None and record.protected) or lifecycle.deletion == "protect":
            return _blocked(change, "Protected", f"protected, and {change.why}")
        if lifecycle.replace != "allow" and not approved:
            advice = "set lifecycle.replace: allow, or approve this very plan"
            return _blocked(change, "ReplaceForbidden", f"{change.why}: {advice}")
    if lifecycle.approval == "manual" and not approved:
        return _blocked(change, "NeedsApproval", f"waits for: reconciler approve {change.ref}")
    return change


def _blocked(change: Change, reason: str, message: str) -> Change:
    return replace(change, obstacle=Obstacle("blocked", reason, message))


def _sealed(kind: KindRules, change: Change, record: Record | None) -> Change:
    """The change with its steps, then its fingerprint (which covers them)."""
    planned = tuple(
        PlannedStep(step.name, step.title, step.weight, step.preview, step.command) for step in kind.steps(change)
    )
    return fingerprinted(kind, replace(change, steps=planned), record)


def fingerprinted(kind: KindRules, change: Change, record: Record | None) -> Change:
    """The change with the digest of all that it was computed from, and of nothing unrelated."""
    applied = record.applied if record is not None else None
    ignore = change.resource.lifecycle.ignore
    seen: Any = "pending" if change.conditional else compared(change.after, change.before, applied, ignore)
    parts = {
        "spec": change.resource.digest,
        "generation": change.resource.generation,
        "applied": applied,
        "observed": seen,
        "action": change.action.value,
        "steps": [step.name for step in change.steps],
        "stepsVersion": kind.steps_version,
    }
    return replace(change, fingerprint=digest(parts))
