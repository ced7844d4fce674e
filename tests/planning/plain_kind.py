"""A kind that is nothing but its rules, and short ways to say what is wanted, remembered and seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change, Plan, Preview
from reconciler.model.record import Record
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source, State
from reconciler.planning.planner import PlanOptions, World, make_plan


@dataclass(frozen=True, slots=True)
class PlainStep:
    name: str
    title: str = ""
    weight: int = 1
    preview: Preview = "exact"
    command: str = ""


class Plain:
    """`spec` is the state; `fixed` and what lies in `net` cannot be changed in place; `needs` names others."""

    name = "Plain"
    steps_version = 1
    schema: Mapping[str, Any] = {
        "properties": {
            "fixed": {"x-immutable": True},
            "net": {"properties": {"cidr": {"x-immutable": True}, "name": {}}},
            "disks": {"items": {"properties": {"id": {"x-immutable": True}, "size": {}}}},
        }
    }

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        return [ref(name) for name in resource.spec.get("needs", ())]

    def target(self, resource: Resource) -> str:
        return str(resource.spec.get("target", "here"))

    def normalize(self, resource: Resource) -> State:
        return {name: value for name, value in resource.spec.items() if name not in ("needs", "target", "claims")}

    def steps(self, change: Change) -> Sequence[PlainStep]:
        if change.action is Action.REPLACE:
            return [PlainStep("delete"), PlainStep("create")]
        return [PlainStep(change.action.value)]


class Follower(Plain):
    """Its own state says nothing; what it is to be is made of what is recorded of others."""

    name = "Follower"


KINDS = {"Plain": Plain(), "Follower": Follower()}
KEY = b"k" * 32


def ref(name: str) -> ResourceRef:
    return ResourceRef("Plain", name)


def wants(name: str, spec: Mapping[str, Any] | None = None, *, generation: int = 1, **lifecycle: Any) -> Resource:
    """A resource. Lifecycle fields by keyword; `depends_on` by name."""
    lifecycle["depends_on"] = tuple(map(ref, lifecycle.get("depends_on", ())))
    content = {"size": 1} if spec is None else spec
    made = Lifecycle(**lifecycle)
    digest = f"{content!r}{made!r}"
    return Resource(ref(name), content, {}, made, Source("file:specs/a.yaml", 1, 1), generation, digest)


def remembers(resource: Resource, **values: Any) -> Record:
    """What the store knows of a resource that was applied, unless told otherwise."""
    state = KINDS["Plain"].normalize(resource)
    defaults: dict[str, Any] = {"applied": state, "touched": True, "ready": True}
    return Record(resource.ref, resource, **{**defaults, **values})


def sees(name: str, state: State = None, **values: Any) -> Observation:
    return Observation(ref(name), state, **values)


def plan(
    wanted: Iterable[Resource] = (),
    seen: Iterable[Observation] = (),
    remembered: Iterable[Record] = (),
    *,
    scope: Iterable[str] | None = None,
    frozen: Mapping[ResourceRef, str] | None = None,
    **options: Any,
) -> Plan:
    """The plan for everything that is wanted or remembered, or for `scope`."""
    desired = {one.ref: one for one in wanted}
    records = {one.ref: one for one in remembered}
    observations = {one.ref: one for one in seen}
    refs = dict.fromkeys((*desired, *records)) if scope is None else dict.fromkeys(map(ref, scope))
    leaders = {ref: ("Plain",) for ref in refs if ref.kind == "Follower"}
    claims = {one.ref: one.spec["claims"] for one in desired.values() if "claims" in one.spec}
    world = World(KINDS, desired, records, observations, tuple(refs), frozen or {}, leaders, claims)
    return make_plan(world, PlanOptions(**{"key": KEY, **options}))


def only(found: Plan) -> Change:
    """The one change of a plan."""
    (change,) = found.changes
    return change


def change_of(found: Plan, name: str) -> Change:
    return next(change for change in found.changes if change.ref == ref(name))
