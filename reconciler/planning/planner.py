"""From what is wanted, remembered and seen to what is to be done. Pure: `engine.reconcile` calls `make_plan`.

Three passes over the resources in scope: decide each change alone (`decide.py`), let dependencies and the brake hold
changes back, and put the rest into execution order (what is needed first; deletes last and the other way round).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from reconciler.errors import ReconcilerError
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change, Obstacle, Plan
from reconciler.model.record import Record
from reconciler.model.resource import Resource, ResourceRef
from reconciler.planning.claiming import Claims, tell_rivals
from reconciler.planning.decide import Judgement, decide, fingerprinted
from reconciler.planning.following import Leaders, follow
from reconciler.planning.order import reachable, reverse, topological
from reconciler.planning.rules import KindRules


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the plan may do.

    prune: delete what vanished. max_deletes: the brake; replaces count. pending_destroys: how many deletes wait in all,
    where the scope is only a part of them. unsure: why what no document names may still be wanted.
    approvals: changes that somebody approved, as (ref, fingerprint). key: the home's digest key. now: seconds since the
    epoch.
    """

    prune: bool = False
    max_deletes: int = 5
    pending_destroys: int = 0
    unsure: Obstacle | None = None
    approvals: frozenset[tuple[ResourceRef, str]] = frozenset()
    key: bytes = b""
    now: float = 0.0
    revision: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """What a plan is computed from.

    desired: every resource of every source. records: what the store remembers, at least of the scope and of everything
    that depends on it or that it depends on. observations: of the scope. scope: what to plan for.
    frozen: resources known only in stored form because their source cannot be read now, and why: left alone.
    leaders: for those of the scope that follow others, the kinds that they follow. claims: for those of the scope that
    ask for things of which there is just one, those.
    """

    kinds: Mapping[str, KindRules]
    desired: Mapping[ResourceRef, Resource]
    records: Mapping[ResourceRef, Record]
    observations: Mapping[ResourceRef, Observation]
    scope: Collection[ResourceRef] = field(default_factory=tuple)
    frozen: Mapping[ResourceRef, str] = field(default_factory=dict)
    leaders: Leaders = field(default_factory=dict)
    claims: Claims = field(default_factory=dict)


def make_plan(world: World, options: PlanOptions) -> Plan:
    """The plan for `world.scope`: one change a resource, in execution order."""
    judgement = Judgement(world.kinds, options.prune, options.unsure, options.approvals, options.key)
    changes: dict[ResourceRef, Change] = {}
    for ref in world.scope:
        resource = world.desired.get(ref)
        record = world.records.get(ref)
        if ref in world.frozen and resource is not None:
            obstacle = Obstacle("blocked", "SpecInvalid", world.frozen[ref])
            target = world.kinds[ref.kind].target(resource) if ref.kind in world.kinds else ref.kind
            changes[ref] = Change(
                ref, Action.NOOP, resource, "its spec cannot be read", obstacle=obstacle, target=target
            )
        elif resource is not None or record is not None:
            changes[ref] = _decided(judgement, ref, resource, record, world.observations.get(ref))
    _hold_back_dependents(changes, world)
    _hold_back_needed(changes, world)
    _brake(changes, options)
    if follow(changes, world.leaders, world.records, judgement):
        _hold_back_dependents(changes, world)
    tell_rivals(changes, world.claims)
    _seal_dependencies(changes, world)
    return Plan(
        changes=tuple(changes[ref] for ref in _execution_order(changes)),
        revision=options.revision,
        created_at=options.now,
        options={"prune": options.prune, "maxDeletes": options.max_deletes},
    )


def _decided(
    judgement: Judgement,
    ref: ResourceRef,
    resource: Resource | None,
    record: Record | None,
    observation: Observation | None,
) -> Change:
    """The change of one resource. What its kind refuses to plan for blocks this resource and holds up no other."""
    try:
        return decide(judgement, ref, resource, record, observation)
    except ReconcilerError as error:
        wanted = resource if resource is not None else (record.resource if record is not None else None)
        assert wanted is not None
        obstacle = Obstacle("blocked", error.reason, error.message)
        target = judgement.kinds[ref.kind].target(wanted)
        return Change(ref, Action.NOOP, wanted, "it cannot be planned for", obstacle=obstacle, target=target)


def needs_of(kinds: Mapping[str, KindRules], resource: Resource) -> tuple[ResourceRef, ...]:
    """What a resource needs first: its `dependsOn` and what its kind reads out of its spec, where that can be read."""
    kind = kinds.get(resource.ref.kind)
    try:
        own = tuple(kind.references(resource)) if kind is not None else ()
    except ReconcilerError:  # then its own change is blocked
        own = ()
    return tuple(dict.fromkeys((*resource.lifecycle.depends_on, *own)))


