"""Looking: one call a target, each with its own deadline, and every resource gets an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from inside import Inside
from place import Place, wait_for
from probe import Probe

from reconciler.engine.observer import Observer
from reconciler.errors import ReconcilerError, TransientError, UnreachableError
from reconciler.kind import Context
from reconciler.loading.settings import Settings
from reconciler.model.observation import Observation
from reconciler.model.resource import Resource, ResourceRef

TIMEOUT = 0.4


def resource(name: str, target: str = "here") -> Resource:
    return Resource(ResourceRef("Probe", name), {"target": target})


class Watching(Probe):
    """Counts looks; hangs on targets called `hung…` until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.looks: list[tuple[str, ...]] = []
        self.now: dict[str, int] = {}
        self.most = 0
        self.lock = threading.Lock()
        self.errors: dict[str, Exception] = {}

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        target = self.target(resources[0])
        with self.lock:
            self.looks.append(tuple(one.ref.name for one in resources))
            self.now[target] = self.now.get(target, 0) + 1
            self.most = max(self.most, self.now[target])
        try:
            if target.startswith("hung"):
                self.go.wait()
            if target.startswith("slow"):
                time.sleep(0.1)
            if target in self.errors:
                raise self.errors[target]
            return {one.ref: Observation(one.ref, {"text": "x"}) for one in resources if one.ref.name != "forgotten"}
        finally:
            with self.lock:
                self.now[target] -= 1


@pytest.fixture
def kind() -> Iterator[Watching]:
    watching = Watching()
    yield watching
    watching.go.set()


@pytest.fixture
def observer(place: Place, opened: Callable[..., Inside], kind: Watching) -> Observer:
    return opened(kinds=[kind], observe_timeout=TIMEOUT, observers=8).reconciler.observer


def elapsed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def test_one_call_a_target_for_all_of_its_resources(observer: Observer, kind: Watching) -> None:
    found = observer.observe([resource("a"), resource("b", "there"), resource("c")])
    assert sorted(kind.looks) == [("a", "c"), ("b",)]
    assert all(observation.is_known for observation in found.values())
    assert len(found) == 3


def test_targets_are_looked_at_side_by_side(observer: Observer) -> None:
    many = [resource(f"n{number}", f"slow{number}") for number in range(8)]
    assert elapsed(lambda: observer.observe(many)) < 0.1 * 8


def test_a_hung_target_is_unknown_after_its_deadline_and_delays_nobody(observer: Observer, kind: Watching) -> None:
    found = observer.observe([resource("a", "hung"), resource("b"), resource("c", "slow")])
    hung = found[ResourceRef("Probe", "a")]
    assert (hung.is_known, hung.state, hung.unreachable) == (False, None, True)
    assert hung.unknown == f"no answer within {TIMEOUT:g} s"
    assert found[ResourceRef("Probe", "b")].is_known
    assert found[ResourceRef("Probe", "c")].is_known


def test_a_second_look_at_a_hung_target_is_answered_at_once(observer: Observer, kind: Watching) -> None:
    observer.observe([resource("a", "hung")])
    took = elapsed(lambda: observer.observe([resource("a", "hung")]))
    assert took < TIMEOUT
    assert len(kind.looks) == 1, "there is never more than one call in flight a target"
    again = observer.observe([resource("a", "hung"), resource("b")])
    assert "earlier look" in again[ResourceRef("Probe", "a")].unknown
    assert again[ResourceRef("Probe", "b")].is_known


def test_once_it_answers_again_it_is_looked_at_again(observer: Observer, kind: Watching) -> None:
    observer.observe([resource("a", "hung")])
    kind.go.set()
    wait_for(lambda: observer.observe([resource("a", "hung")])[ResourceRef("Probe", "a")].is_known)


