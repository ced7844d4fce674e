"""One look serves all who asked before it began, and nobody who asked later."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.errors import LeaseLostError, UnreachableError
from reconciler.transports.shared_looks import SharedLooks


class Branch:
    """Something to look at. Each look takes until it is let go on, and sees what there is when it begins."""

    def __init__(self) -> None:
        self.content = "first"
        self.looks = 0
        self.go_on = threading.Semaphore(0)
        self.failure: Exception | None = None

    def look(self) -> str:
        self.looks += 1
        seen, failure = self.content, self.failure
        assert self.go_on.acquire(timeout=30)
        if failure is not None:
            raise failure
        return seen

    def wait_for_looks(self, count: int) -> None:
        until = time.monotonic() + 30
        while self.looks < count:
            assert time.monotonic() < until
            time.sleep(0.005)


def test_one_look_serves_all_who_asked_before_it_began_and_nobody_later() -> None:
    branch, looks = Branch(), SharedLooks()
    waiting: set[int] = set()

    def sleep(seconds: float) -> None:
        waiting.add(threading.get_ident())
        time.sleep(seconds)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(looks.ask, "main", branch.look, time.sleep)
        branch.wait_for_looks(1)
        branch.content = "second"  # whoever asks from here on has to see it
        others = [pool.submit(looks.ask, "main", branch.look, sleep) for _ in range(6)]
        other_thing = pool.submit(looks.ask, "dev", lambda: "of its own", time.sleep)
        assert other_thing.result(30) == "of its own"
        until = time.monotonic() + 30
        while len(waiting) < 6:
            assert time.monotonic() < until
            time.sleep(0.01)
        branch.go_on.release(2)
        assert first.result(30) == "first"
        assert {one.result(30) for one in others} == {"second"}
        assert branch.looks == 2
    branch.go_on.release()
    assert looks.ask("main", branch.look, time.sleep) == "second"
    assert branch.looks == 3, "nothing is remembered once nobody asks any more"


def test_a_failure_is_only_for_who_looked() -> None:
    branch, looks = Branch(), SharedLooks()
    with ThreadPoolExecutor(2) as pool:
        branch.failure = UnreachableError("GitUnreachable", "no answer")
        first = pool.submit(looks.ask, "main", branch.look, time.sleep)
        branch.wait_for_looks(1)
        branch.failure = None
        second = pool.submit(looks.ask, "main", branch.look, time.sleep)
        branch.go_on.release(2)
        with pytest.raises(UnreachableError):
            first.result(30)
        assert second.result(30) == "first"


def test_who_may_not_go_on_does_not_wait_for_others() -> None:
    branch, looks = Branch(), SharedLooks()

    def may_not(seconds: float) -> None:
        raise LeaseLostError("LeaseLost", f"not even {seconds:g} s")

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(looks.ask, "main", branch.look, time.sleep)
        branch.wait_for_looks(1)
        with pytest.raises(LeaseLostError):
            looks.ask("main", branch.look, may_not)
        branch.go_on.release()
        assert first.result(30) == "first"
