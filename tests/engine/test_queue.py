"""The queue: no key lost, no key twice, the earlier time wins, and what is added while it is taken comes back."""

from __future__ import annotations

import random
import threading
import time

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from place import wait_for

from reconciler.engine import queue as queue_module
from reconciler.engine.observer import Target
from reconciler.engine.queue import WorkQueue
from reconciler.model.resource import ResourceRef


def ref(name: str) -> ResourceRef:
    return ResourceRef("Probe", name)


def target_of(key: ResourceRef) -> Target:
    return ("Probe", key.name[0])


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[WorkQueue, Clock]:
    clock = Clock()
    return WorkQueue(target_of, clock), clock


def take(queue: WorkQueue) -> tuple[str, list[str]]:
    """The next group, which must be there already."""
    got: list[tuple[Target, list[ResourceRef]] | None] = []
    taker = threading.Thread(target=lambda: got.append(queue.take()), daemon=True)
    taker.start()
    taker.join(10.0)
    assert got, "nothing was handed out"
    assert got[0] is not None
    target, refs = got[0]
    return target[1], [key.name for key in refs]


def test_due_keys_of_one_target_come_as_one_group() -> None:
    queue, _ = made()
    queue.add([ref("a1"), ref("b1"), ref("a2")])
    assert take(queue) == ("a", ["a1", "a2"])
    assert take(queue) == ("b", ["b1"])
    assert (queue.depth(), queue.in_work()) == (0, 3)


def test_while_a_target_is_looked_at_its_other_keys_wait() -> None:
    queue, _ = made()
    queue.add([ref("a1")])
    take(queue)
    queue.add([ref("a2"), ref("b1")])
    assert take(queue) == ("b", ["b1"])
    queue.looked(("Probe", "a"))
    assert take(queue) == ("a", ["a2"])


def test_the_target_that_waited_longest_comes_first() -> None:
    queue, clock = made()
    queue.add([ref("b1")])
    clock.now += 1.0
    queue.add([ref("a1"), ref("b2")])
    assert take(queue) == ("b", ["b1", "b2"])


def test_a_key_that_was_added_many_times_comes_once() -> None:
    queue, clock = made()
    for delay in (0.0, 5.0, 0.0):
        queue.add([ref("a1")], delay)
    assert take(queue) == ("a", ["a1"])
    queue.looked(("Probe", "a"))
    queue.done(ref("a1"), None)
    clock.now += 60
    assert queue.depth() == 0


def test_the_earlier_of_two_times_wins() -> None:
    queue, clock = made()
    queue.add([ref("a1")], 10.0)
    queue.add([ref("a1")], 5.0)
    queue.add([ref("a1")], 20.0)
    clock.now += 4.9
    assert queue.depth() == 0
    clock.now += 0.2
    assert take(queue) == ("a", ["a1"])


def test_a_key_added_while_it_is_taken_comes_back_as_soon_as_it_was_given_back() -> None:
    queue, _ = made()
    queue.add([ref("a1")])
    take(queue)
    queue.looked(("Probe", "a"))
    queue.add([ref("a1")], 3.0)
    queue.add([ref("a1")])
    assert queue.depth() == 0
    queue.done(ref("a1"), 300.0)
    assert take(queue) == ("a", ["a1"])


def test_a_key_given_back_without_a_time_comes_only_when_it_is_added() -> None:
    queue, clock = made()
    queue.add([ref("a1")])
    take(queue)
    queue.looked(("Probe", "a"))
    queue.done(ref("a1"), None)
    clock.now += 1e9
    assert (queue.depth(), queue.in_work()) == (0, 0)
    queue.add([ref("a1")])
    assert take(queue) == ("a", ["a1"])


def test_groups_are_bounded_and_the_rest_follows() -> None:
    queue, _ = made()
    keys = [ref(f"a{number}") for number in range(queue_module.MAX_GROUP + 5)]
    queue.add(keys)
    assert len(take(queue)[1]) == queue_module.MAX_GROUP
    queue.looked(("Probe", "a"))
    assert len(take(queue)[1]) == 5


