"""What the daemon survives: kinds that break, a database that is locked, a page that nobody should bring down."""

from __future__ import annotations

import time

from tests.daemon.lab import Lab, document, entry, stays, until

PLACES = (
    "references",
    "target",
    "normalize",
    "steps",
    "observe",
    "observe-exit",
    "answer",
    "run",
    "run-exit",
)
"""Where the code of a kind may raise what no kind should raise."""


FAULTS = ("a mistake in", "end the process", "no mapping")
"""What people are told, one or the other."""


def odd(name: str, text: str, **spec: str) -> str:
    return document("Odd", name, {"text": text, **spec}, {"interval": "1s"})


def test_a_kind_that_breaks_hurts_nobody_but_itself(lab: Lab) -> None:
    """Resources that break in every place are there from the start, beside healthy ones, and get well again."""
    for place in PLACES:
        lab.write(f"{place}.yaml", odd(f"bad-{place}", "one", breaks=place))
    lab.write("good.yaml", entry("good", "one", {"interval": "1s"}))
    lab.write("same.yaml", odd("same", "one"))
    daemon = lab.daemon()
    lab.await_ready("Entry/good", "Odd/same")
    for place in PLACES:
        until(
            lambda place=place: any(word in told(lab, place) for word in FAULTS), lambda place=place: told(lab, place)
        )
    lab.write("good.yaml", entry("good", "two", {"interval": "1s"}))
    until(lambda: lab.text_of("good") == "two", daemon.err)
    lab.spoil("good", None)
    until(lambda: lab.text_of("good") == "two", daemon.err)
    assert daemon.get("/healthz")[0] == 200
    assert daemon.get("/metrics")[0] == 200
    for place in PLACES:
        lab.write(f"{place}.yaml", odd(f"bad-{place}", "well"))
    lab.await_ready(*(f"Odd/bad-{place}" for place in PLACES))
    assert (lab.root / "odd-bad-target").read_text() == "well"
    assert daemon.terminate() == 0


def told(lab: Lab, place: str) -> str:
    """All that people are told of the one that breaks there."""
    problems = lab.rows("SELECT message FROM problems WHERE path LIKE ?", f"%/{place}.yaml")
    return str([*problems, *lab.rows("SELECT message FROM statuses WHERE name = ?", f"bad-{place}")])


def test_a_locked_database_delays_and_loses_nothing(lab: Lab) -> None:
    """Somebody holds the write lock for longer than anybody waits; what was saved meanwhile is applied afterwards."""
    lab.configure(busyTimeout="300ms")
    lab.write("a.yaml", entry("a", "one", {"interval": "1s"}))
    lab.write("gone.yaml", entry("gone"))
    daemon = lab.daemon("--prune")
    lab.await_ready("Entry/a", "Entry/gone")
    with lab.locked():
        lab.write("a.yaml", entry("a", "two", {"interval": "1h"}))
        lab.write("b.yaml", entry("b", "new", {"interval": "1h"}))
        (lab.specs / "gone.yaml").unlink()
        until(lambda: daemon.err().count("write lock") >= 2, daemon.err)
        assert daemon.get("/healthz")[0] == 200
        assert daemon.get("/api/v2/resources")[0] == 200
        assert lab.text_of("a") == "one"
    until(lambda: lab.text_of("a") == "two", daemon.err)
    until(lambda: lab.text_of("b") == "new", daemon.err)
    until(lambda: lab.text_of("gone") is None, daemon.err)
    lab.await_ready("Entry/a", "Entry/b")
    assert daemon.terminate() == 0
    assert lab.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_a_lock_in_the_middle_of_a_change_ends_in_the_desired_state(lab: Lab) -> None:
    lab.configure(busyTimeout="300ms")
    lab.write("a.yaml", document("Odd", "a", {"text": "one", "seconds": 1}))
    daemon = lab.daemon()
    lab.await_open_step("Odd/a", "first")
    with lab.locked():
        until(lambda: "write lock" in daemon.err(), daemon.err)
        time.sleep(1.5)
    lab.await_ready("Odd/a")
    until(lambda: not lab.rows("SELECT * FROM runs WHERE state = 'running'"), lambda: lab.rows("SELECT * FROM runs"))
    assert not [step for step in lab.steps("Odd/a") if step[1] == "open"]
    assert daemon.terminate() == 0


def test_a_daemon_that_is_not_ready_says_why(lab: Lab) -> None:
    """Its first load waits for the database: alive, not ready."""
    lab.write("a.yaml", entry("a"))
    lab.ok("get")  # makes the database
    command = lab.start("daemon", lab.specs)
    until(lambda: lab.rows("SELECT * FROM leases WHERE name = 'daemon'"), command.err)
    with lab.locked():
        daemon = lab.as_daemon(command)
        assert daemon.get("/healthz")[0] == 200
        code, body = daemon.get("/readyz")
        assert code == 503
        assert "not loaded yet" in body
    daemon.await_ready()
    lab.await_ready("Entry/a")


def test_two_commands_and_a_daemon_on_one_database(lab: Lab) -> None:
    """All of them work at the same things; each change is made once and nobody meets a lock."""
    lab.write("all.yaml", *(entry(f"e{n}", "one", target=f"t{n % 4}", seconds=0.2) for n in range(20)))
    daemon = lab.daemon()
    commands = [lab.start("apply", lab.specs, "--yes") for _ in range(2)]
    codes = [command.wait(90) for command in commands]
    assert codes == [0, 0], [command.err() + command.out() for command in commands]
    lab.await_ready(*(f"Entry/e{n}" for n in range(20)))
    assert all(lab.calls(f"e{n}").count("write") == 1 for n in range(20))
    assert "write lock" not in daemon.err() + "".join(command.err() for command in commands)


def test_hostile_requests_do_not_bring_the_page_down(lab: Lab) -> None:
    lab.write("a.yaml", entry("a"))
    daemon = lab.daemon()
    lab.await_ready("Entry/a")
    for path in (
        "/nothing",
        "/api/v2/resources/Entry/..%2f..",
        "/api/v2/runs/999999999999999999999",
        "/%00",
        "/?q=" + "x" * 9000,
    ):
        assert daemon.get(path)[0] in (200, 400, 404, 414, 431), path
    assert daemon.get("/")[0] == 200
    assert stays(lambda: daemon.alive, 0.3)
