"""Many commands at once: one creation a name, different names side by side, create and delete one after the other."""

from __future__ import annotations

import signal

from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.daemon.lab import Lab, entry, until

HELD, BLOCKED = 5, 7


def creations(lab: Lab, name: str) -> list[dict[str, object]]:
    """The `create` steps that made a cluster, as the journal has them."""
    sql = (
        "SELECT s.outputs FROM steps s JOIN changes c ON c.id = s.change_id "
        "WHERE c.kind = 'Cluster' AND c.name = ? AND s.name = 'create' AND s.outcome = 'done'"
    )
    return [row for row in lab.rows(sql, name) if '"existed": false' in row["outputs"]]


def spans(lab: Lab, kind: str) -> list[tuple[str, str, float, float]]:
    """What changes were made and when: name, action, start and end, in the order of their starts."""
    found = lab.rows("SELECT * FROM changes WHERE kind = ? ORDER BY started_at", kind)
    return [(row["name"], row["action"], row["started_at"], row["ended_at"]) for row in found]


def most_at_once(lab: Lab, kind: str) -> int:
    """How many changes overlapped at most."""
    marks = sorted(mark for _, _, start, end in spans(lab, kind) for mark in ((start, 1), (end, -1)))
    running = most = 0
    for _, step in marks:
        running += step
        most = max(most, running)
    return most


def is_free(lab: Lab, ref: str) -> bool:
    """Whether nobody holds the lease on a resource."""
    return not lab.rows("SELECT * FROM leases WHERE name = ? AND owner != ''", ref)


def test_row_0_15_one_create_per_name(lab: SandboxLab) -> None:
    """Ten processes apply the same specs at once: one of them makes the cluster, the others find it made.

    The fake `k3d` of the row is the sandbox: `create` in its log is the journalled step that found nothing there. Who
    waits longer for the lease than its time says that somebody holds it.
    """
    lab.write("x.yaml", cluster("x"))
    lab.ok("get")
    commands = [lab.start("apply", lab.specs, "--yes") for _ in range(10)]
    codes = [command.wait(120) for command in commands]
    assert 0 in codes
    assert set(codes) <= {0, HELD}, [command.err() for command in commands]
    assert len(creations(lab, "x")) == 1
    assert list(lab.made()) == ["x"]
    assert lab.made()["x"]["uid"] == (lab.row("x") or {})["cluster_uid"]
    assert is_free(lab, "Cluster/x")
    for command, code in zip(commands, codes, strict=True):
        assert "Traceback" not in command.err()
        if code == HELD:
            assert "is held by" in command.out() + command.err()


def test_row_0_15_the_name_is_free_after_a_failure_and_after_a_kill(lab: SandboxLab) -> None:
    lab.write("x.yaml", cluster("x", ready={"nodes": 3, "timeout": "500ms"}))
    lab.apply(code=1)
    assert is_free(lab, "Cluster/x")
    lab.write("x.yaml", cluster("x", ready={"nodes": 3, "timeout": "1h"}))
    command = lab.start("apply", lab.specs, "--yes")
    lab.await_open_step("Cluster/x", "wait-nodes")
    command.kill()
    assert not is_free(lab, "Cluster/x"), "the dead one's lease is still in the table"
    lab.write("x.yaml", cluster("x"))
    lab.apply()
    assert is_free(lab, "Cluster/x")
    assert lab.state("x") == "running"


def test_row_0_15_a_second_create_of_a_name_is_refused(lab: SandboxLab) -> None:
    lab.ok("get")
    commands = [lab.start("create", "cluster", "x") for _ in range(4)]
    codes = sorted(command.wait(90) for command in commands)
    assert codes == [0, BLOCKED, BLOCKED, BLOCKED], [command.err() for command in commands]
    assert sum("Cluster/x exists already" in command.err() for command in commands) == 3
    assert len(creations(lab, "x")) == 1


