"""Creations that fail on the way, because a database refuses: recorded, cleaned up, tried again."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.daemon.lab import Command, processes_of, until

MOTD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "motd"}, "data": {"text": "hello"}}
FULL = "database or disk is full"
REFUSE_TWICE = """
    CREATE TRIGGER refuse BEFORE UPDATE ON clusters
    WHEN OLD.server = '' AND NEW.server != ''
     AND (SELECT count(*) FROM step_logs WHERE text LIKE 'attempt _ failed%') < 2
    BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END
"""
"""The first two times that a cluster's address is written, the database fails; the log of the attempts is the count."""


def refuse_clusters(lab: SandboxLab) -> Path:
    """From now on the sandbox's own database takes no further cluster; the database's path."""
    path = lab.home / "sandbox" / "sandbox.db"
    lab.write_sql_to(path, f"CREATE TRIGGER refuse BEFORE INSERT ON clusters BEGIN SELECT RAISE(ABORT, '{FULL}'); END")
    return path


def test_row_0_22_db_write_retried(lab: SandboxLab) -> None:
    """Three attempts in the log of the step, and a record that says running: in one run, not by trying it all again.

    The fourth in the log is that of the next step, which writes as surely.
    """
    lab.ok("get")
    lab.write_sql(REFUSE_TWICE)
    lab.write("dev.yaml", cluster("dev"))
    lab.apply()
    row = lab.row("dev")
    assert row is not None
    assert (row["actual_state"], row["server_ip"]) == ("running", "127.0.0.1")
    log = lab.ok("logs", "Cluster/dev")
    assert [log.count(f"writing the record, attempt {number} of 3") for number in (1, 2, 3)] == [2, 1, 1]
    assert log.count("disk I/O error") == 2
    assert [change["verdict"] for change in lab.changes("Cluster/dev")] == ["changed"]


def test_row_0_22_three_failures_are_a_failure(lab: SandboxLab) -> None:
    """What is there without its record is recorded as failed, and found again by the next run instead of made again."""
    lab.ok("get")
    lab.write_sql(REFUSE_TWICE.replace("< 2", "< 3"))
    lab.write("dev.yaml", cluster("dev"))
    lab.apply(code=8)
    row = lab.row("dev")
    assert row is not None
    assert row["actual_state"] == "failed"
    assert "disk I/O error" in row["reconcile_error"]
    uid = lab.made()["dev"]["uid"]
    lab.apply()
    assert lab.made()["dev"]["uid"] == uid
    assert lab.state("dev") == "running"


def test_row_0_25_failed_create_leaves_no_running_row(lab: SandboxLab) -> None:
    """The sandbox's own database is full: the record says failed and why, nothing of the cluster is left, others go on.

    The daemon tries it again, later and later; once there is room the cluster is made.
    """
    lab.write("first.yaml", cluster("first"))
    lab.daemon()
    lab.await_ready("Cluster/first")
    sandbox = refuse_clusters(lab)
    lab.write("dev.yaml", cluster("dev"))
    until(lambda: lab.state("dev") == "failed", lambda: lab.row("dev"))
    row = lab.row("dev")
    assert row is not None
    assert FULL in row["reconcile_error"]
    assert row["status"] == "failed"
    assert not (lab.kubeconfigs / "dev.yaml").exists()
    assert list(lab.made()) == ["first"]
    until(lambda: lab.status("Cluster/dev")["failures"] >= 2)
    assert lab.status("Cluster/dev")["ready"] == "False"
    assert FULL in lab.status("Cluster/dev")["message"]
    assert lab.is_ready("Cluster/first")
    lab.write_sql_to(sandbox, "DROP TRIGGER refuse")
    lab.await_ready("Cluster/dev")
    row = lab.row("dev")
    assert row is not None
    assert (row["actual_state"], row["reconcile_error"]) == ("running", None)