def test_two_that_look_at_once_share_no_call_and_never_overlap(observer: Observer, kind: Watching) -> None:
    threads = [
        threading.Thread(target=observer.observe, args=([resource("a", "slow"), resource(f"n{number}", f"o{number}")],))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kind.most == 1


def test_those_who_wait_for_a_look_to_end_share_the_next_one(opened: Callable[..., Inside], kind: Watching) -> None:
    """Each gets its own answer. Another version of what waits already is looked at by itself, after that."""
    observer = opened(kinds=[kind], observe_timeout=20.0, observers=8).reconciler.observer
    looked = {}

    def look(one: Resource) -> None:
        looked[one.spec.get("version", one.ref.name)] = observer.observe([one])

    versions = [Resource(ResourceRef("Probe", "a"), {"target": "hung", "version": version}) for version in ("1", "2")]
    threads = [threading.Thread(target=look, args=(one,)) for one in (resource("first", "hung"), *versions)]
    threads += [threading.Thread(target=look, args=(resource(name, "hung"),)) for name in "bcd"]
    for thread in threads:
        thread.start()
        wait_for(lambda: kind.looks)
    time.sleep(0.1)  # until all of them wait
    kind.go.set()
    for thread in threads:
        thread.join()
    assert kind.looks[0] == ("first",)
    assert [sorted(names) for names in kind.looks[1:]] in ([["a", "b", "c", "d"], ["a"]], [["a"], ["a", "b", "c", "d"]])
    assert {name: list(found) for name, found in looked.items() if name in "bcd"} == {
        name: [ResourceRef("Probe", name)] for name in "bcd"
    }
    assert kind.most == 1


def test_those_who_share_a_look_that_hangs_are_all_answered(observer: Observer, kind: Watching) -> None:
    answers: list[Observation] = []

    def look(name: str) -> None:
        answers.extend(observer.observe([resource(name, "hung")]).values())

    threads = [threading.Thread(target=look, args=(f"n{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert all(one.unreachable and not one.is_known for one in answers)
    kind.go.set()
    wait_for(lambda: observer.observe([resource("a", "hung")])[ResourceRef("Probe", "a")].is_known)


def test_a_target_that_somebody_else_looks_at_does_not_hold_up_the_start_of_others(
    observer: Observer, kind: Watching
) -> None:
    first = threading.Thread(target=observer.observe, args=([resource("a", "hung")],))
    first.start()
    wait_for(lambda: kind.looks)
    second = threading.Thread(target=observer.observe, args=([resource("a", "hung"), resource("b", "there")],))
    started = time.monotonic()
    second.start()
    wait_for(lambda: ("b",) in kind.looks)
    assert time.monotonic() - started < TIMEOUT
    kind.go.set()
    first.join()
    second.join()


def test_more_hung_targets_than_threads_are_all_answered(
    place: Place, opened: Callable[..., Inside], kind: Watching
) -> None:
    observer = opened(kinds=[kind], observe_timeout=TIMEOUT, observers=2).reconciler.observer
    found = observer.observe([resource(f"n{number}", f"hung{number}") for number in range(6)])
    assert [observation.unreachable for observation in found.values()] == [True] * 6
    kind.go.set()
    wait_for(lambda: observer.observe([resource("n5", "hung5")])[ResourceRef("Probe", "n5")].is_known)


ERRORS: dict[str, tuple[Exception, str, bool]] = {
    "unreachable": (UnreachableError("NoRoute", "no route"), "no route", True),
    "another error of ours": (TransientError("Odd", "odd answer"), "odd answer", False),
    "a mistake of the kind": (KeyError("x"), "KeyError: 'x'", False),
}


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS.keys())
def test_a_look_that_fails_is_unknown_with_its_reason(
    observer: Observer, kind: Watching, case: tuple[ReconcilerError, str, bool]
) -> None:
    error, message, unreachable = case
    kind.errors["there"] = error
    found = observer.observe([resource("a", "there"), resource("b")])
    assert found[ResourceRef("Probe", "b")].is_known
    observation = found[ResourceRef("Probe", "a")]
    assert (observation.unknown, observation.unreachable, observation.is_known) == (message, unreachable, False)


def test_what_the_kind_says_nothing_about_is_unknown_not_absent(observer: Observer) -> None:
    found = observer.observe([resource("a"), resource("forgotten")])
    forgotten = found[ResourceRef("Probe", "forgotten")]
    assert (forgotten.is_known, forgotten.unknown) == (False, "Probe gave no answer for it")


def test_a_kind_that_is_not_installed_gets_no_observation(observer: Observer) -> None:
    assert observer.observe([Resource(ResourceRef("Other", "a"), {})]) == {}


def test_the_default_deadline_is_the_documents(place: Place) -> None:
    settings = Settings(home=place.home)
    assert (settings.observe_timeout, settings.observers, settings.forks) == (30.0, 32, 8)
