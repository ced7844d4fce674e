"""Cases that the predecessor's own tests had, on its own table of clusters, with recorded docker, kind and k3d."""

from __future__ import annotations

import json

from tests.clusters.docker_lab import DockerLab, docker_cluster
from tests.clusters.kindler import COLUMNS, CSV, NAMES
from tests.clusters.sandbox_lab import cluster

SUBNET = "10.101.0.0/16"


def test_case_09_what_a_record_holds(docker: DockerLab) -> None:
    """Its columns are still there; a cluster of k3d keeps subnet and address, one of kind has no subnet."""
    docker.write("both.yaml", docker_cluster("dev", "k3d", subnet=SUBNET), docker_cluster("dev-a", "kind"))
    docker.apply()
    assert {row["name"] for row in docker.rows("PRAGMA table_info(clusters)")} >= set(COLUMNS)
    k3d, kind = docker.row("dev"), docker.row("dev-a")
    assert k3d is not None
    assert kind is not None
    assert (k3d["subnet"], k3d["server_ip"]) == (SUBNET, docker.address("k3d-dev-server-0"))
    assert (kind["subnet"], kind["server_ip"]) == (None, docker.address("dev-a-control-plane"))
    docker.write("both.yaml", docker_cluster("dev", "k3d", {"state": "absent"}), docker_cluster("dev-a", "kind"))
    docker.apply()
    assert [row["name"] for row in docker.rows("SELECT name FROM clusters")] == ["dev-a"]


def test_case_18_k05_a_look_says_by_its_code_what_it_found_and_changes_nothing(docker: DockerLab) -> None:
    """Drift, a database that cannot be used, and what the last runs did: each told to programs."""
    docker.write("dev.yaml", docker_cluster("dev", "k3d"))
    docker.apply()
    docker.by_hand("k3d", "cluster", "delete", "dev")
    docker.forget_log()
    before = docker.row("dev")
    assert docker.run("plan", docker.specs, "--detailed-exitcode").code == 2
    assert (docker.changing(), docker.row("dev"), docker.made_names()) == ([], before, [])
    (last,) = json.loads(docker.ok("history", "Cluster/dev", "-o", "json"))
    kept = {"startedAt", "duration", "trigger", "actor", "action", "verdict", "message", "steps"}
    assert kept <= last.keys()
    database = docker.home / "reconciler.db"
    for beside in docker.home.glob("reconciler.db-*"):
        beside.unlink()
    database.write_bytes(b"this is no database" * 100)
    assert docker.run("plan", docker.specs).code == 8
    assert database.read_bytes() == b"this is no database" * 100
    assert docker.changing() == []


def test_case_25_the_whole_table_and_then_nothing_to_do(docker: DockerLab) -> None:
    """From nothing to its seven clusters of k3d and kind by its own table; the second time there is nothing to do."""
    table = docker.root / "environments.csv"
    table.write_text(CSV)
    docker.ok("import", "csv", table)
    docker.apply()
    assert docker.made_names() == NAMES
    docker.forget_log()
    for _ in range(2):
        docker.apply()
        assert (docker.changing(), docker.plan()) == ([], {})


def test_beside_a_sandbox_everything_else_is_as_it_was(docker: DockerLab) -> None:
    """Clusters of three providers in one home, each seen by its own provider only."""
    docker.write("all.yaml", docker_cluster("one", "k3d"), docker_cluster("two", "kind"), cluster("three"))
    docker.apply()
    assert docker.made_names() == ["one", "two"]
    assert list(docker.made()) == ["three"]
    assert docker.plan() == {}
