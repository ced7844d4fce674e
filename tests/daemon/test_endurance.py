"""A daemon that runs for long: it leaks nothing, and does nothing while nothing happens."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.daemon.lab import Daemon, Lab, entry, open_files, threads, until


def edit(lab: Lab, daemon: Daemon, edits: range) -> None:
    """Save the same file again and again, in all the ways in which files change, and wait for the last."""
    for number in edits:
        path = lab.specs / f"{number % 3}.yaml"
        text = entry(f"e{number % 3}", f"t{number}")
        if number % 4 == 0:
            fresh = path.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(path)
        elif number % 4 == 1:
            path.write_text("x: [")
            path.write_text(text)
        else:
            path.write_text(text)
        if number % 10 == 0:
            until(lambda number=number: lab.text_of(f"e{number % 3}") == f"t{number}", daemon.err)
            assert daemon.get("/api/v2/overview")[0] == 200
    last = edits[-1]
    until(lambda: lab.text_of(f"e{last % 3}") == f"t{last}", daemon.err)


def settled(daemon: Daemon) -> None:
    """Until nothing is under way."""
    until(lambda: daemon.metric("reconciler_queue_in_work") == 0, daemon.err)


def test_two_hundred_edits_leave_no_thread_and_no_descriptor(lab: Lab) -> None:
    daemon = lab.daemon()
    edit(lab, daemon, range(40))  # pools and caches grow to their size
    settled(daemon)
    before = open_files(daemon.pid), threads(daemon.pid)
    edit(lab, daemon, range(40, 240))
    settled(daemon)
    until(
        lambda: open_files(daemon.pid) <= before[0] + 4 and threads(daemon.pid) <= before[1] + 4,
        lambda: (before, open_files(daemon.pid), threads(daemon.pid)),
    )
    assert not [line for line in daemon.entries() if line["level"] == "error"]
    assert daemon.terminate() == 0


def test_an_idle_daemon_rests(lab: Lab) -> None:
    """A tick a quarter of a second, and no more: some hundredths of a second of CPU each second."""
    lab.write("all.yaml", *(entry(f"e{n}", lifecycle={"interval": "1h"}) for n in range(50)))
    daemon = lab.daemon()
    lab.await_ready(*(f"Entry/e{n}" for n in range(50)))
    settled(daemon)
    before = cpu_seconds(daemon.pid)
    time.sleep(3)
    used = cpu_seconds(daemon.pid) - before
    assert used < 1.0, f"{used:.2f} s of CPU in 3 s of nothing to do"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
def test_five_thousand_edits_do_not_make_it_grow(lab: Lab) -> None:
    daemon = lab.daemon()
    edit(lab, daemon, range(500))
    settled(daemon)
    before = resident(daemon.pid), open_files(daemon.pid), threads(daemon.pid)
    started = time.monotonic()
    edit(lab, daemon, range(500, 5500))
    settled(daemon)
    after = resident(daemon.pid), open_files(daemon.pid), threads(daemon.pid)
    took = time.monotonic() - started
    print(f"5,000 edits in {took:.0f} s: memory {before[0] / 1e6:.0f} -> {after[0] / 1e6:.0f} MB, {before} -> {after}")
    assert after[0] < before[0] + 40e6
    assert after[1] <= before[1] + 4
    assert after[2] <= before[2] + 4
