"""The process: start, crash, ports, locks, the admin API."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sandbox_server import ApiClient, Sandbox

from reconciler.sandbox import processes

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "1"}}


def test_a_created_cluster_is_described_in_full(sandbox: Sandbox) -> None:
    status, cluster = sandbox.ask("PUT", "/clusters/dev", {"version": "1.31.4", "servers": 2, "agents": 1})
    assert status == 201
    assert cluster["server"] == f"https://127.0.0.1:{cluster['port']}"
    assert cluster["caData"].startswith("-----BEGIN CERTIFICATE-----")
    assert (cluster["name"], cluster["version"], cluster["servers"], cluster["agents"]) == ("dev", "1.31.4", 2, 1)
    assert cluster["state"] == "running"
    assert sandbox.ask("GET", "/clusters/dev") == (200, cluster)
    assert sandbox.ask("GET", "/clusters") == (200, {"clusters": [cluster]})
    client = ApiClient(cluster)
    assert client.get("/version")["gitVersion"] == "v1.31.4"
    assert client.get("/api/v1/namespaces/kube-system")["metadata"]["uid"] == cluster["uid"]
    names = [one["metadata"]["name"] for one in client.get("/api/v1/nodes")["items"]]
    assert names == ["dev-agent-0", "dev-server-0", "dev-server-1"]
    client.close()


def test_a_second_put_is_the_same_cluster_and_scales_its_nodes(sandbox: Sandbox) -> None:
    cluster = sandbox.create("dev", servers=1, agents=2)
    assert sandbox.ask("PUT", "/clusters/dev", {"version": "1.32.0", "servers": 1, "agents": 2}) == (200, cluster)
    status, scaled = sandbox.ask("PUT", "/clusters/dev", {"version": "1.32.0", "servers": 2, "agents": 1})
    assert status == 200
    assert (scaled["servers"], scaled["agents"], scaled["uid"]) == (2, 1, cluster["uid"])
    client = ApiClient(cluster)
    names = [one["metadata"]["name"] for one in client.get("/api/v1/nodes")["items"]]
    assert names == ["dev-agent-0", "dev-server-0", "dev-server-1"]
    client.close()
    status, answer = sandbox.ask("PUT", "/clusters/dev", {"version": "1.31.0"})
    assert status == 409
    assert "1.32.0" in answer["message"]


@pytest.mark.parametrize(
    ("name", "body", "word"),
    [
        ("UPPER", {}, "DNS-1123"),
        ("a" * 64, {}, "DNS-1123"),
        ("-a", {}, "DNS-1123"),
        ("ok", {"servers": 0}, "servers"),
        ("ok", {"agents": "1"}, "agents"),
        ("ok", {"version": "latest"}, "version"),
        ("ok", {"port": 70000}, "port"),
        ("ok", {"nodes": 1}, "nodes"),
        ("ok", [], "object"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_with_the_field(
    shared_sandbox: Sandbox, name: str, body: Any, word: str
) -> None:
    status, answer = shared_sandbox.ask("PUT", f"/clusters/{name}", body)
    assert status == 400
    assert answer["reason"]
    assert word in answer["message"]
    assert shared_sandbox.ask("GET", f"/clusters/{name}")[0] == 404


def test_a_deleted_cluster_is_gone_with_its_port_and_objects(sandbox: Sandbox) -> None:
    cluster = sandbox.create("dev")
    client = ApiClient(cluster)
    assert client.call("POST", "/api/v1/namespaces/default/configmaps", CONFIG_MAP)[0] == 201
    client.close()
    assert sandbox.ask("DELETE", "/clusters/dev")[0] == 200
    assert sandbox.ask("DELETE", "/clusters/dev")[0] == 404
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", cluster["port"]), timeout=5)
    again = sandbox.create("dev")
    assert again["uid"] != cluster["uid"]
    client = ApiClient(again)
    assert client.call("GET", "/api/v1/namespaces/default/configmaps/kept")[0] == 404
    client.close()


def test_a_stopped_cluster_keeps_objects_and_port(sandbox: Sandbox) -> None:
    cluster = sandbox.create("dev")
    client = ApiClient(cluster)
    assert client.call("POST", "/api/v1/namespaces/default/configmaps", CONFIG_MAP)[0] == 201
    client.close()
    status, stopped = sandbox.ask("POST", "/clusters/dev/stop")
    assert (status, stopped["state"], stopped["port"]) == (200, "stopped", cluster["port"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", cluster["port"]), timeout=5)
    sandbox.kill()
    sandbox.start()
    assert sandbox.ask("GET", "/clusters/dev")[1]["state"] == "stopped"
    assert sandbox.ask("POST", "/clusters/dev/start") == (200, cluster)
    assert client.get("/api/v1/namespaces/default/configmaps/kept")["data"] == {"a": "1"}
    client.close()


def test_what_was_answered_survives_kill_9_on_the_same_port(sandbox: Sandbox) -> None:
    cluster = sandbox.create("dev", agents=1)
    client = ApiClient(cluster)
    written = []
    for number in range(30):
        body = {**CONFIG_MAP, "metadata": {"name": f"kept-{number}"}}
        status, answer = client.call("POST", "/api/v1/namespaces/default/configmaps", body)
        assert status == 201
        written.append(answer)
    client.close()
    assert sandbox.kill() == -signal.SIGKILL
    sandbox.start()
    assert sandbox.ask("GET", "/clusters") == (200, {"clusters": [cluster]})
    found = {one["metadata"]["name"]: one for one in client.get("/api/v1/namespaces/default/configmaps")["items"]}
    assert [found[one["metadata"]["name"]] for one in written] == written
    status, later = client.call("POST", "/api/v1/namespaces/default/configmaps", CONFIG_MAP)
    assert status == 201
    assert int(later["metadata"]["resourceVersion"]) > int(written[-1]["metadata"]["resourceVersion"])
    client.close()


def test_a_taken_port_stops_that_cluster_only_and_is_said(sandbox: Sandbox) -> None:
    first, second = sandbox.create("first"), sandbox.create("second")
    sandbox.kill()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first["port"]))
        other.listen()
        sandbox.start()
        status, described = sandbox.ask("GET", "/clusters/first")
        assert status == 200
        assert described["state"] == "stopped"
        assert str(first["port"]) in described["message"]
        assert str(first["port"]) in (processes.folder_of(sandbox.home) / "serve.log").read_text()
        assert sandbox.ask("GET", "/clusters/second") == (200, second)
        assert sandbox.ask("POST", "/clusters/first/start")[0] == 409
    assert sandbox.ask("POST", "/clusters/first/start") == (200, first)


def test_a_given_port_is_used_and_a_taken_one_refused(sandbox: Sandbox) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.listen()
        status, answer = sandbox.ask("PUT", "/clusters/dev", {"version": "1.32.0", "port": port})
        assert (status, answer["reason"]) == (409, "PortTaken")
    assert sandbox.ask("GET", "/clusters/dev")[0] == 404
    assert sandbox.create("dev", port=port)["port"] == port
    status, answer = sandbox.ask("PUT", "/clusters/other", {"version": "1.32.0", "port": port})
    assert (status, answer["reason"]) == (409, "PortTaken")


def test_a_second_server_on_a_home_says_who_runs_and_exits_0(sandbox: Sandbox) -> None:
    assert sandbox.process is not None
    second = sandbox.command("serve")
    assert second.returncode == 0
    assert str(sandbox.process.pid) in second.stdout
    assert sandbox.ask("GET", "/healthz")[1]["pid"] == sandbox.process.pid


def test_files_belong_to_the_owner_alone_and_name_the_process(sandbox: Sandbox) -> None:
    assert sandbox.process is not None
    sandbox.create("dev")
    folder = processes.folder_of(sandbox.home)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("admin.sock", "ca.key", "server.key", "sandbox.db"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    record = json.loads((folder / "process.json").read_text())
    assert record["pid"] == sandbox.process.pid
    fields = Path(f"/proc/{sandbox.process.pid}/stat").read_text().rpartition(")")[2].split()
    assert record["startTime"] == int(fields[19])
    assert record["bootId"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert record.keys() == {"pid", "startTime", "bootId", "startedAt", "version"}


@pytest.mark.parametrize("way", ["SIGTERM", "POST /shutdown", "stop"])
def test_it_ends_in_order_when_told_so(sandbox: Sandbox, way: str) -> None:
    assert sandbox.process is not None
    cluster = sandbox.create("dev")
    client = ApiClient(cluster)
    connection = client.connection()
    connection.request("GET", "/api/v1/pods?watch=true", headers={"Authorization": f"Bearer {cluster['token']}"})
    response = connection.getresponse()
    if way == "SIGTERM":
        sandbox.process.send_signal(signal.SIGTERM)
    elif way == "stop":
        assert sandbox.command("stop").returncode == 0
    else:
        assert sandbox.ask("POST", "/shutdown")[0] == 202
    assert response.read() == b""
    sandbox.process.communicate(timeout=20)
    assert sandbox.process.returncode == 0
    folder = processes.folder_of(sandbox.home)
    assert not (folder / "admin.sock").exists()
    assert not (folder / "process.json").exists()
    client.close()


def test_status_says_what_runs(sandbox: Sandbox) -> None:
    assert sandbox.process is not None
    cluster = sandbox.create("dev")
    shown = json.loads(sandbox.command("status", "-o", "json").stdout)
    assert (shown["running"], shown["pid"]) == (True, sandbox.process.pid)
    assert [one["name"] for one in shown["clusters"]] == ["dev"]
    assert cluster["token"] not in json.dumps(shown)
    assert cluster["server"] in sandbox.command("status").stdout
    sandbox.kill()
    assert json.loads(sandbox.command("status", "-o", "json").stdout) == {"running": False, "pid": None, "clusters": []}
    assert sandbox.command("stop").returncode == 0


def test_it_ends_by_itself_only_when_asked_to(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    sandbox.start("--idle-exit", "0.3")
    assert sandbox.process is not None
    sandbox.process.communicate(timeout=20)
    assert sandbox.process.returncode == 0


def test_a_process_that_reuses_the_pid_is_not_taken_for_the_server(tmp_path: Path) -> None:
    record = processes.ProcessRecord(os.getpid(), 1, processes.boot_id(), "2024-01-01T00:00:00Z", "0")
    assert not record.is_alive()
    started = processes.start_time(os.getpid())
    assert started is not None
    assert processes.ProcessRecord(os.getpid(), started, processes.boot_id(), "", "0").is_alive()
    assert not processes.ProcessRecord(os.getpid(), started, "another boot", "", "0").is_alive()


def test_usage_errors_exit_64() -> None:
    command = [sys.executable, "-m", "reconciler.sandbox", "serve"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 64


def test_a_home_may_lie_deeper_than_a_socket_address_is_long(tmp_path: Path) -> None:
    home = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6)
    home.mkdir(parents=True)
    deep = Sandbox(home)
    deep.start()
    try:
        assert deep.create("dev")["state"] == "running"
        assert deep.command("status").returncode == 0
    finally:
        deep.end()
