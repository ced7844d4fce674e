"""One truth: rows that were imported, taken over or written by SQL want their clusters; a file is read once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster
from tests.clusters.kindler import COLUMNS, CSV, NAMES, write_database
from tests.daemon.lab import ROOT, Daemon, until

STRACE = shutil.which("strace")


def csv_file(docker: DockerLab, text: str = CSV) -> Path:
    file = docker.root / "environments.csv"
    file.write_text(text)
    return file


def imported(docker: DockerLab, text: str = CSV) -> str:
    return docker.ok("import", "csv", csv_file(docker, text))


def rows(docker: DockerLab) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in docker.rows("SELECT * FROM clusters")}


def clusters_of(daemon: Daemon) -> list[str]:
    code, body = daemon.get("/api/clusters")
    assert code == 200
    return sorted(one["name"] for one in json.loads(body))


def only(name: str) -> str:
    """The table with one row of it."""
    return next(line for line in CSV.splitlines() if line.startswith(f"{name},")) + "\n"


def test_row_0_01_sqlite_is_the_only_source_of_truth(docker: DockerLab) -> None:
    """A port changed in the database, not in the file: the tool is told the one of the database."""
    imported(docker, only("dev"))
    docker.write_sql("UPDATE clusters SET http_port = 23111 WHERE name = 'dev'")
    docker.apply()
    (command,) = docker.commands("k3d", "cluster", "create", "dev")
    assert "--port 23111:80@loadbalancer --port 18443:443@loadbalancer" in command
    assert docker.plan() == {}
    spoken = [*(ROOT / "reconciler").rglob("*.py"), *(ROOT / "web").rglob("*.py"), docker.engine / "log.jsonl"]
    assert [str(path) for path in spoken if "postgres" in path.read_text("utf-8", "replace").lower()] == []


def test_row_0_01_a_column_changes_what_is_wanted_of_a_cluster_that_is_there(docker: DockerLab) -> None:
    docker.ok("get")
    docker.write_sql("INSERT INTO clusters (name, provider, http_port) VALUES ('box', 'sandbox', 23090)")
    docker.apply()
    assert (docker.state("box"), docker.plan()) == ("running", {})
    docker.write_sql("UPDATE clusters SET http_port = 23091, environment = 'uat' WHERE name = 'box'")
    change = docker.plan()["Cluster/box"]
    assert [(one["path"], one["before"], one["after"]) for one in change["diffs"]] == [
        ("spec.ports.httpPort", 23090, 23091)
    ]
    docker.apply()
    assert docker.plan() == {}
    assert (docker.row("box") or {})["environment"] == "uat"
    docker.write_sql("UPDATE clusters SET desired_state = 'stopped' WHERE name = 'box'")
    docker.apply()
    assert docker.state("box") == "stopped"
    docker.write_sql("UPDATE clusters SET desired_state = 'present' WHERE name = 'box'")
    docker.apply()
    assert docker.state("box") == "running"
    docker.write_sql("UPDATE clusters SET desired_state = 'absent' WHERE name = 'box'")
    docker.apply()
    assert (docker.row("box"), docker.status("Cluster/box"), docker.made()) == (None, {}, {})


def test_row_0_02_the_file_is_never_opened_again(docker: DockerLab) -> None:
    """It is deleted after the bootstrap; creating, listing, deleting and reconciling go on without it.

    Where strace may be used, no process of ours has so much as tried to open it, but for the bootstrap itself.
    """
    why_not = strace_fault()
    file = csv_file(docker, only("dev-a"))
    with docker.prefixed(*([] if why_not else traced(docker, "bootstrap"))):
        daemon = docker.daemon("--bootstrap-csv", file)
    docker.await_ready("Cluster/dev-a")
    assert not any(str(file) in str(one.readlink()) for one in Path(f"/proc/{daemon.pid}/fd").iterdir())
    daemon.terminate()
    file.unlink()
    with docker.prefixed(*([] if why_not else traced(docker, "after"))):
        assert docker.start("create", "cluster", "more").wait() == 0
        listing = docker.start("get", "-o", "name")
        assert listing.wait() == 0
        assert {"Cluster/dev-a", "Cluster/more"} <= set(listing.out().split())
        assert docker.start("apply", docker.specs, "--yes").wait() == 0
        docker.daemon("--bootstrap-csv", file)
        assert docker.start("reconcile", "Cluster/dev-a").wait() == 0
        assert docker.start("delete", "Cluster/dev-a", "--yes", "--no-apply").wait() == 0
    until(lambda: docker.row("dev-a") is None, lambda: docker.row("dev-a"))
    assert docker.made_names() == []
    if why_not:
        pytest.skip(f"all of it but the system calls: {why_not}")
    opened = {name: "".join(path.read_text() for path in docker.root.glob(f"{name}.trace*")) for name in TRACES}
    assert file.name in opened["bootstrap"]
    assert file.name not in opened["after"]
    assert opened["after"].count("/reconciler.db") >= 6, "each of the commands and the daemon was traced"


TRACES = ("bootstrap", "after")
TRACING = ("-D", "-ff", "--seccomp-bpf", "-qq", "-e", "trace=open,openat,openat2", "-s", "4096")


def traced(docker: DockerLab, name: str) -> list[str]:
    """A program in front of another one that notes every file which it and its children open, one note a process."""
    return [str(STRACE), *TRACING, "-o", str(docker.root / f"{name}.trace")]


def strace_fault() -> str:
    """Why strace cannot be used; "" where it can."""
    if STRACE is None:
        return "strace is not installed"
    tried = subprocess.run(
        [STRACE, "-f", "--seccomp-bpf", "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else f"strace is not permitted: {tried.stderr.strip()}"


def test_row_0_03_imported_before_the_page_answers(docker: DockerLab) -> None:
    docker.behave("down")
    command = docker.start("daemon", docker.specs, "--bootstrap-csv", csv_file(docker))
    daemon = docker.as_daemon(command)
    assert clusters_of(daemon) == NAMES, "the very first answer"


def test_row_0_04_import_is_idempotent_and_a_restart_changes_nothing(docker: DockerLab) -> None:
    assert "7 new, 0 changed, 0 unchanged" in imported(docker)
    before = rows(docker)
    assert "0 new, 0 changed, 7 unchanged" in imported(docker)
    assert rows(docker) == before
    text = imported(docker, CSV.replace(",18090,", ",18099,"))
    assert text.splitlines() == ["Cluster/dev: http_port: 18090 -> 18099", "0 new, 1 changed, 6 unchanged"]
    after = rows(docker)
    assert after["dev"]["http_port"] == 18099
    changed = {"http_port", "updated_at"}
    assert after["dev"]["updated_at"] > before["dev"]["updated_at"]
    assert {name: {**row, **dict.fromkeys(changed)} for name, row in after.items()} == {
        name: {**row, **dict.fromkeys(changed)} for name, row in before.items()
    }
    assert {name: row for name, row in after.items() if name != "dev"} == {
        name: row for name, row in before.items() if name != "dev"
    }
    docker.behave("down")
    docker.daemon("--bootstrap-csv", csv_file(docker)).terminate()
    assert {name: row["http_port"] for name, row in rows(docker).items()} == {
        name: row["http_port"] for name, row in after.items()
    }


def test_row_0_04_k14_a_restart_brings_nothing_back(docker: DockerLab) -> None:
    """Also not when everything was deleted since: K14."""
    file = csv_file(docker, only("dev-a"))
    docker.ok("import", "csv", file)
    docker.apply()
    docker.ok("delete", "Cluster/dev-a", "--yes")
    assert rows(docker) == {}
    docker.daemon("--bootstrap-csv", file).terminate()
    assert rows(docker) == {}


def test_row_0_05_all_columns_are_imported(docker: DockerLab) -> None:
    flags = ["1", "Y", "yes", "TRUE", "on", "no"]
    imported(docker, CSV + "".join(f"flag{n},kind,,,{flag},{flag},,,\n" for n, flag in enumerate(flags)))
    found = rows(docker)
    assert (
        found["dev"].items()
        >= {
            "provider": "k3d",
            "subnet": "10.101.0.0/16",
            "node_port": 30080,
            "pf_port": 19001,
            "http_port": 18090,
            "https_port": 18443,
            "register_portainer": 1,
            "haproxy_route": 1,
            "role": "business",
        }.items()
    )
    assert {row["subnet"] for row in found.values() if row["provider"] == "kind"} == {None}
    assert [found[f"flag{n}"]["register_portainer"] for n in range(6)] == [1, 1, 1, 1, 1, 0]
    assert (found["devops"]["role"], found["devops"]["haproxy_route"]) == ("management", 0)
    told = docker.ok("describe", "Cluster/dev")
    assert all(text in told for text in ("registerPortainer: true", "haproxyRoute: true", "subnet: 10.101.0.0/16"))
    assert "registerPortainer=false" in docker.ok("get", "Cluster/devops", "-o", "wide")
    recorded = json.loads(docker.ok("describe", "Cluster/dev", "-o", "json"))["recorded"]
    assert (recorded["nodePort"], recorded["registerPortainer"]) == (30080, True)


def test_k15_k16_subnet_and_ports_of_a_row_reach_the_tool(docker: DockerLab) -> None:
    imported(docker, only("dev"))
    docker.apply()
    assert "--subnet 10.101.0.0/16" in docker.commands("docker", "network", "create")[0]
    (command,) = docker.commands("k3d", "cluster", "create", "dev")
    assert command.endswith("--port 18090:80@loadbalancer --port 18443:443@loadbalancer")
    assert docker.changing()[0].startswith("docker network create"), "what else the table asks for is not acted on"
    assert docker.plan() == {}


def test_nothing_is_written_when_any_row_is_wrong(docker: DockerLab) -> None:
    file = csv_file(docker, CSV.replace("dev-b,kind", "dev-b,kand"))
    done = docker.run("import", "csv", file)
    assert done.code != 0
    assert f'{file}:11: provider: expected k3d or kind, got "kand"' in done.err
    assert rows(docker) == {}
    docker.ok("create", "cluster", "box", "--set", "ports.httpPort=18092")
    done = docker.run("import", "csv", csv_file(docker))
    assert f"{file}:8: prod: http_port 18092 is held by Cluster/box" in done.err
    assert list(rows(docker)) == ["box"]


def test_a_dry_run_writes_nothing(docker: DockerLab) -> None:
    docker.ok("get")
    text = docker.ok("import", "csv", csv_file(docker), "--dry-run")
    assert "Cluster/dev: new: provider=k3d, subnet=10.101.0.0/16" in text
    assert "7 new, 0 changed, 0 unchanged (dry run)" in text
    assert (rows(docker), docker.rows("SELECT * FROM runs")) == ({}, [])


def test_with_a_document_the_documents_fields_win(docker: DockerLab) -> None:
    """And a row whose document vanished stays with those that vanished."""
    imported(docker, only("dev-a"))
    docker.write("a.yaml", docker_cluster("dev-a", "kind", ports={"httpPort": 23555}))
    docker.apply()
    row = docker.row("dev-a")
    assert row is not None
    assert (row["http_port"], row["desired_by"], row["register_portainer"]) == (23555, "document", 1)
    assert row["pf_port"] == 19011, "what the document leaves open stays as it was recorded"
    (docker.specs / "a.yaml").unlink()
    docker.write("b.yaml", docker_cluster("other", "sandbox"))
    text = docker.run("plan", docker.specs).text
    assert "no longer in the specs" in text
    assert "deleted only with --prune" in text
    docker.apply()
    assert docker.state("dev-a") == "running"
    docker.apply("--prune")
    assert docker.row("dev-a") is None


def test_a_management_cluster_of_a_row_is_not_deleted(docker: DockerLab) -> None:
    imported(docker, only("devops"))
    done = docker.run("delete", "Cluster/devops", "--yes")
    assert done.code == 7
    assert "Cluster/devops is protected" in done.text or "management" in done.text
    assert rows(docker)["devops"]["desired_state"] == "present"


def test_k31_what_is_gone_and_wanted_gone_leaves_no_row(docker: DockerLab) -> None:
    docker.ok("get")
    docker.write_sql(
        "INSERT INTO clusters (name, provider, desired_state, actual_state) VALUES ('old', 'kind', 'absent', 'running')"
    )
    docker.apply()
    assert (rows(docker), docker.status("Cluster/old")) == ({}, {})


def test_a_cluster_that_only_a_row_wants_is_stopped_and_started_by_command(docker: DockerLab) -> None:
    """The row then says so, and nobody has to write a document for it."""
    imported(docker, only("dev"))
    docker.apply()
    docker.forget_log()
    for command, wanted, state in (("stop", "stopped", "stopped"), ("start", "present", "running")):
        docker.ok("cluster", command, "dev")
        row = docker.row("dev")
        assert row is not None
        assert (row["desired_by"], row["desired_state"], row["actual_state"]) == ("row", wanted, state)
    assert docker.changing() == ["k3d cluster stop dev", "k3d cluster start dev"]
    assert docker.plan() == {}, "what was said by command is not undone"
    assert docker.rows("SELECT owner FROM resources WHERE name = 'dev'") == [{"owner": "row"}]


def test_a_row_that_somebody_deleted_is_told_and_nothing_else(docker: DockerLab) -> None:
    docker.ok("get")
    docker.write_sql("INSERT INTO clusters (name, provider) VALUES ('box', 'sandbox')")
    docker.apply()
    docker.write_sql("DELETE FROM clusters WHERE name = 'box'")
    assert "its record is gone" in docker.run("plan").text
    docker.apply()
    assert "box" in docker.made()


def test_a_row_that_makes_no_sense_is_a_problem_of_its_own(docker: DockerLab) -> None:
    docker.ok("get")
    docker.write_sql("INSERT INTO clusters (name, provider) VALUES ('box', 'sandbox'), ('bad', 'wishful')")
    done = docker.run("plan", docker.specs)
    assert "Cluster/bad" in done.text
    assert "wishful" in done.text
    docker.apply("--keep-going", code=None)
    assert list(docker.made()) == ["box"]
    assert len(rows(docker)) == 2


def test_row_0_32_csv_format_unchanged(docker: DockerLab) -> None:
    imported(docker)
    found = rows(docker)
    assert sorted(found) == NAMES
    assert {found[name]["node_port"] for name in ("dev", "uat", "prod")} == {30080}
    assert found["devops"]["pf_port"] == 19000


@pytest.mark.skipif("RECONCILER_PREDECESSORS_CSV" not in os.environ, reason="RECONCILER_PREDECESSORS_CSV names no file")
def test_row_0_32_the_predecessors_own_file(docker: DockerLab) -> None:
    """Byte for byte, and it says the same as our copy of its rows."""
    file = docker.root / "environments.csv"
    shutil.copyfile(os.environ["RECONCILER_PREDECESSORS_CSV"], file)
    docker.ok("import", "csv", file)
    assert "0 new, 0 changed, 7 unchanged" in imported(docker)


def test_row_0_33_a_kindler_db_opens(docker: DockerLab) -> None:
    """A daemon starts on it: rows, ids and times are kept, and its columns are still there."""
    write_database(docker.database)
    docker.behave("down")
    daemon = docker.daemon()
    assert clusters_of(daemon) == ["dev", "dev-a", "devops", "gone"]
    found = rows(docker)
    assert {name: row["id"] for name, row in found.items()} == {"devops": 3, "dev": 7, "dev-a": 8, "gone": 9}
    assert found["dev"]["created_at"] == 1762428153.0
    assert found["devops"]["role"] == "management"
    columns = {row["name"] for row in docker.rows("PRAGMA table_info(clusters)")}
    assert columns >= COLUMNS
    assert docker.rows("SELECT cluster_name FROM operations") == [{"cluster_name": "dev"}]
    assert (docker.home / "reconciler.db.before-takeover").exists()
    docker.recover()
    until(lambda: "gone" not in rows(docker), lambda: rows(docker)["gone"])
    docker.await_ready("Cluster/dev-a")
    assert rows(docker)["dev-a"]["id"] == 8
    assert docker.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def test_a_database_of_another_program_is_refused(docker: DockerLab) -> None:
    write_database(docker.database, "CREATE TABLE songs (id INTEGER)")
    before = docker.database.read_bytes()
    done = docker.run("get")
    assert done.code == 8
    assert "belongs to another program (it has songs) and is left as it is" in done.err
    assert docker.database.read_bytes() == before


def test_a_host_port_of_a_cluster_that_is_there_moves_with_a_new_cluster_only(docker: DockerLab) -> None:
    """The row wants another port than the containers have: told, never called done; once approved, made anew."""
    imported(docker, only("dev"))
    docker.apply()
    before = docker.row("dev")
    assert before is not None
    docker.write_sql("UPDATE clusters SET http_port = 23111 WHERE name = 'dev'")
    change = docker.plan()["Cluster/dev"]
    assert (change["action"], change["obstacle"]["reason"]) == ("replace", "ReplaceForbidden")
    docker.apply(code=7)
    assert docker.plan()["Cluster/dev"]["action"] == "replace", "as long as nobody allows it"
    docker.ok("approve", "Cluster/dev")
    docker.forget_log()
    docker.apply("--max-deletes", 1)
    (command,) = docker.commands("k3d", "cluster", "create", "dev")
    assert "--port 23111:80@loadbalancer" in command
    assert docker.commands("k3d", "cluster", "delete") == ["k3d cluster delete dev"]
    after = docker.row("dev")
    assert after is not None
    kept = ("id", "created_at", "subnet", "register_portainer", "desired_by", "desired_state")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert docker.plan() == {}


def test_killed_while_it_is_made_anew_a_cluster_of_a_row_is_still_wanted(docker: DockerLab) -> None:
    imported(docker, only("dev"))
    docker.apply()
    docker.write_sql("UPDATE clusters SET http_port = 23111 WHERE name = 'dev'")
    docker.apply(code=7)
    docker.ok("approve", "Cluster/dev")
    docker.behave("half.k3d-cluster-create", "hang")
    command = docker.start("apply", docker.specs, "--yes")
    until(lambda: ("create", "open") in docker.steps("Cluster/dev") or not command.alive, command.err)
    until(lambda: docker.made_names() == ["dev"], command.err)
    command.kill()
    docker.recover()
    docker.apply()
    row = docker.row("dev")
    assert row is not None
    assert (row["actual_state"], row["http_port"], row["desired_by"]) == ("running", 23111, "row")
    assert docker.plan() == {}


def test_a_port_that_the_row_wants_and_another_program_has(docker: DockerLab) -> None:
    """The next free one is given, the row says so, and that is no new wish: the generation stays."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        imported(docker, only("dev-a").replace(",18093,", f",{port},"))
        docker.apply()
    row = docker.row("dev-a")
    assert row is not None
    assert row["http_port"] != port
    assert f"httpPort: {row['http_port']} ({port} was taken)" in docker.ok("describe", "Cluster/dev-a")
    assert docker.status("Cluster/dev-a")["generation"] == 1
    assert docker.plan() == {}
    text = imported(docker, only("dev-a").replace(",18093,", f",{port},"))
    assert "0 new, 0 changed, 1 unchanged" in text
