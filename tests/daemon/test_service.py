"""The daemon as a process: signals, one a database, killed, asleep, replaced."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from tests.daemon.lab import Daemon, Lab, document, entry, processes_of, stays, until

LOSER = 5
"""Exit code: somebody else holds the lease."""


def slow(name: str, text: str, seconds: float) -> str:
    """A resource whose first step takes its time, deaf to everything."""
    return document("Odd", name, {"text": text, "seconds": seconds})


def second_daemon(lab: Lab, *arguments: object) -> Daemon:
    """A daemon that may or may not come up."""
    return lab.as_daemon(lab.start("daemon", lab.specs, *arguments))


def test_sighup_reads_everything_again(lab: Lab) -> None:
    """File events lead to nothing here, because their burst never ends."""
    lab.configure(debounce="1h", debounceMax="1h")
    lab.write("a.yaml", entry("a", "one"))
    daemon = lab.daemon()
    lab.await_ready("Entry/a")
    until(lambda: daemon.loads() == 2)  # at the start, and at the first look at the clock
    lab.write("a.yaml", entry("a", "two"))
    assert stays(lambda: lab.text_of("a") == "one", 1.0)
    daemon.signal(signal.SIGHUP)
    until(lambda: lab.text_of("a") == "two", daemon.err)
    assert daemon.terminate() == 0


def test_sigterm_lets_the_running_step_end_and_starts_no_other(lab: Lab) -> None:
    lab.write("a.yaml", slow("a", "one", 2.0))
    daemon = lab.daemon()
    lab.await_open_step("Odd/a", "first")
    started = time.monotonic()
    assert daemon.terminate() == 0
    assert time.monotonic() - started < 20
    assert lab.steps("Odd/a") == [("first", "done")]
    assert not (lab.root / "odd-a").exists()
    change = lab.changes("Odd/a")[0]
    assert (change["verdict"], change["reason"]) == ("failed", "ShuttingDown")
    assert [run["state"] for run in lab.rows("SELECT state FROM runs")] == ["failed"]
    assert lab.rows("SELECT name FROM leases WHERE owner != ''") == []
    assert daemon.entries()[-1]["event"] == "stopped"
    # nothing is left to be cleaned up: the next one simply goes on
    lab.daemon()
    lab.await_ready("Odd/a")
    assert (lab.root / "odd-a").read_text() == "one"


def test_sigterm_does_not_wait_for_a_hanging_step_beyond_its_time(lab: Lab) -> None:
    """The step's child process dies with the daemon, and the open step says that its end is not known."""
    lab.configure(shutdownTimeout="500ms")
    lab.write("a.yaml", entry("a", behave="hang"))
    daemon = lab.daemon()
    lab.await_open_step("Entry/a", "write")
    child = until(lambda: lab.rows("SELECT pgid FROM processes"))[0]["pgid"]
    started = time.monotonic()
    assert daemon.terminate() == 0
    assert time.monotonic() - started < 15
    assert "still ran after 0.5 s" in daemon.err()
    until(lambda: not Path(f"/proc/{child}").exists())
    assert lab.steps("Entry/a")[-1] == ("write", "open")
    assert lab.rows("SELECT name FROM leases WHERE name = 'daemon' AND owner != ''") == []

    lab.write("a.yaml", entry("a"))
    lab.daemon()
    lab.await_ready("Entry/a")
    assert ("write", "unconfirmed") in lab.steps("Entry/a")
    assert [change["verdict"] for change in lab.changes("Entry/a")] == ["unknown", "changed"]
    assert lab.rows("SELECT * FROM processes") == []


def test_the_time_to_shut_down_is_for_all_steps_together(lab: Lab) -> None:
    lab.configure(shutdownTimeout="2s")
    lab.write("all.yaml", *(entry(f"e{n}", target=f"t{n}", behave="hang") for n in range(8)))
    daemon = lab.daemon()
    for n in range(8):
        lab.await_open_step(f"Entry/e{n}", "write")
    started = time.monotonic()
    assert daemon.terminate() == 0
    assert time.monotonic() - started < 12  # one after another they would get 16


def test_a_look_that_hangs_does_not_hold_up_the_end(lab: Lab) -> None:
    lab.configure(observeTimeout="1h", observers=2)
    lab.write("all.yaml", *(entry(f"e{n}", target=f"t{n}", behave="observe-hang") for n in range(4)))
    daemon = lab.daemon()
    until(lambda: daemon.metric("reconciler_queue_in_work") >= 2)
    assert daemon.terminate(within=20) == 0


def test_sigint_ends_it_the_same_way(lab: Lab) -> None:
    daemon = lab.daemon()
    daemon.signal(signal.SIGINT)
    assert daemon.wait() == 0
    assert "Traceback" not in daemon.err()


