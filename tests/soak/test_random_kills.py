"""kill -9 at random moments, many times over: nothing is lost, nothing is left, and everything converges in the end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.daemon.lab import Command, processes_of, until
from tests.soak.garden import Garden, amount

pytestmark = pytest.mark.soak
SIZE = 10


def killed_within(command: Command, seconds: float, ready: Callable[[], bool] = lambda: True) -> bool:
    """kill -9 a command so many seconds after `ready` is true. False when it ended before."""
    while command.alive and not ready():
        time.sleep(0.002)
    until_then = time.monotonic() + seconds
    while command.alive and time.monotonic() < until_then:
        time.sleep(0.002)
    killed = command.alive
    command.kill()
    return killed


def test_apply_killed_a_hundred_times(garden: Garden, chance: random.Random) -> None:
    """Twenty resources, some of them edited before each `apply`, which mostly dies while it changes things."""
    garden.plant(SIZE)
    started = time.monotonic()
    garden.converge()
    kills = 0
    while kills < amount("KILLS", 100):
        garden.edit(chance, most=8)
        runs = garden.rows("SELECT count(*) AS n FROM runs")
        command = garden.start("apply", garden.specs, "--yes")
        if chance.random() < 0.2:
            kills += killed_within(command, chance.uniform(0.0, 1.0))
        else:
            kills += killed_within(command, chance.uniform(0.0, 0.6), partial(garden.began_since, runs))
        assert "Traceback" not in command.err()
        garden.assert_whole()
    garden.converge()
    garden.assert_true()
    print(f"apply: {kills} kills in {time.monotonic() - started:.0f} s; {garden.journal_figures()}")


def test_daemon_killed_fifty_times(garden: Garden, chance: random.Random) -> None:
    """A daemon is killed and started again while somebody keeps editing."""
    garden.plant(SIZE)
    started = time.monotonic()
    rounds = amount("KILLS", 100) // 2
    for _ in range(rounds):
        daemon = garden.start("daemon", garden.specs)
        for _ in range(chance.randint(1, 6)):
            time.sleep(chance.uniform(0.1, 0.8))
            garden.edit(chance)
        time.sleep(chance.uniform(0.0, 0.6))
        assert daemon.alive, daemon.err()
        daemon.kill()
        assert "Traceback" not in daemon.err()
        garden.assert_whole()
    daemon = garden.daemon()
    garden.await_ready(*garden.wanted, within=120)
    until(garden.as_wanted, garden.difference)
    assert daemon.terminate() == 0
    garden.converge()
    garden.assert_true()
    print(f"daemon: {rounds} kills in {time.monotonic() - started:.0f} s; {garden.journal_figures()}")


def test_clusters_survive_kills_of_the_program_and_of_the_sandbox(clusters: SandboxLab, chance: random.Random) -> None:
    """Three clusters, made and upgraded by commands that die, on a sandbox that dies now and then as well."""
    names = ["one", "two", "three"]
    started = time.monotonic()
    rounds = amount("KILLS", 100) // 4
    kills = 0
    for number in range(rounds):
        agents = number % 3
        clusters.write("all.yaml", *(cluster(name, agents=agents, description=f"round {number}") for name in names))
        command = clusters.start("apply", clusters.specs, "--yes")
        kills += killed_within(command, chance.uniform(0.2, 3.0))
        assert clusters.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        if number % 5 == 4 and clusters.sandbox_pid() is not None:
            with suppress(ProcessLookupError):  # nobody has come so far as to start it again
                clusters.kill_sandbox()
    records = partial(clusters.rows, "SELECT * FROM clusters")
    until(lambda: clusters.run("apply", clusters.specs, "--yes").code == 0, records, within=120)
    assert clusters.plan() == {}
    made = clusters.made()
    assert sorted(made) == sorted(names)
    for name in names:
        row = clusters.row(name)
        assert row is not None
        assert (row["actual_state"], row["cluster_uid"]) == ("running", made[name]["uid"])
        creations = [step for step in clusters.steps(f"Cluster/{name}") if step == ("create", "done")]
        assert len(creations) <= 1, "it was made twice"
    assert clusters.is_whole()
    assert clusters.rows("SELECT * FROM leases WHERE owner != ''") == []
    until(lambda: set(processes_of(clusters.root)) == {clusters.sandbox_pid()}, lambda: processes_of(clusters.root))
    print(f"clusters: {kills} kills of apply, {rounds // 5} of the sandbox in {time.monotonic() - started:.0f} s")


def test_twenty_clusters_come_and_go_under_kills(clusters: SandboxLab, chance: random.Random) -> None:
    """Each round wants some of twenty clusters and not the others, and whoever sees to it is killed."""
    names = [f"c{number:02}" for number in range(20)]
    started, kills, rounds = time.monotonic(), 0, 0
    wanted: set[str] = set()
    while kills < amount("CLUSTER_KILLS", 300):
        rounds += 1
        wanted ^= set(chance.sample(names, chance.randint(1, 8)))
        states = {name: "present" if name in wanted else "absent" for name in names}
        clusters.write("all.yaml", *(cluster(name, {"state": state}) for name, state in states.items()))
        command = clusters.start("apply", clusters.specs, "--yes", "--forks", "8", "--max-deletes", "20")
        kills += killed_within(command, chance.uniform(0.2, 4.0))
        assert clusters.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    converge = partial(clusters.run, "apply", clusters.specs, "--yes", "--forks", "8", "--max-deletes", "20")
    until(lambda: converge().code == 0, partial(clusters.rows, "SELECT * FROM clusters"), within=180)
    assert clusters.plan() == {}
    made = clusters.made()
    assert set(made) == wanted
    rows = {row["name"]: row for row in clusters.rows("SELECT * FROM clusters")}
    assert set(rows) == wanted, "a record without its cluster, or a cluster without its record"
    for name, row in rows.items():
        assert (row["actual_state"], row["cluster_uid"]) == ("running", made[name]["uid"])
    ports = [row["server"] for row in rows.values()]
    assert len(set(ports)) == len(ports)
    assert clusters.is_whole()
    assert clusters.rows("SELECT * FROM leases WHERE owner != ''") == []
    until(lambda: set(processes_of(clusters.root)) == {clusters.sandbox_pid()}, lambda: processes_of(clusters.root))
    print(f"clusters: {kills} kills in {rounds} rounds, {time.monotonic() - started:.0f} s")
