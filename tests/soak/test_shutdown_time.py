"""SIGTERM with the real time limit, 30 s: a step that ends within it is waited for, one that hangs is not."""

from __future__ import annotations

import time

import pytest

from tests.daemon.lab import document, entry, processes_of, until
from tests.soak.garden import Garden

pytestmark = pytest.mark.soak
LIMIT = 30.0
PATIENCE = 10.0
"""What ending takes beside waiting, on a busy machine."""
LONG = 15.0


def odd(name: str, seconds: float) -> str:
    """A resource whose first step is deaf for so long."""
    return document("Odd", name, {"text": "hello", "seconds": seconds}, {"interval": "1h"})


def test_a_long_step_is_waited_for(garden: Garden) -> None:
    garden.write("long.yaml", odd("long", LONG))
    daemon = garden.daemon()
    garden.await_open_step("Odd/long", "first")
    began = garden.rows("SELECT started_at FROM steps")[0]["started_at"]
    started = time.monotonic()
    assert daemon.terminate(LIMIT + PATIENCE) == 0
    took = time.monotonic() - started
    assert garden.steps("Odd/long") == [("first", "done")], "it ended, and no other began"
    ended = garden.rows("SELECT ended_at FROM steps")[0]["ended_at"]
    assert ended - began >= LONG
    print(f"a step of {LONG:.0f} s: exit 0 {took:.1f} s after SIGTERM")


def test_a_step_that_hangs_is_given_up_after_thirty_seconds(garden: Garden) -> None:
    """One that sleeps in our process, and one that waits for a child, which must not outlive us."""
    garden.write("hang.yaml", odd("deaf", 3600), entry("parent", behave="hang"))
    daemon = garden.daemon()
    garden.await_open_step("Odd/deaf", "first")
    garden.await_open_step("Entry/parent", "write")
    until(lambda: any("sleep" in command for command in processes_of(garden.root).values()))
    started = time.monotonic()
    assert daemon.terminate(LIMIT + PATIENCE) == 0
    took = time.monotonic() - started
    assert took >= LIMIT - 1.0, "they were given the whole time"
    until(lambda: not processes_of(garden.root), lambda: processes_of(garden.root), 10)
    garden.assert_whole()
    garden.write("hang.yaml", odd("deaf", 0), entry("parent"))
    garden.ok("apply", garden.specs, "--yes")
    assert ("first", "unconfirmed") in garden.steps("Odd/deaf")
    assert garden.text_of("parent") == "hello"
    print(f"steps that hang: exit 0 {took:.1f} s after SIGTERM")
