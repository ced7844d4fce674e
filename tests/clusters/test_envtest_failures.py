"""Control planes whose programs die, hang, hold on to life, or find their port taken."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import closing

import pytest

from tests.clusters.envtest_lab import EnvtestLab, envtest
from tests.clusters.envtest_programs import PROGRAMS
from tests.daemon.lab import processes_of

WORDS = "panic: recovering backend from snapshot error"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_dies_at_its_start_gives_its_last_words(plane: EnvtestLab, program: str) -> None:
    plane.behave(**{program: {"dies": WORDS}})
    plane.write("dev.yaml", envtest())
    said = plane.apply(code=1)
    assert f"{program} ended before it was ready; it said last:" in said
    assert f"{program} starts\n" in said
    assert WORDS in said
    row = plane.row("dev")
    assert row is not None
    assert row["actual_state"] == "failed"
    assert WORDS in row["reconcile_error"]
    assert plane.left() == [], "what the failed creation made is removed"
    plane.behave()
    plane.apply()
    assert plane.plan() == {}


@pytest.mark.parametrize(
    "program", [pytest.param(one, marks=[pytest.mark.soak] if one != "kube-apiserver" else []) for one in PROGRAMS]
)
def test_a_program_that_never_gets_ready_costs_its_deadline(plane: EnvtestLab, program: str) -> None:
    plane.behave(**{program: {"never_ready": True}})
    plane.write("dev.yaml", envtest(createTimeout="20s"))
    said = plane.apply(code=1)
    assert f"{program} did not become ready in time: port " in said
    assert "with 50" in said, "what it answered"
    assert f"{program} starts" in said
    assert plane.left() == []


def test_a_slow_program_is_waited_for(plane: EnvtestLab) -> None:
    plane.behave(etcd={"slow": 1.5}, kube_apiserver={"slow": 1.5})
    plane.write("dev.yaml", envtest())
    plane.apply()
    assert len(plane.starts()) == 3
    assert plane.plan() == {}


def test_programs_that_ignore_term_are_killed(plane: EnvtestLab) -> None:
    plane.configure(kinds={"Cluster": {"envtest": {"stopTimeout": "300ms"}}})
    plane.behave(**{program: {"ignores_term": True} for program in PROGRAMS})
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
    plane.apply()
    assert plane.left() == []


def test_programs_that_end_when_asked_are_not_killed(plane: EnvtestLab) -> None:
    plane.configure(kinds={"Cluster": {"envtest": {"stopTimeout": "1h"}}})
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
    plane.apply()
    assert plane.left() == []


def test_a_stopped_process_is_ended_too(plane: EnvtestLab) -> None:
    plane.configure(kinds={"Cluster": {"envtest": {"stopTimeout": "300ms"}}})
    plane.write("dev.yaml", envtest())
    plane.apply()
    os.kill(plane.components()["etcd"], signal.SIGSTOP)
    plane.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
    plane.apply()
    assert plane.left() == []


@pytest.mark.parametrize("program", ["etcd", "kube-apiserver"])
def test_a_port_that_is_taken_before_the_program_has_it_is_exchanged(plane: EnvtestLab, program: str) -> None:
    plane.behave(**{program: {"port_taken": True}})
    plane.write("dev.yaml", envtest())
    plane.apply()
    assert "was taken meanwhile by another program" in plane.ok("logs", "Cluster/dev")
    assert [argv[0] for argv in plane.starts()].count(program) == 2
    assert plane.plan() == {}


def test_a_recorded_port_that_somebody_has_is_named_and_nothing_is_lost(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.put_by_hand()
    plane.kill_component("kube-apiserver")
    before = plane.recorded()
    port = before["ports"]["kube-apiserver"]
    with closing(socket.create_server(("127.0.0.1", port))):
        said = plane.apply(code=1)
        assert f"port {port}, recorded for kube-apiserver of dev, is held by another program" in said
    assert plane.recorded() == before
    plane.apply()
    assert plane.has_by_hand()
    assert plane.plan() == {}


def test_a_failed_start_keeps_the_data(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    plane.put_by_hand()
    plane.kill_all()
    plane.behave(kube_apiserver={"dies": WORDS})
    assert WORDS in plane.apply(code=1)
    plane.behave()
    plane.apply()
    assert plane.has_by_hand()
    assert plane.plan() == {}


def test_a_hung_control_plane_is_unreachable_and_not_stopped(plane: EnvtestLab) -> None:
    plane.configure(observeTimeout="1s")
    plane.write("dev.yaml", envtest())
    plane.apply()
    running = plane.components()
    os.kill(running["kube-apiserver"], signal.SIGSTOP)
    assert plane.run("apply", plane.specs, "--yes").code == 6
    os.kill(running["kube-apiserver"], signal.SIGCONT)
    assert plane.components() == running
    assert plane.plan() == {}


def test_a_damaged_record_is_not_an_absent_cluster(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    path = plane.plane() / "cluster.json"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    running = plane.components()
    assert "cannot be read" in plane.run("plan", plane.specs).text
    plane.run("apply", plane.specs, "--yes")
    assert plane.components() == running
    path.write_text(text)
    assert plane.plan() == {}


def test_components_whose_notes_were_removed_are_ended_with_the_cluster(plane: EnvtestLab) -> None:
    """Nobody knows their process numbers any more, but they hold their locks."""
    plane.write("dev.yaml", envtest())
    plane.apply()
    for note in (plane.plane() / "run").glob("*.json"):
        note.unlink()
    plane.write("dev.yaml", envtest(lifecycle={"state": "absent"}))
    plane.apply()
    assert plane.left() == []


def test_a_log_keeper_that_is_killed_ends_its_component_and_it_is_started_again(plane: EnvtestLab) -> None:
    plane.write("dev.yaml", envtest())
    plane.apply()
    etcd = plane.components()["etcd"]
    keepers = [
        pid for pid, words in processes_of(plane.plane()).items() if "launch.py" in words and os.getpgid(pid) == etcd
    ]
    assert len(keepers) == 1
    os.kill(keepers[0], signal.SIGKILL)
    port = plane.recorded()["ports"]["etcd"]
    give_up = time.monotonic() + 20
    while "etcd" in plane.components() and time.monotonic() < give_up:  # a refused handshake makes it say something
        with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
            connection.sendall(b"no TLS at all\r\n\r\n")
        time.sleep(0.1)
    assert "etcd" not in plane.components()
    plane.apply()
    assert plane.plan() == {}
