"""kill -9 at every boundary of the real `reconciler apply`: whoever comes next converges, and the journal tells."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forking import Forked
from place import Place, entry, kill, living, wait_for, wait_until_stopped

COMMITS = 24
"""More than an apply of one entry has; the test shows that this many are enough."""
MOMENTS = [f"{step}:{when}" for step in ("number", "write", "stamp") for when in ("before", "after")]
TTL = 3.0
LEASE = {"RECONCILER_LEASE_TTL": f"{TTL:g}"}


def applied(place: Place) -> dict[str, Any]:
    """Converge, and show that nothing is left to do, open or broken."""
    assert place.is_whole()
    place.apply()
    recap = place.apply("-o", "json").stream[-1]
    assert {verdict for row in recap["targets"].values() for verdict, count in row.items() if count} <= {"ok"}
    assert place.is_whole()
    for left in ("steps WHERE outcome = 'open'", "changes WHERE verdict = ''", "processes", "leases WHERE owner != ''"):
        assert place.rows(f"SELECT * FROM {left}") == []
    assert place.rows("SELECT * FROM runs WHERE state = 'running'") == []
    return place.there()


def stopped_at_commit(place: Place, number: int, *arguments: str) -> Forked | None:
    """An apply that stopped right before its Nth transaction is stored; None when it ended before."""
    process = place.start("apply", str(place.specs), "--yes", *arguments, stop=f"commit:{number}")
    if wait_until_stopped(process):
        return process
    process.communicate()
    return None


def journal(place: Place) -> list[tuple[str, str]]:
    rows = place.rows("SELECT verdict, reason FROM changes ORDER BY id")
    return [(row["verdict"], row["reason"]) for row in rows]


@pytest.mark.parametrize("turn", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_killed_at_every_transaction_of_a_creation_it_converges(place: Place, tmp_path: Path, turn: int) -> None:
    place.write("a.yaml", entry("one"))
    killed = 0
    for number in range(1, COMMITS):
        name = f"n{number}"
        place.write("a.yaml", *(entry(f"n{earlier}") for earlier in range(1, number + 1)))
        process = stopped_at_commit(place, number)
        if process is None:
            break
        kill(process)
        killed += 1
        place.apply()
        assert place.there()[name] == {"text": "hello"}
        (row,) = place.rows("SELECT number FROM entries WHERE name = ?", name)
        assert row["number"] == number, "the number that it got is kept, and no other one is used up"
    applied(place)
    assert killed >= 14, "every step has its intent and its outcome"
    assert killed < COMMITS - 1, "the last one ended by itself: there are no more boundaries"


@pytest.mark.parametrize("turn", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_inside_a_step_the_journal_shows_it_unconfirmed(place: Place, moment: str, turn: int) -> None:
    place.write("a.yaml", entry("one"))
    process = place.start("apply", str(place.specs), "--yes", env={"ENTRY_STOP": moment})
    assert wait_until_stopped(process)
    kill(process)
    step = moment.partition(":")[0]
    assert place.rows("SELECT name FROM steps WHERE outcome = 'open'") == [{"name": step}]
    assert applied(place) == {"one": {"text": "hello"}}
    rows = place.rows("SELECT name, message FROM steps WHERE outcome = 'unconfirmed'")
    assert rows == [{"name": step, "message": "its process ended while the step ran"}]
    assert journal(place)[0] == ("unknown", "Interrupted")
    history = place.run("history", "Entry/one", code=None).out
    assert "unconfirmed" in history


@pytest.mark.parametrize("moment", ["remove:before", "remove:after", "forget:before"])
def test_killed_while_deleting_it_is_deleted_in_the_end(place: Place, moment: str) -> None:
    place.write("a.yaml", entry("one"), entry("other"))
    place.apply()
    place.write("a.yaml", entry("one", {"state": "absent"}), entry("other"))
    process = place.start("apply", str(place.specs), "--yes", env={"ENTRY_STOP": moment})
    assert wait_until_stopped(process)
    kill(process)
    assert applied(place) == {"other": {"text": "hello"}}
    assert place.rows("SELECT name FROM entries") == [{"name": "other"}]


@pytest.mark.parametrize("moment", ["remove:after", "number:after", "write:after"])
def test_killed_while_replacing_it_is_replaced_in_the_end(place: Place, moment: str) -> None:
    place.write("a.yaml", entry("one", {"replace": "allow"}, color="red"))
    place.apply()
    place.write("a.yaml", entry("one", {"replace": "allow"}, color="blue"))
    process = place.start("apply", str(place.specs), "--yes", env={"ENTRY_STOP": moment})
    assert wait_until_stopped(process)
    kill(process)
    assert applied(place) == {"one": {"text": "hello", "color": "blue"}}


def test_a_run_whose_process_was_killed_is_not_shown_as_running_for_ever(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    process = place.start("apply", str(place.specs), "--yes", env={"ENTRY_STOP": "write:before"})
    assert wait_until_stopped(process)
    kill(process)
    applied(place)
    states = [row["state"] for row in place.rows("SELECT state FROM runs ORDER BY id")]
    assert states == ["interrupted", "succeeded"]


def child_of_the_step(place: Place) -> int:
    (row,) = wait_for(lambda: place.rows("SELECT pgid FROM processes"))
    pgid = int(row["pgid"])
    wait_for(lambda: "sleep" in Path(f"/proc/{pgid}/cmdline").read_text())
    return pgid


def without_setpriv(folder: Path) -> str:
    """A PATH on which everything is found but the program that ties children to us."""
    folder.mkdir()
    for place_ in os.environ["PATH"].split(":"):
        for program in Path(place_).glob("*") if Path(place_).is_dir() else ():
            link = folder / program.name
            if program.name != "setpriv" and not link.exists():
                link.symlink_to(program)
    return str(folder)


@pytest.mark.parametrize("tied", [True, False], ids=["tied to us", "left behind"])
def test_no_child_process_is_left_after_a_kill(place: Place, tmp_path: Path, tied: bool) -> None:
    """The kernel ends it with us; where it cannot, whoever comes next ends it before it looks."""
    env = {} if tied else {"PATH": without_setpriv(tmp_path / "bin")}
    place.write("a.yaml", entry("one", behave="hang"))
    process = place.start("apply", str(place.specs), "--yes", env=env)
    pgid = child_of_the_step(place)
    kill(process)
    if tied:
        wait_for(lambda: not living([pgid]))
    else:
        assert living([pgid]) == [pgid], "nobody ended it"
    place.write("a.yaml", entry("one"))
    assert applied(place) == {"one": {"text": "hello"}}
    assert living([pgid]) == []


def test_ctrl_c_ends_after_the_running_step_and_the_rest_follows_next_time(place: Place) -> None:
    place.write("a.yaml", entry("one", seconds=1.0))
    process = place.start("apply", str(place.specs), "--yes")
    wait_for(lambda: place.rows("SELECT 1 FROM steps WHERE name = 'write'"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert place.rows("SELECT * FROM steps WHERE outcome = 'open'") == []
    place.write("a.yaml", entry("one"))
    assert applied(place) == {"one": {"text": "hello"}}


# Two at once ------------------------------------------------------------------------------------------------------


def test_row_0_15_of_ten_that_apply_the_same_exactly_one_writes(place: Place) -> None:
    place.write("a.yaml", entry("one", seconds=0.5))
    place.apply("--check")
    processes = [place.start("apply", str(place.specs), "--yes", "-o", "json") for _ in range(10)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert place.calls("write") == ["write one"]
    assert place.rows("SELECT writes FROM entries") == [{"writes": 1}]
    verdicts = []
    for (out, err), code in ended:
        assert "Traceback" not in err
        (recap,) = [line for line in out.splitlines() if '"recap"' in line]
        verdict = next(name for name in ("changed", "ok", "blocked") if f'"{name}": 1' in recap)
        verdicts.append(verdict)
        assert code == (0 if verdict in ("changed", "ok") else 5), out
    assert verdicts.count("changed") == 1
    assert place.rows("SELECT owner FROM leases") == [{"owner": ""}]
    assert applied(place) == {"one": {"text": "hello"}}


@pytest.mark.parametrize("turn", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_many_that_apply_different_and_same_things_at_once_all_converge(place: Place, turn: int) -> None:
    names = [f"n{number}" for number in range(12)]
    place.write("a.yaml", *(entry(name, seconds=0.05) for name in names))
    processes = [place.start("apply", str(place.specs), "--yes") for _ in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        assert "locked" not in err
    assert sorted(place.calls("write")) == sorted(f"write {name}" for name in names)
    numbers = [row["number"] for row in place.rows("SELECT number FROM entries")]
    assert sorted(numbers) == list(range(1, 13))
    assert applied(place).keys() == set(names)


def test_after_a_crash_a_lease_is_free_at_once(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    process = place.start("apply", str(place.specs), "--yes", env={"ENTRY_STOP": "write:before"})
    assert wait_until_stopped(process)
    kill(process)
    started = time.monotonic()
    place.apply()
    assert time.monotonic() - started < 25, "its time to live is 30 s"


def test_while_somebody_works_the_second_says_who_and_since_when(place: Place) -> None:
    place.write("a.yaml", entry("one"))
    process = place.start("apply", str(place.specs), "--yes", env={"ENTRY_STOP": "write:before"})
    assert wait_until_stopped(process)
    second = place.start("apply", str(place.specs), "--yes")
    out, err = second.communicate(timeout=60)
    assert second.returncode == 5, (out, err)
    assert f"pid {process.pid}" in out + err
    assert "since 20" in out + err
    kill(process)


# A holder that slept ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [8, 13])
def test_who_sleeps_while_it_stores_something_harms_nobody(place: Place, number: int) -> None:
    """It holds SQLite's own lock, so that nobody can take over: the others say so, and it goes on when it wakes."""
    place.write("a.yaml", entry("one"))
    process = place.start("apply", str(place.specs), "--yes", stop=f"commit:{number}", env=LEASE)
    assert wait_until_stopped(process)
    second = place.start("apply", str(place.specs), "--yes", env=LEASE | {"RECONCILER_BUSY_TIMEOUT": "0.5"})
    out, err = second.communicate(timeout=60)
    process.send_signal(signal.SIGCONT)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)
    assert second.returncode == 8
    assert "was not free within 0.5 s" in out + err
    assert applied(place) == {"one": {"text": "hello"}}