def test_row_0_26_verify_after_create(lab: SandboxLab) -> None:
    """Created without an error, but its nodes do not become ready: failed with the reason, never running."""
    lab.write("dev.yaml", cluster("dev", ready={"nodes": 3, "timeout": "500ms"}))
    lab.daemon()
    until(lambda: lab.state("dev") == "failed", lambda: lab.row("dev"))
    row = lab.row("dev")
    assert row is not None
    assert "1 of 3 are ready" in row["reconcile_error"]
    until(lambda: lab.status("Cluster/dev")["ready"] == "False", lambda: lab.status("Cluster/dev"))
    uid = lab.made()["dev"]["uid"]
    lab.write("dev.yaml", cluster("dev", agents=2, ready={"nodes": 3}))
    lab.await_ready("Cluster/dev")
    assert lab.state("dev") == "running"
    assert lab.made()["dev"]["uid"] == uid


def test_a_creation_that_outlives_its_time_fails_and_is_tried_again(lab: SandboxLab) -> None:
    """The sandbox cannot write, so that its answer does not come; `creating` ends with `createTimeout`.

    What the sandbox makes after all, once it can, is deleted again before the next attempt.
    """
    lab.write("first.yaml", cluster("first"))
    lab.daemon()
    lab.await_ready("Cluster/first")
    with closing(sqlite3.connect(lab.home / "sandbox" / "sandbox.db", timeout=30, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        lab.write("dev.yaml", cluster("dev", createTimeout="1s"))
        lab.await_open_step("Cluster/dev", "create")
        assert lab.state("dev") == "creating"
        time.sleep(2.0)
        blocker.execute("ROLLBACK")
    until(lambda: ("create", "failed") in lab.steps("Cluster/dev"), lambda: lab.steps("Cluster/dev"))
    failed = lab.rows("SELECT message FROM steps WHERE name = 'create' AND outcome = 'failed'")
    assert "did not answer PUT /clusters/dev within 1 s" in failed[0]["message"]
    lab.await_ready("Cluster/dev")
    assert lab.state("dev") == "running"
    assert sorted(lab.made()) == ["dev", "first"]
    assert (lab.row("dev") or {})["cluster_uid"] == lab.made()["dev"]["uid"]


def test_the_official_client_works_with_the_kubeconfig_of_a_cluster(lab: SandboxLab) -> None:
    """Typed and dynamic, without a word of ours in between."""
    from kubernetes import client, config, dynamic

    lab.write("dev.yaml", cluster("dev", agents=1, manifests=[MOTD]))
    lab.apply()
    path = lab.ok("cluster", "kubeconfig", "dev").strip()
    with config.new_client_from_config(path) as api:
        core = client.CoreV1Api(api)
        assert len(core.list_node().items) == 2
        assert core.read_namespaced_config_map("motd", "default").data == {"text": "hello"}
        found = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="Namespace")
        row = lab.row("dev")
        assert row is not None
        assert found.get(name="kube-system").metadata.uid == row["cluster_uid"]


def ends_within(command: Command, seconds: float) -> bool:
    """Whether a command ends by itself in that time."""
    with suppress(subprocess.TimeoutExpired):
        command.process.wait(seconds)
    return not command.alive


@pytest.mark.soak
def test_a_creation_killed_again_and_again_at_growing_delays_converges(lab: SandboxLab) -> None:
    """kill -9 after 0.2 s, and each time a twelfth later: from before anything happened until it is over, twice."""
    kills = 0
    for attempt in range(2):
        name = f"dev{attempt}"
        lab.write("dev.yaml", *(cluster(f"dev{number}", manifests=[MOTD]) for number in range(attempt + 1)))
        uid = None
        for seconds in (0.2 * (13 / 12) ** number for number in itertools.count()):
            command = lab.start("apply", lab.specs, "--yes")
            has_ended = ends_within(command, seconds)
            command.kill()
            kills += not has_ended
            there = lab.made().get(name)
            assert uid is None or (there is not None and there["uid"] == uid), "it was made twice"
            uid = there["uid"] if there else uid
            if has_ended:
                break
        lab.apply()
        assert lab.state(name) == "running"
        assert lab.plan() == {}
        assert lab.is_whole()
        assert set(processes_of(lab.root)) == {lab.sandbox_pid()}
    print(f"killed {kills} times, then done")
    assert kills > 4, "it was over before anything could be killed"
