"""Plan, apply and drift of real clusters, by command and by daemon."""

from __future__ import annotations

import json

from tests.clusters.sandbox_lab import CREATION, DELETION, SandboxLab, cluster
from tests.daemon.lab import stays, until

BLOCKED = 7


def planned_steps(change: dict[str, object]) -> list[str]:
    """Names of the steps that a plan shows for a change."""
    steps = change["steps"]
    assert isinstance(steps, list)
    return [step["name"] for step in steps]


def is_made_and_recorded(lab: SandboxLab, name: str) -> bool:
    """Whether the cluster that is there is the one that the record says runs."""
    row, made = lab.row(name), lab.made().get(name)
    return bool(row and made and row["actual_state"] == "running" and row["cluster_uid"] == made["uid"])


def test_row_9_02_plan_diff_apply(lab: SandboxLab) -> None:
    """A creation, a change and a deletion: what the plan names is what the journal shows, no more and no less."""
    lab.write("a.yaml", cluster("changes"), cluster("goes"))
    lab.apply()
    lab.write("a.yaml", cluster("changes", agents=1), cluster("goes", {"state": "absent"}), cluster("comes"))
    text = lab.ok("plan", lab.specs)
    assert "Plan: 1 to create, 1 to update, 0 to replace, 1 to delete, 0 unchanged" in text
    assert lab.run("diff", lab.specs).code == 1
    before = len(lab.order())
    plan = lab.plan()
    assert {ref: change["action"] for ref, change in plan.items()} == {
        "Cluster/comes": "create",
        "Cluster/changes": "update",
        "Cluster/goes": "delete",
    }
    assert planned_steps(plan["Cluster/comes"]) == list(CREATION)
    assert planned_steps(plan["Cluster/goes"]) == list(DELETION)
    assert len(lab.order()) == before, "planning does nothing"
    lab.apply()
    done = lab.order()[before:]
    for ref, change in plan.items():
        assert [step for of, step in done if of == ref] == planned_steps(change), ref
    assert {of for of, _ in done} == set(plan)
    assert sorted(lab.made()) == ["changes", "comes"]
    assert lab.made()["changes"]["agents"] == 1
    assert lab.plan() == {}
    assert lab.run("diff", lab.specs).code == 0
    assert lab.run("plan", lab.specs, "--detailed-exitcode").code == 0


def test_row_9_03_live_drift(lab: SandboxLab) -> None:
    lab.write("a.yaml", cluster("dev", {"interval": "1s"}), cluster("uat", {"interval": "1s"}))
    lab.apply()
    before = lab.made()
    lab.remove_by_hand("dev")
    plan = lab.plan()
    assert {ref: change["action"] for ref, change in plan.items()} == {"Cluster/dev": "create"}
    daemon = lab.daemon()
    until(lambda: is_made_and_recorded(lab, "dev"), daemon.err)
    lab.remove_by_hand("dev")
    until(lambda: is_made_and_recorded(lab, "dev"), daemon.err)
    after = lab.made()
    assert after["uat"]["uid"] == before["uat"]["uid"]
    assert after["dev"]["uid"] != before["dev"]["uid"]
    assert len(lab.changes("Cluster/uat")) == 1, "the other one was left alone"


def test_row_9_04_spec_file_removed(lab: SandboxLab) -> None:
    lab.write("stays.yaml", cluster("stays"))
    lab.write("goes.yaml", cluster("goes"))
    lab.write("protected.yaml", cluster("protected", {"deletion": "protect"}))
    lab.write("devops.yaml", cluster("devops", role="management"))
    lab.apply()
    for name in ("goes", "protected", "devops"):
        (lab.specs / f"{name}.yaml").unlink()
    reported = lab.apply(code=None)
    assert "goes" in reported
    assert sorted(lab.made()) == ["devops", "goes", "protected", "stays"], "without --prune it is only reported"
    plan = json.loads(lab.run("plan", lab.specs, "--prune", "-o", "json").out)
    pruned = {change["ref"]: change for change in plan["changes"]}
    assert pruned["Cluster/goes"]["action"] == "delete"
    assert "goes.yaml" in pruned["Cluster/goes"]["why"]
    lab.apply("--prune", code=3)
    assert sorted(lab.made()) == ["devops", "protected", "stays"]
    assert lab.row("goes") is None
    assert [lab.state(name) for name in ("devops", "protected")] == ["running"] * 2
    assert lab.run("delete", "Cluster/protected", "--yes").code == BLOCKED
    assert lab.run("delete", "Cluster/devops", "--yes").code == BLOCKED
    assert sorted(lab.made()) == ["devops", "protected", "stays"]


def test_row_9_04_spec_file_removed_under_a_daemon(lab: SandboxLab) -> None:
    lab.write("stays.yaml", cluster("stays"))
    goes = lab.write("goes.yaml", cluster("goes"))
    daemon = lab.daemon()
    lab.await_ready("Cluster/stays", "Cluster/goes")
    goes.unlink()
    until(lambda: lab.status("Cluster/goes").get("vanished_at"), lambda: lab.status("Cluster/goes"))
    assert stays(lambda: "goes" in lab.made(), 1.5)
    assert daemon.terminate() == 0
    lab.configure(prune=True)
    lab.daemon()
    until(lambda: lab.row("goes") is None, lambda: lab.status("Cluster/goes"))
    assert list(lab.made()) == ["stays"]
