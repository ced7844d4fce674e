"""Child processes: journalled before they run, bounded in time and output, and never left behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.errors import DeadlineError, LeaseLostError, TerminalError
from reconciler.transports.groups import kill_group, start_time_of
from reconciler.transports.process import KEPT_BYTES, ProcessRunner, spawn_detached

PATIENCE = 15.0


def eventually(holds: Callable[[], bool], timeout: float = PATIENCE) -> bool:
    """Whether it comes to hold in time."""
    give_up = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    return start_time_of(pid) is not None


def read_pid(path: Path) -> int:
    assert eventually(lambda: path.exists() and path.read_text().strip().isdigit()), f"{path} never held a pid"
    return int(path.read_text())


def test_returns_exit_code_and_both_streams() -> None:
    completed = ProcessRunner().run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=PATIENCE)
    assert (completed.returncode, completed.stdout, completed.stderr) == (3, "out\n", "err\n")
    assert completed.last_lines() == "err"


def test_a_signal_is_a_negative_exit_code() -> None:
    assert ProcessRunner().run(["sh", "-c", "kill -9 $$"], timeout=PATIENCE).returncode == -signal.SIGKILL


def test_input_reaches_the_program_unchanged() -> None:
    text = "no\ngo\n" + "ä" * 300_000
    assert ProcessRunner().run(["cat"], timeout=PATIENCE, stdin=text).stdout == text


def test_without_input_the_program_reads_nothing() -> None:
    assert ProcessRunner().run(["cat"], timeout=PATIENCE).stdout == ""


def test_input_that_nobody_reads_is_no_error() -> None:
    assert ProcessRunner().run(["true"], timeout=PATIENCE, stdin="x" * 1_000_000).returncode == 0


def test_arguments_are_never_seen_by_a_shell() -> None:
    tricky = ["$(touch /tmp/never)", "a b", "'", '"; exit 1', "*", "-n", "--", "\\"]
    printed = ProcessRunner().run(["printf", "%s\\n", *tricky], timeout=PATIENCE).stdout
    assert printed.splitlines() == tricky


def test_the_environment_is_a_short_list_and_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    printed = ProcessRunner().run(["env"], timeout=PATIENCE, env={"GIVEN": "1"}).stdout
    names = {line.partition("=")[0] for line in printed.splitlines()}
    assert "GIVEN" in names
    assert names <= {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "GIVEN", "PWD", "OLDPWD"}


def test_a_missing_program_is_named() -> None:
    with pytest.raises(TerminalError, match="no-such-program is not installed") as caught:
        ProcessRunner().run(["no-such-program"], timeout=PATIENCE)
    assert caught.value.reason == "MissingTool"


@pytest.mark.parametrize("argv", [[], ["echo", "a\0b"], ["echo", "x" * 3_000_000]])
def test_a_command_that_cannot_be_started_is_a_terminal_error(argv: list[str]) -> None:
    with pytest.raises(TerminalError):
        ProcessRunner().run(argv, timeout=PATIENCE)


def test_the_group_is_known_before_the_program_runs(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str, bool]] = []
    ran = tmp_path / "ran"

    def note(pgid: int, start_time: int, command: str) -> None:
        time.sleep(0.3)
        seen.append((pgid, start_time, command, ran.exists()))
        assert start_time_of(pgid) == start_time

    completed = ProcessRunner(on_start=note).run(["sh", "-c", f"echo $$ > {ran}"], timeout=PATIENCE)
    [(pgid, _, command, had_run)] = seen
    assert completed.returncode == 0
    assert not had_run
    assert int(ran.read_text()) == pgid, "the program is the process that was journalled"
    assert command == f"sh -c 'echo $$ > {ran}'"


def test_a_program_whose_start_could_not_be_journalled_never_runs(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    def refuse(*_: object) -> None:
        raise LeaseLostError("LeaseLost", "somebody else has it")

    with pytest.raises(LeaseLostError):
        ProcessRunner(on_start=refuse).run(["touch", str(ran)], timeout=PATIENCE)
    time.sleep(0.2)
    assert not ran.exists()


def test_the_deadline_ends_grandchildren_too(tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {pids}; echo working; echo stuck >&2; wait"
    with pytest.raises(DeadlineError, match=r"(?s)did not end within 1 s.*stuck") as caught:
        ProcessRunner().run(["sh", "-c", script], timeout=1)
    assert "working" in caught.value.message
    assert eventually(lambda: not is_running(read_pid(pids)))


def test_what_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    script = f"trap '' TERM; echo $$ > {pids}; while :; do sleep 0.1; done"
    started = time.monotonic()
    with pytest.raises(DeadlineError):
        ProcessRunner().run(["sh", "-c", script], timeout=0.5)
    assert time.monotonic() - started < PATIENCE
    assert not is_running(read_pid(pids))


def test_what_a_command_leaves_running_ends_with_it(tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    completed = ProcessRunner().run(["sh", "-c", f"sleep 300 & echo $! > {pids}; echo done"], timeout=PATIENCE)
    assert completed.stdout == "done\n"
    assert completed.duration < PATIENCE / 2, "its open pipes do not hold the result up"
    assert eventually(lambda: not is_running(read_pid(pids)))


def test_a_lost_lease_ends_the_group_at_once(tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    lost = threading.Event()
    threading.Timer(0.5, lost.set).start()
    runner = ProcessRunner(cancelled=lambda: LeaseLostError("LeaseLost", "taken over") if lost.is_set() else None)
    started = time.monotonic()
    with pytest.raises(LeaseLostError):
        runner.run(["sh", "-c", f"trap '' TERM; sleep 300 & echo $! > {pids}; wait"], timeout=120)
    assert time.monotonic() - started < PATIENCE
    assert eventually(lambda: not is_running(read_pid(pids)))


def test_long_output_keeps_both_ends() -> None:
    script = "echo first; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo last"
    completed = ProcessRunner().run(["sh", "-c", script], timeout=60)
    assert len(completed.stdout) < KEPT_BYTES + 100
    assert completed.stdout.startswith("first\nxxx")
    assert completed.stdout.endswith("xxx\nlast\n")
    assert "… 4,000,012 bytes left out …" in completed.stdout


def test_endless_output_is_bounded_everywhere() -> None:
    heard: list[str] = []
    with pytest.raises(DeadlineError) as caught:
        ProcessRunner(on_output=heard.append).run(["yes"], timeout=1)
    assert sum(map(len, heard)) < KEPT_BYTES + 100
    assert "not logged" in heard[-1]
    assert len(caught.value.message) < 5000


def test_output_arrives_while_the_program_runs() -> None:
    heard: list[tuple[float, str]] = []
    started = time.monotonic()
    runner = ProcessRunner(on_output=lambda text: heard.append((time.monotonic() - started, text)))
    completed = runner.run(["sh", "-c", "echo early; sleep 1.5; echo late"], timeout=PATIENCE)
    assert "".join(text for _, text in heard) == "early\nlate\n"
    assert heard[-1][0] - heard[0][0] > 1.0
    assert completed.duration >= 1.5


def test_bytes_that_are_no_text_do_not_break_anything() -> None:
    heard: list[str] = []
    completed = ProcessRunner(on_output=heard.append).run(["printf", r"\377\303"], timeout=PATIENCE)
    assert completed.stdout == "\ufffd\ufffd"
    assert "".join(heard) == completed.stdout


def test_no_zombie_and_no_descriptor_is_left() -> None:
    def open_descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def children() -> str:
        return Path("/proc/self/task", str(os.getpid()), "children").read_text()

    before, children_before = open_descriptors(), children()
    for _ in range(5):
        ProcessRunner().run(["true"], timeout=PATIENCE)
    assert open_descriptors() == before
    assert children() == children_before, "a zombie is a child until somebody waits for it"


_PARENT = """
import pathlib, sys, time
from reconciler.transports.process import ProcessRunner
folder = pathlib.Path(sys.argv[1])
def note(pgid, start_time, command):
    (folder / "group.tmp").write_text(f"{pgid} {start_time}")
    (folder / "group.tmp").rename(folder / "group")
    if sys.argv[2] == "gate":
        time.sleep(600)