def _hold_back_dependents(changes: dict[ResourceRef, Change], world: World) -> None:
    """A change waits while something that it needs is neither there nor about to be made by this plan."""
    if not any(change.is_effective for change in changes.values()):
        return
    graph = {ref: change.requires for ref, change in changes.items()}
    for ref in topological(graph):
        change = changes[ref]
        if change.action in (Action.NOOP, Action.DELETE) or change.obstacle is not None:
            continue
        for need in change.requires:
            why = _why_not_ready(need, changes, world)
            if why:
                obstacle = Obstacle("waiting", "DependencyNotReady", f"needs {need}, which {why}")
                changes[ref] = replace(change, obstacle=obstacle)
                break


def _why_not_ready(need: ResourceRef, changes: Mapping[ResourceRef, Change], world: World) -> str:
    change = changes.get(need)
    if change is None:
        record = world.records.get(need)
        if record is None:
            return "does not exist"
        return "" if record.ready else "is not ready"
    if change.is_effective:
        return "is to be deleted" if change.action is Action.DELETE else ""
    if change.obstacle is None or change.obstacle.kind in ("notify", "suspended"):
        return "" if change.before is not None or _was_left_alone(change, world) else "is not there"
    if change.obstacle.kind == "vanished":
        return "is no longer in the specs" if change.before is None else ""
    return f"cannot be made ready: {change.obstacle.message}"


def _was_left_alone(change: Change, world: World) -> bool:
    """True for what is suspended, so that nobody looked, and was there when somebody last did."""
    record = world.records.get(change.ref)
    return change.obstacle is not None and change.obstacle.kind == "suspended" and record is not None and record.touched


def _hold_back_needed(changes: dict[ResourceRef, Change], world: World) -> None:
    """A delete is blocked while anything that stays still needs the resource; dependents are judged first."""
    deletes = {ref for ref, change in changes.items() if change.action is Action.DELETE and change.obstacle is None}
    if not deletes:
        return
    graph = {ref: needs_of(world.kinds, resource) for ref, resource in world.desired.items()}
    for ref, record in world.records.items():
        if ref not in graph and record.touched:
            graph[ref] = needs_of(world.kinds, record.resource)
    dependents = reverse(graph)
    for ref in reversed(topological({ref: graph.get(ref, ()) for ref in deletes})):
        staying = sorted(other for other in dependents.get(ref, ()) if _stays(other, changes, world))
        if staying:
            names = ", ".join(str(other) for other in staying[:5]) + (" …" if len(staying) > 5 else "")
            obstacle = Obstacle("blocked", "StillNeeded", f"still needed by {names}")
            changes[ref] = replace(changes[ref], obstacle=obstacle)


def _stays(ref: ResourceRef, changes: Mapping[ResourceRef, Change], world: World) -> bool:
    change = changes.get(ref)
    if change is not None and change.action is Action.DELETE:
        return change.obstacle is not None
    record = world.records.get(ref)
    resource = world.desired.get(ref)
    if resource is not None and resource.lifecycle.state == "present":
        return True
    return record is not None and record.touched


def _brake(changes: dict[ResourceRef, Change], options: PlanOptions) -> None:
    """More deletes and replaces than allowed: none of them is carried out."""
    destroying = [ref for ref, change in changes.items() if change.is_effective and change.action.destroys]
    count = max(len(destroying), options.pending_destroys if destroying else 0)
    if count <= options.max_deletes:
        return
    message = (
        f"{count} deletes or replaces are due, more than maxDeletes {options.max_deletes}: "
        f"look at the plan, then allow them with --max-deletes {count}"
    )
    for ref in destroying:
        changes[ref] = replace(changes[ref], obstacle=Obstacle("blocked", "TooManyDeletes", message))


def _seal_dependencies(changes: dict[ResourceRef, Change], world: World) -> None:
    """An unchanged resource needs a fingerprint only where something that will run depends on it."""
    for change in list(changes.values()):
        if change.is_effective:
            for need in change.requires:
                unchanged = changes.get(need)
                if unchanged is not None and not unchanged.fingerprint and need.kind in world.kinds:
                    changes[need] = fingerprinted(world.kinds[need.kind], unchanged, world.records.get(need))


def _execution_order(changes: Mapping[ResourceRef, Change]) -> list[ResourceRef]:
    """What is needed first, deletes the other way round after that, and last what follows a delete."""
    order = topological({ref: (*change.requires, *change.follows) for ref, change in changes.items()})
    deletes = [ref for ref in reversed(order) if changes[ref].action is Action.DELETE]
    rest = [ref for ref in order if changes[ref].action is not Action.DELETE]
    last = reachable(reverse({ref: changes[ref].requires for ref in rest}), _after(changes, deletes)) if deletes else ()
    return [*(ref for ref in rest if ref not in last), *deletes, *(ref for ref in rest if ref in last)]


def _after(changes: Mapping[ResourceRef, Change], deletes: Collection[ResourceRef]) -> set[ResourceRef]:
    gone = set(deletes)
    return {ref for ref, change in changes.items() if gone.intersection(change.follows)}