def test_whoever_waits_is_woken_by_an_add_by_the_time_and_by_the_end() -> None:
    queue = WorkQueue(target_of)
    got: list[object] = []
    thread = threading.Thread(target=lambda: [got.append(queue.take()) for _ in range(3)])
    thread.start()
    queue.add([ref("a1")])
    wait_for(lambda: len(got) == 1)
    queue.add([ref("b1")], 0.1)
    wait_for(lambda: len(got) == 2)
    queue.close()
    thread.join()
    assert got == [(("Probe", "a"), [ref("a1")]), (("Probe", "b"), [ref("b1")]), None]


def test_many_threads_never_hold_the_same_key_and_lose_none() -> None:
    queue = WorkQueue(target_of)
    keys = [ref(f"{letter}{number}") for letter in "abcd" for number in range(25)]
    held: set[ResourceRef] = set()
    count = dict.fromkeys(keys, 0)
    wrong: list[ResourceRef] = []
    lock = threading.Lock()

    def work() -> None:
        chance = random.Random()
        while (group := queue.take()) is not None:
            target, refs = group
            with lock:
                wrong.extend(held.intersection(refs))
                held.update(refs)
            queue.looked(target)
            for key in refs:
                with lock:
                    held.discard(key)
                    count[key] += 1
                queue.done(key, chance.choice([None, 0.001]))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        queue.add(random.sample(keys, 10))
    before = dict(count)
    queue.add(keys)
    wait_for(lambda: all(count[key] > before[key] for key in keys))
    queue.close()
    for thread in threads:
        thread.join()
    assert wrong == []


KEYS = st.sampled_from([ref(name) for name in ("a1", "a2", "a3", "b1", "b2", "c1")])
DELAYS = st.sampled_from([0.0, 0.0, 1.0, 2.0, 7.0])


class Model(RuleBasedStateMachine):
    """What the queue promises, kept as plain data beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.clock = made()
        self.due: dict[ResourceRef, float] = {}
        self.taken: dict[ResourceRef, float | None] = {}
        self.looking: set[str] = set()

    def ripe(self) -> dict[str, set[ResourceRef]]:
        groups: dict[str, set[ResourceRef]] = {}
        for key, at in self.due.items():
            if at <= self.clock.now:
                groups.setdefault(key.name[0], set()).add(key)
        return groups

    @rule(keys=st.lists(KEYS, max_size=4), delay=DELAYS)
    def add(self, keys: list[ResourceRef], delay: float) -> None:
        self.queue.add(keys, delay)
        at = self.clock.now + delay
        for key in keys:
            if key in self.taken:
                again = self.taken[key]
                self.taken[key] = at if again is None else min(again, at)
            else:
                self.due[key] = min(self.due.get(key, at), at)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.ripe().keys() - self.looking)
    @rule()
    def take(self) -> None:
        target, names = take(self.queue)
        assert target not in self.looking
        assert len(names) == len(set(names))
        assert {ref(name) for name in names} == self.ripe()[target]
        self.looking.add(target)
        for name in names:
            del self.due[ref(name)]
            self.taken[ref(name)] = None

    @precondition(lambda self: self.looking)
    @rule(data=st.data())
    def looked(self, data: st.DataObject) -> None:
        target = data.draw(st.sampled_from(sorted(self.looking)))
        self.queue.looked(("Probe", target))
        self.looking.discard(target)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), delay=st.none() | DELAYS)
    def done(self, data: st.DataObject, delay: float | None) -> None:
        key = data.draw(st.sampled_from(sorted(self.taken)))
        self.queue.done(key, delay)
        again = self.taken.pop(key)
        times = [at for at in (again, None if delay is None else self.clock.now + delay) if at is not None]
        if times:
            self.due[key] = min(times)

    @invariant()
    def counts_agree(self) -> None:
        assert self.queue.depth() == sum(map(len, self.ripe().values()))
        assert self.queue.in_work() == len(self.taken)

    def teardown(self) -> None:
        """In the end everything that is due comes out, exactly once."""
        for key in list(self.taken):
            self.queue.done(key, 0.0)
            self.due[key] = self.clock.now
        for target in "abc":
            self.queue.looked(("Probe", target))
        self.clock.now += 1e6
        out: list[ResourceRef] = []
        while self.queue.depth():
            group = self.queue.take()
            assert group is not None
            out += group[1]
        assert sorted(out) == sorted(self.due)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