def test_row_0_16_different_names_in_parallel(lab: SandboxLab) -> None:
    """Six changes of two seconds each, three at a time: side by side, and never more than `forks`.

    The sleeping `k3d` of the row is the entry kind, whose step takes as long as its document says.
    """
    lab.write("all.yaml", *(entry(f"e{n}", target=f"t{n}", seconds=2) for n in range(6)))
    lab.apply("--forks", "3")
    assert most_at_once(lab, "Entry") == 3
    times = spans(lab, "Entry")
    took = max(end for *_, end in times) - times[0][2]
    assert took < 10, f"{took:.1f} s for 12 s of work by three"


def test_row_0_16_different_clusters_in_parallel(lab: SandboxLab) -> None:
    lab.configure(forks=2)
    lab.write("all.yaml", *(cluster(f"c{n}") for n in range(4)))
    lab.daemon()
    lab.await_ready(*(f"Cluster/c{n}" for n in range(4)))
    assert most_at_once(lab, "Cluster") <= 2
    rows = lab.rows("SELECT name, server, cluster_uid FROM clusters")
    assert len({row["server"] for row in rows}) == len({row["cluster_uid"] for row in rows}) == 4


def test_row_0_17_same_cluster_create_delete_queued(lab: SandboxLab) -> None:
    """A deletion that is asked for during the creation is carried out after it, and nothing of the two is interleaved.

    Here the daemon does both, so that the order is the order in which they were wanted.
    """
    lab.daemon()
    lab.ok("create", "cluster", "x", "--set", "ready.nodes=1", "--no-apply")
    until(lambda: lab.changes("Cluster/x"))
    lab.ok("delete", "Cluster/x", "--yes", "--no-apply")
    until(lambda: lab.row("x") is None and not lab.status("Cluster/x"), lambda: lab.status("Cluster/x"))
    assert lab.made() == {}
    made = spans(lab, "Cluster")
    assert (made[0][1], made[-1][1]) == ("create", "delete")
    assert most_at_once(lab, "Cluster") == 1
    steps = [name for name, _ in lab.steps("Cluster/x")]
    assert "mark" in steps
    assert steps.index("mark") > steps.index("preflight")
    assert not {"create", "manifests", "verify"} & set(steps[steps.index("mark") :])


def test_row_0_17_a_command_that_deletes_waits_for_the_creation(lab: SandboxLab) -> None:
    """Two commands: the deletion waits for the lease; it then sees another cluster than it planned to delete.

    So it either deletes what is there, or says that the plan has moved, and the same command deletes it afterwards.
    """
    lab.ok("get")
    creating = lab.start("create", "cluster", "x", "--set", "agents=1")
    until(lambda: ("reserve", "done") in lab.steps("Cluster/x") or not creating.alive, creating.err)
    deleting = lab.start("delete", "Cluster/x", "--yes")
    codes = creating.wait(90), deleting.wait(90)
    assert codes[1] in (0, 4), deleting.err() + deleting.out()
    assert most_at_once(lab, "Cluster") == 1
    if codes[1] == 4:
        assert "plan again" in deleting.out() + deleting.err()
        lab.ok("delete", "Cluster/x", "--yes")
    assert lab.made() == {}
    assert lab.row("x") is None
    assert spans(lab, "Cluster")[-1][1] == "delete"


def test_a_sleeping_command_that_lost_its_lease_makes_no_second_cluster(lab: SandboxLab) -> None:
    """SIGSTOP in the middle of a creation; another command takes over once the lease has expired."""
    lab.configure(leaseTtl="1s")
    lab.write("x.yaml", cluster("x", ready={"nodes": 2, "timeout": "1h"}))
    first = lab.start("apply", lab.specs, "--yes")
    lab.await_open_step("Cluster/x", "wait-nodes")
    lab.put_to_sleep(first)
    uid = lab.made()["x"]["uid"]
    lab.write("x.yaml", cluster("x"))
    lab.apply()
    row = lab.row("x")
    first.signal(signal.SIGCONT)
    assert first.wait() != 0
    assert lab.row("x") == row, "who slept writes nothing"
    assert lab.made()["x"]["uid"] == uid
    assert len(creations(lab, "x")) == 1