script = f"touch {folder}/ran; sleep 600 & echo $! > {folder}/grandchild; wait"
ProcessRunner(on_start=note).run(["sh", "-c", script], timeout=600)
"""


def start_parent(folder: Path, stop_at: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(_PARENT), str(folder), stop_at])


def killed(parent: subprocess.Popen[bytes]) -> None:
    parent.kill()
    parent.wait()


def test_killed_at_the_gate_the_program_never_runs(tmp_path: Path) -> None:
    parent = start_parent(tmp_path, "gate")
    assert eventually(lambda: (tmp_path / "group").exists())
    pgid, start_time = map(int, (tmp_path / "group").read_text().split())
    assert start_time_of(pgid) == start_time
    killed(parent)
    assert eventually(lambda: not is_running(pgid))
    assert not (tmp_path / "ran").exists()
    assert not kill_group(pgid, start_time)


def test_killed_later_the_program_ends_and_the_successor_ends_its_children(tmp_path: Path) -> None:
    parent = start_parent(tmp_path, "later")
    grandchild = read_pid(tmp_path / "grandchild")
    pgid, start_time = map(int, (tmp_path / "group").read_text().split())
    killed(parent)
    assert eventually(lambda: not is_running(pgid)), "the kernel ends the leader with us"
    assert is_running(grandchild), "which leaves what it started: that is what the journal is for"
    assert kill_group(pgid, start_time)
    assert not is_running(grandchild)


def test_a_number_that_belongs_to_somebody_else_is_left_alone() -> None:
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        start_time = start_time_of(other.pid)
        assert start_time is not None
        assert not kill_group(other.pid, start_time - 1)
        assert is_running(other.pid)
        assert kill_group(other.pid, start_time)
        assert not is_running(other.pid)
    finally:
        other.kill()
        other.wait()


def test_a_group_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 0.1; done"
    stubborn = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    try:
        assert eventually(ready.exists)
        start_time = start_time_of(stubborn.pid)
        assert start_time is not None
        assert kill_group(stubborn.pid, start_time, grace=0.3)
        assert stubborn.wait() == -signal.SIGKILL
    finally:
        stubborn.kill()
        stubborn.wait()


def test_start_times_are_read_whatever_a_process_calls_itself(tmp_path: Path) -> None:
    odd = tmp_path / ") R 1 1 1"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(odd), "600"])
    try:
        first = start_time_of(process.pid)
        assert first is not None
        assert first > 1000 or first == start_time_of(process.pid)
        assert abs(first - (start_time_of(os.getpid()) or 0)) < 10_000_000
    finally:
        process.kill()
        process.wait()


def test_a_detached_program_outlives_us_and_logs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    starter = f"""
        import pathlib
        from reconciler.transports.process import spawn_detached
        script = "echo hello; echo oops >&2; cat; exec sleep 600"
        print(spawn_detached(["sh", "-c", script], pathlib.Path({str(log)!r})))
    """
    pid = int(subprocess.check_output([sys.executable, "-c", textwrap.dedent(starter)]))
    try:
        assert eventually(lambda: log.read_text() == "hello\noops\n")
        assert log.stat().st_mode & 0o777 == 0o600
        assert is_running(pid)
        assert os.getsid(pid) == pid
    finally:
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not is_running(pid))


def test_detaching_a_missing_program_names_it(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="no-such-program"):
        spawn_detached(["no-such-program"], tmp_path / "log")


def test_private_output_is_returned_and_goes_nowhere_else() -> None:
    heard: list[str] = []
    runner = ProcessRunner(on_output=heard.append)
    done = runner.run(["sh", "-c", "echo s3cret; echo s3cret >&2"], timeout=10, private=True)
    assert (done.stdout, done.stderr) == ("s3cret\n", "s3cret\n")
    with pytest.raises(DeadlineError) as late:
        runner.run(["sh", "-c", "echo s3cret; sleep 60"], timeout=0.5, private=True)
    assert "s3cret" not in late.value.message
    assert heard == []
    runner.run(["echo", "plain"], timeout=10)
    assert heard == ["plain\n"]


def test_what_a_command_said_is_read_however_late_its_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of a busy machine may sleep from before the command speaks until the time to read it is over."""

    looks = itertools.count()
    clock = itertools.count(0.0, 10.0)

    def ended_meanwhile(child: Any) -> bool:
        """The first look lets it begin; the thread sleeps through all that comes after."""
        how = os.WEXITED | os.WNOWAIT | (os.WNOHANG if next(looks) == 0 else 0)
        return os.waitid(os.P_PID, child._process.pid, how) is not None

    monkeypatch.setattr("reconciler.transports.process._Child._has_ended", ended_meanwhile)
    monkeypatch.setattr("reconciler.transports.process.time", SimpleNamespace(monotonic=lambda: next(clock)))
    done = ProcessRunner().run(["sh", "-c", "printf out; printf err >&2"], timeout=1_000_000)
    assert (done.stdout, done.stderr) == ("out", "err")
