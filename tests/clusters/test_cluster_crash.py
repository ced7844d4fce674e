"""kill -9 while clusters are made: whoever comes next converges, with one cluster, the same one if it was there.

The kill comes from outside, when the journal shows that a step began or ended. That is less exact than stopping the
process at each of its transactions, as tests/e2e does with the entry kind, but here a real cluster is at stake.
"""

from __future__ import annotations

import itertools

import pytest

from tests.clusters.sandbox_lab import CREATION, SandboxLab, cluster
from tests.daemon.lab import processes_of, until

MOTD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "motd"}, "data": {"text": "hello"}}
BOUNDARIES = [
    pytest.param(step, moment, id=f"{step}-{moment}", marks=[pytest.mark.soak] if moment == "closed" else [])
    for step, moment in itertools.product(CREATION, ("opened", "closed"))
]
"""The end of a step is the moment before the next begins: the full count is for `make soak`."""


def reached(lab: SandboxLab, step: str, moment: str) -> bool:
    """Whether the journal shows that a step of the newest change began, or ended."""
    outcomes = dict(lab.steps("Cluster/dev"))
    return step in outcomes and (moment == "opened" or outcomes[step] != "open")


def show_converged(lab: SandboxLab, uid: str | None) -> None:
    """Apply until it is done; one cluster, with this uid if it was there before, and nothing left of the killed run."""
    for _ in range(3):
        if lab.run("apply", lab.specs, "--yes").code == 0:
            break
    assert lab.plan() == {}
    made = lab.made()
    assert list(made) == ["dev"]
    row = lab.row("dev")
    assert row is not None
    assert (row["actual_state"], row["reconcile_error"]) == ("running", None)
    assert row["cluster_uid"] == made["dev"]["uid"]
    assert uid in (None, made["dev"]["uid"]), "it was made twice"
    assert lab.is_whole()
    assert lab.rows("SELECT * FROM leases WHERE owner != ''") == []
    # a second sandbox, started because the first did not answer yet, ends once it sees that one is there
    until(lambda: set(processes_of(lab.root)) == {lab.sandbox_pid()}, lambda: processes_of(lab.root))


@pytest.mark.parametrize(("step", "moment"), BOUNDARIES)
def test_creation_killed_at_every_step_boundary(lab: SandboxLab, step: str, moment: str) -> None:
    lab.write("dev.yaml", cluster("dev", manifests=[MOTD]))
    command = lab.start("apply", lab.specs, "--yes")
    killed = lab.kill_when(command, lambda: reached(lab, step, moment))
    assert killed or step in ("record", "verify"), "it ended before it could be killed"
    there = lab.made().get("dev")
    show_converged(lab, there["uid"] if there else None)


@pytest.mark.parametrize("step", ["create", "wait-api", "wait-nodes"])
def test_a_sandbox_killed_during_a_creation_costs_no_cluster(lab: SandboxLab, step: str) -> None:
    lab.write("dev.yaml", cluster("dev", manifests=[MOTD]))
    command = lab.start("apply", lab.specs, "--yes")
    until(lambda: (reached(lab, step, "opened") and lab.sandbox_pid()) or not command.alive, command.err)
    there = lab.made().get("dev")
    lab.kill_sandbox()
    command.wait(90)
    assert "Traceback" not in command.err()
    show_converged(lab, there["uid"] if there else None)


def test_a_cluster_whose_record_was_deleted_is_taken_over(lab: SandboxLab) -> None:
    lab.write("dev.yaml", cluster("dev"))
    lab.apply()
    uid = lab.made()["dev"]["uid"]
    lab.write_sql("DELETE FROM clusters")
    lab.apply()
    assert [change["action"] for change in lab.changes("Cluster/dev")] == ["create", "update"]
    assert lab.steps("Cluster/dev").count(("create", "done")) == 1, "never created twice"
    show_converged(lab, uid)


def test_a_record_left_in_creating_heals(lab: SandboxLab) -> None:
    """Both ways in which it can be left: with its cluster, and without one."""
    lab.write("dev.yaml", cluster("dev"))
    lab.apply()
    uid = lab.made()["dev"]["uid"]
    lab.write_sql("UPDATE clusters SET actual_state = 'creating', status = 'creating'")
    lab.apply()
    show_converged(lab, uid)
    lab.remove_by_hand("dev")
    lab.write_sql("UPDATE clusters SET actual_state = 'creating', status = 'creating'")
    lab.apply()
    assert "was being created when its process ended" in lab.ok("logs", "Cluster/dev")
    show_converged(lab, None)
    assert lab.made()["dev"]["uid"] != uid
