"""What a look showed is handed to the kind that keeps it: whenever an outcome is stored, and never by a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from inside import Inside
from place import Place
from probe import Probe, document

from reconciler.errors import TransientError
from reconciler.kind import Context, Records
from reconciler.model.observation import Observation
from reconciler.model.resource import Resource, ResourceRef

Opened = Callable[..., Inside]


class Keeping(Probe):
    """Keeps the pulse that it saw, in the table that another kind of these tests declares."""

    def __init__(self) -> None:
        super().__init__()
        self.pulse = 60
        self.refuses: set[str] = set()
        self.unknown: set[str] = set()
        self.half_known: set[str] = set()

    def see(self, resources: Iterable[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        return {one.ref: self._seen_of(one.ref) for one in resources}

    def seen(self, records: Records, resource: Resource, observation: Observation) -> None:
        name = resource.ref.name
        records.put("entries", {"name": name}, {"number": observation.facts["pulse"], "writes": 0})
        if name in self.refuses:
            raise TransientError("Refused", "not today")

    def _seen_of(self, ref: ResourceRef) -> Observation:
        if ref.name in self.unknown:
            return Observation(ref, unknown="nobody answers")
        if ref.name in self.half_known:
            return Observation(ref, unknown="half of it does not answer", facts={"pulse": 0})
        return Observation(ref, self.there.get(ref.name), facts={"pulse": self.pulse})


def keeping(place: Place, opened: Opened, kind: Keeping) -> Inside:
    place.write("a.yaml", document("one"))
    place.write("b.yaml", document("two"))
    engine = opened(kinds=[kind])
    engine.runtime.tables = {**engine.runtime.tables, "Probe": engine.runtime.tables["Entry"]}
    engine.runtime.keys = {**engine.runtime.keys, "Probe": engine.runtime.keys["Entry"]}
    return engine


def kept(place: Place) -> dict[str, int]:
    return {row["name"]: row["number"] for row in place.rows("SELECT name, number FROM entries ORDER BY name")}


def settle(engine: Inside) -> None:
    looked = engine.plan()
    engine.workspace.record()
    engine.reconciler.settle(engine.workspace, looked)


def test_what_was_seen_is_kept_after_a_change_and_after_every_look(place: Place, opened: Opened) -> None:
    kind = Keeping()
    engine = keeping(place, opened, kind)
    engine.apply()
    assert kept(place) == {"one": 60, "two": 60}
    kind.pulse = 90
    settle(engine)
    assert kept(place) == {"one": 90, "two": 90}


def test_a_plan_keeps_nothing(place: Place, opened: Opened) -> None:
    kind = Keeping()
    engine = keeping(place, opened, kind)
    engine.apply()
    kind.pulse = 90
    engine.plan()
    assert kept(place) == {"one": 60, "two": 60}


def test_what_could_not_be_looked_at_stays_as_it_was_seen_last(place: Place, opened: Opened) -> None:
    kind = Keeping()
    engine = keeping(place, opened, kind)
    engine.apply()
    kind.pulse, kind.unknown = 90, {"one"}
    settle(engine)
    assert kept(place) == {"one": 60, "two": 90}


def test_facts_of_what_is_not_known_are_kept(place: Place, opened: Opened) -> None:
    kind = Keeping()
    engine = keeping(place, opened, kind)
    engine.apply()
    kind.half_known = {"one"}
    settle(engine)
    assert kept(place) == {"one": 0, "two": 60}


def test_one_that_cannot_be_kept_costs_nothing_but_itself(place: Place, opened: Opened) -> None:
    kind = Keeping()
    engine = keeping(place, opened, kind)
    engine.apply()
    kind.pulse, kind.refuses = 90, {"one"}
    settle(engine)
    assert kept(place) == {"one": 60, "two": 90}
    assert engine.status("Probe/one").condition("Ready") is not None