def test_a_second_daemon_says_who_works_here_and_since_when(lab: Lab) -> None:
    lab.write("a.yaml", entry("a"))
    first = lab.daemon()
    lab.await_ready("Entry/a")
    second = second_daemon(lab)
    assert second.wait() == LOSER
    assert second.out() == ""
    assert f"(daemon, pid {first.pid}) since 2" in second.err()
    assert "UTC" in second.err()
    assert first.alive
    lab.write("a.yaml", entry("a", "two"))
    until(lambda: lab.text_of("a") == "two", first.err)


def test_a_killed_daemon_is_replaced_at_once(lab: Lab) -> None:
    """Its lease would hold for half a minute; that its owner is dead can be proven, so nobody waits for that."""
    lab.write("a.yaml", entry("a", behave="hang"))
    lab.write("b.yaml", entry("b"))
    first = lab.daemon()
    lab.await_ready("Entry/b")
    lab.await_open_step("Entry/a", "write")
    first.kill()
    lab.spoil("b", None)
    lab.write("a.yaml", entry("a"))
    started = time.monotonic()
    lab.daemon()
    lab.await_ready("Entry/a")
    until(lambda: lab.text_of("b") == "hello")
    assert time.monotonic() - started < 25  # the lease alone would have held for 30
    assert ("write", "unconfirmed") in lab.steps("Entry/a")
    until(lambda: not lab.rows("SELECT * FROM runs WHERE state = 'running'"), lambda: lab.rows("SELECT * FROM runs"))
    assert lab.rows("SELECT state FROM runs ORDER BY id")[0]["state"] == "interrupted"


def journal(lab: Lab) -> dict[str, list[dict[str, object]]]:
    """Everything that a daemon may have written, beside what its successor does from now on."""
    return {table: lab.rows(f"SELECT * FROM {table}") for table in ("runs", "changes", "steps", "events")}


def test_a_sleeping_daemon_that_wakes_after_a_takeover_writes_nothing_and_ends(lab: Lab) -> None:
    """SIGSTOP in the middle of a step, long enough for the leases to expire; the successor makes the change."""
    lab.configure(leaseTtl="1s")
    lab.write("a.yaml", entry("a", "one", {"interval": "1h"}, seconds=3))
    first = lab.daemon()
    lab.await_open_step("Entry/a", "write")
    lab.put_to_sleep(first)
    lab.write("a.yaml", entry("a", "two", {"interval": "1h"}))
    second = until(lambda: came_up(lab), lambda: lab.rows("SELECT * FROM leases"))
    lab.await_ready("Entry/a")
    until(lambda: lab.rows("SELECT * FROM runs WHERE pid = ? AND ended_at IS NOT NULL", second.pid))
    assert lab.text_of("a") == "two"
    before, live = journal(lab), lab.live()

    first.signal(signal.SIGCONT)
    assert first.wait() == LOSER
    assert "another daemon took over" in first.err()
    assert lab.live() == live
    assert journal(lab) == before
    assert lab.is_ready("Entry/a")
    assert second.alive
    owner = json.dumps(lab.rows("SELECT pid FROM leases WHERE name = 'daemon'"))
    assert str(second.pid) in owner


def came_up(lab: Lab) -> Daemon | None:
    """A further daemon, once the lease of the one before has expired."""
    candidate = second_daemon(lab)
    until(lambda: "page: " in candidate.out() or not candidate.alive)
    return candidate if candidate.alive else None


def test_command_and_daemon_on_one_database_make_each_change_once(lab: Lab) -> None:
    """By whoever holds its lease; the other waits and finds it made."""
    lab.write("a.yaml", slow("a", "one", 1.5))
    daemon = lab.daemon()
    lab.await_open_step("Odd/a", "first")
    assert "changed=0" in lab.ok("apply", lab.specs, "--yes")
    lab.await_ready("Odd/a")
    assert [change["action"] for change in lab.changes("Odd/a")] == ["create"]
    assert daemon.alive


def test_the_page_takes_any_free_port_and_a_taken_one_is_one_line(lab: Lab) -> None:
    daemon = lab.daemon()
    port = daemon.url.rpartition(":")[2]
    other = Lab(lab.root / "other")
    try:
        refused = other.run("daemon", other.specs, "--port", port)
        assert refused.code not in (0, LOSER)
        assert port in refused.err
        assert "Traceback" not in refused.err
        assert len([line for line in refused.err.splitlines() if "rror" in line]) == 1
    finally:
        other.close()


def test_nothing_of_a_daemon_is_left_when_it_has_ended(lab: Lab) -> None:
    lab.write("a.yaml", entry("a", behave="hang"))
    with lab.prefixed("env"):  # a fork does not name its home in /proc
        daemon = lab.daemon()
    lab.await_open_step("Entry/a", "write")
    assert len(processes_of(lab.root)) >= 2
    daemon.kill()
    until(lambda: not processes_of(lab.root), lambda: processes_of(lab.root))
