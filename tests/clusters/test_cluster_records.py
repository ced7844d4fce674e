"""The table `clusters`: what a record holds, when it is written, when it goes, and who reads it."""

from __future__ import annotations

import shutil

from tests.clusters.kindler import COLUMNS
from tests.clusters.sandbox_lab import DELETION, SandboxLab, cluster
from tests.daemon.lab import until

PORTS = {"nodePort": 30080, "pfPort": 19001, "httpPort": 18090, "httpsPort": 18443}
COUNT_INSERTS = """
    CREATE TABLE seen (what TEXT, name TEXT);
    CREATE TRIGGER seen_insert AFTER INSERT ON clusters BEGIN INSERT INTO seen VALUES ('insert', NEW.name); END;
    CREATE TRIGGER seen_delete AFTER DELETE ON clusters BEGIN INSERT INTO seen VALUES ('delete', OLD.name); END;
"""


def names(lab: SandboxLab) -> list[str]:
    """The recorded clusters."""
    return [row["name"] for row in lab.rows("SELECT name FROM clusters ORDER BY name")]


def test_row_0_07_database_functions(lab: SandboxLab) -> None:
    """Insert, look up, change, list and delete, each by the command that does it."""
    lab.write("dev.yaml", cluster("dev", ports=PORTS, description="for developers"))
    lab.apply()
    columns = {row["name"] for row in lab.rows("PRAGMA table_info(clusters)")}
    assert columns >= COLUMNS
    before = lab.row("dev")
    assert before is not None
    kept = {"node_port": 30080, "pf_port": 19001, "http_port": 18090, "https_port": 18443, "provider": "sandbox"}
    assert before.items() >= kept.items()
    assert (before["desired_state"], before["actual_state"], before["status"]) == ("present", "running", "running")
    assert (before["server_ip"], before["subnet"]) == ("127.0.0.1", None)

    lab.write("dev.yaml", cluster("dev", ports={**PORTS, "httpPort": 18091}, description="for developers"))
    lab.apply()
    after = lab.row("dev")
    assert after is not None
    assert after["http_port"] == 18091
    assert after["updated_at"] > before["updated_at"]
    moved = {"http_port", "made_ports", "updated_at", "last_reconciled_at"}
    assert {name for name in before if before[name] != after[name]} == moved

    lab.write("dev.yaml", cluster("dev", {"state": "absent"}))
    lab.apply()
    assert names(lab) == []


def test_row_0_07_database_functions_in_parallel(lab: SandboxLab) -> None:
    """Six processes at once: four names are asked for once, and one name twice."""
    lab.ok("get")
    wanted = ["a", "b", "c", "d", "same", "same"]
    commands = [lab.start("create", "cluster", name) for name in wanted]
    codes = [command.wait(90) for command in commands]
    assert codes[:4] == [0, 0, 0, 0], [command.out() + command.err() for command in commands]
    assert names(lab) == ["a", "b", "c", "d", "same"]
    assert sorted(lab.made()) == names(lab)
    won, lost = sorted(zip(codes[4:], commands[4:], strict=True), key=lambda ended: ended[0])
    assert (won[0], lost[0]) == (0, 7), lost[1].err()
    assert "Cluster/same exists already" in lost[1].err()


def test_row_0_10_upsert_keeps_states(lab: SandboxLab) -> None:
    lab.write("dev.yaml", cluster("dev", ports={"httpPort": 18090}))
    lab.apply()
    lab.write_sql("UPDATE clusters SET created_at = created_at - 1000, updated_at = updated_at - 1000, id = id + 41")
    before = lab.row("dev")
    lab.write("dev.yaml", cluster("dev", ports={"httpPort": 18099}, environment="dev"))
    lab.apply()
    after = lab.row("dev")
    assert before is not None
    assert after is not None
    assert (after["http_port"], after["environment"]) == (18099, "dev")
    for column in ("id", "created_at", "desired_state", "actual_state", "cluster_uid"):
        assert after[column] == before[column], column
    assert after["updated_at"] >= before["updated_at"] + 1000


def test_row_0_24_no_double_db_write(lab: SandboxLab) -> None:
    """One record is inserted a creation, whether a command or the daemon makes it; changing it inserts none."""
    lab.ok("get")
    lab.write_sql(COUNT_INSERTS)
    lab.write("a.yaml", cluster("one"))
    lab.apply()
    lab.ok("create", "cluster", "two")
    lab.write("a.yaml", cluster("one", description="changed"))
    lab.write("b.yaml", cluster("three"))
    lab.daemon()
    lab.await_ready("Cluster/one", "Cluster/two", "Cluster/three")
    seen = lab.rows("SELECT what, name FROM seen ORDER BY name")
    assert seen == [{"what": "insert", "name": name} for name in ("one", "three", "two")]


def test_row_0_28_delete_removes_the_row_last_in_the_daemon(lab: SandboxLab) -> None:
    """The sandbox's own database refuses to forget a cluster, until it no longer does."""
    lab.write("dev.yaml", cluster("dev"))
    lab.daemon()
    lab.await_ready("Cluster/dev")
    sandbox = lab.home / "sandbox" / "sandbox.db"
    lab.write_sql_to(
        sandbox,
        "CREATE TRIGGER refuse BEFORE DELETE ON clusters BEGIN SELECT RAISE(ABORT, 'device or resource busy'); END",
    )
    lab.write("dev.yaml", cluster("dev", {"state": "absent"}))
    until(lambda: ("delete", "failed") in lab.steps("Cluster/dev"), lambda: lab.steps("Cluster/dev"))
    until(lambda: lab.state("dev") == "failed", lambda: lab.row("dev"))
    row = lab.row("dev")
    assert row is not None, "a cluster that could not be deleted keeps its record"
    assert "device or resource busy" in row["reconcile_error"]
    assert row["desired_state"] == "absent"
    assert "dev" in lab.made()
    lab.write_sql_to(sandbox, "DROP TRIGGER refuse")
    until(lambda: lab.row("dev") is None, lambda: lab.row("dev"))
    assert lab.made() == {}
    steps = lab.steps("Cluster/dev")
    assert [name for name, _ in steps[-4:]] == list(DELETION)
    assert [outcome for _, outcome in steps[-4:]] == ["done"] * 4
    assert [outcome for name, outcome in steps if name == "forget"] == ["done"], "the record went once, at the end"


def test_row_0_29_list_from_sqlite(lab: SandboxLab) -> None:
    lab.write("all.yaml", *(cluster(name) for name in ("uat", "dev", "prod")))
    lab.apply()
    shutil.rmtree(lab.specs)
    lab.kill_sandbox()
    listed = lab.ok("get", "Cluster", "-o", "name").split()
    assert listed == [f"Cluster/{name}" for name in names(lab)]
    lab.write_sql(
        "UPDATE resources SET name = 'renamed' WHERE name = 'uat'; UPDATE statuses SET name = 'renamed' "
        "WHERE name = 'uat'"
    )
    assert "Cluster/renamed" in lab.ok("get", "Cluster", "-o", "name").split()
