"""Beyond the list, and attacks 18, 23 and 24: full disks, newer stores, jumping clocks, odd numbers, two at once."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from place import entry, wait_for
from stage import Stage


@pytest.fixture
def small_home(stage: Stage) -> Iterator[Stage]:
    """A home on a file system of 8 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    shutil.rmtree(stage.home)
    stage.home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", stage.home], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield stage
    stage.close()
    subprocess.run(["umount", stage.home], check=True)


def is_as_desired(stage: Stage) -> bool:
    """Whether the entry `one` is."""
    return stage.ready("Entry/one") == "AsDesired"


def fill(path: Path) -> None:
    """Until nothing more fits."""
    with path.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(b"x" * 4096):
            pass


def test_a_full_disk_is_a_clear_error_and_heals(small_home: Stage) -> None:
    stage = small_home
    stage.write("one.yaml", entry("one"))
    stage.apply()
    ballast = stage.home / "ballast"
    fill(ballast)
    stage.write("two.yaml", *(entry(f"n{number}", text="x" * 900) for number in range(20)))
    ran = stage.run("apply", stage.specs, "--yes", code=None)
    assert ran.code == 8, ran
    assert "full" in ran.err
    assert "Traceback" not in ran.err
    ballast.unlink()
    stage.apply()
    assert len(stage.there()) == 21
    assert stage.is_whole()


def test_a_store_of_a_newer_version_is_refused_by_every_command_and_left_alone(stage: Stage) -> None:
    with closing(sqlite3.connect(stage.database_file)) as connection, connection:
        connection.execute("INSERT INTO alembic_version VALUES ('core_9999')")
    before = stage.database_file.read_bytes()
    stage.write("one.yaml", entry("one"))
    for command in (("apply", stage.specs, "--yes"), ("get",), ("daemon", stage.specs)):
        ran = stage.run(*command, code=8)
        assert "newer" in ran.err, ran
    assert stage.database_file.read_bytes() == before
    assert stage.there() == {}


def test_a_lease_of_the_past_and_one_of_the_future_hold_up_nobody_for_ever(stage: Stage) -> None:
    """The clock jumped: leases of a dead process of this boot are free whatever their time says."""
    stage.write("one.yaml", entry("one"))
    stage.apply()
    for expires in (0.0, 4e9):
        with closing(sqlite3.connect(stage.database_file)) as connection, connection:
            values = ("x", "nobody", 2**22 - 1, 1, expires)
            connection.execute(
                "UPDATE leases SET owner = ?, holder = ?, pid = ?, pid_start = ?, expires_at = ?", values
            )
        stage.put({})
        stage.apply()
        assert "one" in stage.there()


def test_every_file_is_for_its_owner_alone_whatever_the_umask(stage: Stage) -> None:
    shutil.rmtree(stage.home)
    stage.write("one.yaml", entry("one"))
    command = 'umask 000; exec "$@"'
    program = [sys.executable, "-m", "reconciler.cli.main", "apply", str(stage.specs), "--yes"]
    done = subprocess.run(["sh", "-c", command, "sh", *program], env=stage.environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(stage.home.stat().st_mode) == 0o700
    stage.run("plan", stage.specs, "--out", stage.root / "plan.json")
    assert stat.S_IMODE((stage.root / "plan.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((stage.home / "digest.key").stat().st_mode) == 0o600


def test_a_settings_file_in_the_current_folder_is_not_read(stage: Stage) -> None:
    folder = stage.root / "cloned"
    folder.mkdir()
    for name in ("config.yaml", "reconciler.yaml", ".reconciler.yaml", "setup.cfg"):
        (folder / name).write_text("plugins: [evil_plugin]\nprune: true\n")
    (folder / "evil_plugin.py").write_text("open('pwned', 'w')\n")
    (folder / "reconciler").mkdir()
    stage.write("one.yaml", entry("one"))
    program = Path(sys.executable).with_name("reconciler")
    done = subprocess.run(
        [program, "apply", stage.specs, "--yes"], env=stage.environ, cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not list(stage.root.rglob("pwned"))


@pytest.mark.parametrize("interval", ["0s", "-1", ".nan", "1.0e+308", "999999999999d"])
def test_an_interval_that_stops_or_spins_a_loop_is_refused(stage: Stage, interval: str) -> None:
    head = "apiVersion: reconciler.dev/v1\nkind: Entry\nmetadata: {name: a}\n"
    (stage.specs / "a.yaml").write_text(f"{head}lifecycle: {{interval: {interval}}}\nspec: {{text: x}}\n")
    ran = stage.run("validate", stage.specs, code=1)
    assert "specs/a.yaml:4:" in ran.err


def test_numbers_of_options_and_settings_are_bounded(stage: Stage) -> None:
    stage.write("one.yaml", entry("one"))
    for options in (("--forks", "0"), ("--forks", "99999999999"), ("--max-deletes", "-1")):
        assert stage.run("apply", stage.specs, "--yes", *options, code=None).code == 64, options
    for name, value in (("FORKS", "0"), ("OBSERVERS", "1000000000"), ("UNSETTLED_INTERVAL", "0s")):
        ran = stage.run("apply", stage.specs, "--yes", code=None, env={f"RECONCILER_{name}": value})
        assert ran.code == 64, (name, ran)
    assert stage.there() == {}


def test_of_two_runs_of_one_plan_file_at_once_exactly_one_happens(stage: Stage) -> None:
    stage.write("all.yaml", entry("one"), entry("two"))
    stage.run("plan", stage.specs, "--out", stage.root / "plan.json")
    running = [stage.start("apply", stage.root / "plan.json") for _ in range(3)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in running]
    codes = sorted(code for _, code in ended)
    assert codes[0] == 0, ended
    assert set(codes[1:]) == {4}, ended
    assert len(stage.rows("SELECT id FROM runs")) == 1
    assert sorted(stage.calls("write")) == ["write one", "write two"]


def test_who_did_it_is_recorded_also_for_what_failed_and_what_was_refused(stage: Stage) -> None:
    stage.write("all.yaml", entry("good"), entry("bad", behave="fail"), entry("held", {"approval": "manual"}))
    stage.apply(code=3)
    changes = {
        row["name"]: row
        for row in stage.rows("SELECT c.*, r.actor, r.trigger FROM changes c JOIN runs r ON r.id = run_id")
    }
    assert changes["good"]["verdict"] == "changed"
    assert changes["bad"]["verdict"] == "failed"
    assert all("@" in row["actor"] and row["trigger"] == "apply" for row in changes.values())
    events = stage.rows("SELECT * FROM events WHERE kind = 'Entry'")
    assert {event["name"] for event in events} == {"good", "bad", "held"}
    assert all(event["actor"] for event in events)
    assert "NeedsApproval" in str([event["message"] for event in events if event["name"] == "held"])


def test_two_homes_do_not_touch_each_others_resources(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Stage(tmp_path_factory.mktemp("other"))
    try:
        for one in (stage, other):
            one.write("one.yaml", entry("one"))
            daemon = one.daemon()
            wait_for(partial(is_as_desired, one))
            assert daemon.alive
        assert all(one.daemons[0].alive for one in (stage, other)), "two daemons, one a home"
    finally:
        other.close()
