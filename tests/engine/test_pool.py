"""The pool: bounded, in order, and never what holds up the end of a process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from place import wait_for

from reconciler.engine.pool import DaemonPool

ENDING = """
import time
from reconciler.engine.pool import DaemonPool
DaemonPool(2, "hung").submit(time.sleep, 3600)
print("the end", flush=True)
"""


def test_answers_and_exceptions_belong_to_whoever_asked() -> None:
    pool = DaemonPool(2, "test")
    assert pool.submit(sum, [1, 2]).result() == 3
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result()
    assert pool.submit(sum, [3], start=4).result() == 7
    pool.close()
    assert pool.join(10.0)


def test_never_more_than_its_size_and_in_order() -> None:
    pool, lock, running, most, order = DaemonPool(3, "test"), threading.Lock(), [0], [0], []

    def work(number: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            order.append(number)
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    for future in [pool.submit(work, number) for number in range(30)]:
        future.result()
    assert most[0] == 3
    assert sorted(order[:9]) != order[9:18]
    assert all(abs(number - place) < 3 for place, number in enumerate(order))
    pool.close()
    assert pool.join(10.0)


def test_threads_are_made_only_as_they_are_needed() -> None:
    pool = DaemonPool(8, "lazy")
    for _ in range(5):
        pool.submit(sum, [1]).result()
        time.sleep(0.01)
    assert sum(thread.name.startswith("lazy") for thread in threading.enumerate()) == 1
    pool.close()


def test_closing_cancels_what_waits_and_lets_what_runs_go_on() -> None:
    pool, go = DaemonPool(1, "test"), threading.Event()
    runs = pool.submit(go.wait)
    waits = pool.submit(sum, [1])
    pool.close()
    assert waits.cancelled()
    assert not pool.join(0.05)
    go.set()
    assert runs.result()
    assert pool.join(10.0)


def test_a_call_that_never_ends_does_not_keep_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "the end\n"


def test_a_cancelled_call_leaves_its_thread_free() -> None:
    pool, go = DaemonPool(1, "test"), threading.Event()
    pool.submit(go.wait)
    cancelled = pool.submit(sum, [1])
    assert cancelled.cancel()
    go.set()
    assert pool.submit(sum, [2]).result(timeout=10) == 2
    pool.close()
    wait_for(lambda: pool.join(0.1))