@pytest.mark.parametrize("moment", ["write:before", "write:after", "stamp:before"])
def test_stalled_lease_holder_writes_nothing_after_takeover(place: Place, moment: str) -> None:
    place.write("a.yaml", entry("one"))
    sleeper = place.start("apply", str(place.specs), "--yes", "-o", "json", env=LEASE | {"ENTRY_STOP": moment})
    assert wait_until_stopped(sleeper)
    time.sleep(TTL)
    place.write("a.yaml", entry("one", text="newer"))
    place.apply(env=LEASE)
    live = place.there() if moment != "write:before" else None
    tables = ("changes", "steps", "step_logs", "statuses", "entries", "events", "leases", "processes", "resources")
    before = {table: place.rows(f"SELECT * FROM {table}") for table in tables}
    sleeper.send_signal(signal.SIGCONT)
    out, err = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 5, (out, err)
    assert "Traceback" not in err
    assert "was taken over" in out
    assert {table: place.rows(f"SELECT * FROM {table}") for table in tables} == before
    assert place.calls().count("stamp one") == (2 if moment == "stamp:before" else 1), "it began no further step"
    assert live in (None, place.there())


def test_a_process_can_stop_itself_and_be_continued(place: Place, tmp_path: Path) -> None:
    """The tests above stand on this."""
    script = tmp_path / "sleeper.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSTOP); print('awake')")
    process = Forked(["sleeper"], place.environ, script=script)
    assert wait_until_stopped(process)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=30)[0] == "awake\n"


def test_two_stores_have_nothing_to_do_with_each_other(
    place: Place, tmp_path_factory: pytest.TempPathFactory, fresh_database: Path, request: Callable[..., Any]
) -> None:
    other = Place(tmp_path_factory.mktemp("other"), fresh_database)
    for one in (place, other):
        one.write("a.yaml", entry("one"))
    process = place.start("apply", str(place.specs), "--yes", env={"ENTRY_STOP": "write:before"})
    assert wait_until_stopped(process)
    other.apply()
    kill(process)
    assert other.there() == {"one": {"text": "hello"}}
    assert place.there() == {}
