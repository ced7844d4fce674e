"""The write API with a real daemon and real sandbox clusters: created, followed, started, stopped, deleted, refused."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from tests.clusters.sandbox_lab import CREATION, DELETION, SandboxLab, cluster
from tests.daemon.lab import until
from tests.web.write_lab import Answer, Api, api_of, document


@pytest.fixture
def api(lab: SandboxLab) -> Api:
    """A client of a daemon on the lab."""
    return api_of(lab, lab.daemon())


def test_a_cluster_is_created_followed_stopped_started_and_deleted(lab: SandboxLab, api: Api) -> None:
    accepted = api.ask("POST", "/api/v2/clusters", document("dev", agents=1, description="of the API"))
    assert accepted.status == 202
    assert accepted.headers["location"] == f"/api/v2/tasks/{accepted.body['taskId']}"
    seen = [api.task(accepted)["percent"]]
    while (task := api.task(accepted))["state"] in ("pending", "running"):
        seen.append(task["percent"])
        time.sleep(0.02)
    assert task["state"] == "succeeded", task
    assert (task["percent"], task["result"], task["error"]) == (100.0, "changed", "")
    assert task["startedAt"] <= task["finishedAt"]
    assert seen == sorted(seen)
    assert [name for name, _ in lab.steps("Cluster/dev")] == list(CREATION)
    one = api.ask("GET", "/api/v2/clusters/dev").body
    assert (one["desiredState"], one["actualState"], one["running"], one["owner"]) == (
        "present",
        "running",
        True,
        "api",
    )
    assert api.ended(api.ask("POST", "/api/v2/clusters/dev/stop"))["state"] == "succeeded"
    assert lab.made()["dev"]["state"] == "stopped"
    assert api.ask("GET", "/api/v2/clusters/dev").body["running"] is False
    again = api.ended(api.ask("POST", "/api/v2/clusters/dev/stop"))
    assert (again["state"], again["run"]) == ("succeeded", None)
    assert api.ended(api.ask("POST", "/api/v2/clusters/dev/start"))["state"] == "succeeded"
    assert lab.made()["dev"]["state"] == "running"
    status = api.ask("GET", "/api/v2/clusters/dev/status").body
    assert (status["ready"], status["nodesReady"], status["nodesTotal"]) == ("True", 2, 2)
    assert status["task"]["action"] == "start"
    deleted = api.ask("DELETE", "/api/v2/clusters/dev")
    assert api.ended(deleted)["state"] == "succeeded"
    assert lab.made() == {}
    assert api.ask("GET", "/api/v2/clusters/dev").status == 404
    assert [task["action"] for task in api.ask("GET", "/api/v2/tasks").body["tasks"]] == [
        *("delete", "start", "stop", "stop", "create")
    ]


def test_every_write_is_an_event_that_names_who_asked(lab: SandboxLab, api: Api) -> None:
    api.ended(api.ask("POST", "/api/v2/clusters", document("dev")))
    assert api.ask("POST", "/api/v2/clusters", document("dev")).status == 409
    told = [
        (one["reason"], one["type"], one["actor"]) for one in lab.rows("SELECT * FROM events WHERE actor LIKE 'api%'")
    ]
    assert told == [
        ("CreateRequested", "normal", "api token from 127.0.0.1"),
        ("CreateRefused", "warning", "api token from 127.0.0.1"),
    ]


def test_row_0_19_a_name_that_exists_is_a_conflict(lab: SandboxLab, api: Api) -> None:
    first = api.ask("POST", "/api/v2/clusters", document("dev"))
    second = api.ask("POST", "/api/v2/clusters", document("dev"))
    assert (first.status, second.status) == (202, 409)
    assert "Cluster/dev" in second.body["message"]
    assert "is being created" in second.body["message"]
    api.ended(first)
    third = api.ask("POST", "/api/clusters", {"name": "dev", "provider": "sandbox"})
    assert third.status == 409
    assert "Cluster/dev exists already" in third.body["message"]
    lab.write("file.yaml", cluster("filed"))
    lab.await_ready("Cluster/filed")
    assert api.ask("POST", "/api/v2/clusters", document("filed")).status == 409
    assert len(lab.changes("Cluster/dev")) == 1


def test_row_0_17_created_and_deleted_at_once_is_one_after_the_other(lab: SandboxLab, api: Api) -> None:
    created = api.ask("POST", "/api/v2/clusters", document("dev"))
    lab.await_open_step("Cluster/dev", "create")
    deleted = api.ask("DELETE", "/api/v2/clusters/dev")
    assert (created.status, deleted.status) == (202, 202)
    assert api.ask("POST", "/api/v2/clusters", document("dev")).status == 409
    assert api.ended(deleted)["state"] == "succeeded"
    assert api.task(created)["state"] in ("superseded", "succeeded")
    assert not lab.status("Cluster/dev")
    assert lab.made() == {}
    steps = [name for name, _ in lab.steps("Cluster/dev")]
    begun = steps.index(DELETION[0])
    assert steps[begun:] == list(DELETION)
    assert steps[:begun] == list(CREATION[:begun])
    periods = [(row["started_at"], row["ended_at"]) for row in lab.changes("Cluster/dev")]
    assert all(before[1] <= after[0] for before, after in pairwise(periods))
    assert api.ended(api.ask("POST", "/api/v2/clusters", document("dev")))["state"] == "succeeded"


def test_what_is_deleted_before_anything_was_made_leaves_nothing(lab: SandboxLab) -> None:
    lab.write("a.yaml", cluster("a"))
    daemon = lab.daemon()
    api = api_of(lab, daemon)
    lab.await_ready("Cluster/a")
    created = api.ask("POST", "/api/v2/clusters", document("dev", {"suspend": True}))
    lab.await_reason("Cluster/dev", "Suspended")
    deleted = api.ask("DELETE", "/api/v2/clusters/dev")
    assert deleted.status == 202
    assert api.task(created)["state"] == "superseded"
    again = api.ask("POST", "/api/v2/clusters", document("dev"))
    assert api.ended(again)["state"] == "succeeded"
    assert api.task(deleted)["state"] in ("superseded", "succeeded")
    assert api.ended(api.ask("DELETE", "/api/v2/clusters/dev"))["state"] == "succeeded"
    assert not lab.status("Cluster/dev")


def test_exactly_one_of_parallel_creates_wins(lab: SandboxLab, api: Api) -> None:
    together = threading.Barrier(6)

    def create(_: int) -> Answer:
        together.wait()
        return api.ask("POST", "/api/v2/clusters", document("dev"))

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(create, range(6)))
    assert sorted(answer.status for answer in answers) == [202, *[409] * 5]
    assert all("Cluster/dev" in answer.body["message"] for answer in answers)
    lab.await_ready("Cluster/dev")
    assert [name for name, _ in lab.steps("Cluster/dev")].count("create") == 1


def test_case_12_the_older_routes(lab: SandboxLab) -> None:
    lab.write("devops.yaml", cluster("devops", role="management"))
    daemon = lab.daemon()
    api = api_of(lab, daemon)
    lab.await_ready("Cluster/devops")
    listed = api.ask("GET", "/api/clusters")
    assert (listed.status, [one["name"] for one in listed.body]) == (200, ["devops"])
    assert {"desired_state", "actual_state", "last_reconciled_at", "reconcile_error", "status"} <= listed.body[0].keys()
    body = {"name": "dev", "provider": "sandbox", "node_port": 30080, "http_port": 28090, "https_port": None}
    created = api.ask("POST", "/api/clusters", body)
    assert (created.status, created.body["status"]) == (202, "pending")
    task = until(lambda: one if (one := api.task(created))["status"] not in ("pending", "running") else None)
    assert (task["status"], task["progress"], task["task_id"]) == ("completed", 100.0, created.body["task_id"])
    assert len(task["logs"]) == len(CREATION)
    one = api.ask("GET", "/api/clusters/dev").body
    assert (one["http_port"], one["node_port"], one["desired_state"]) == (28090, 30080, "present")
    status = api.ask("GET", "/api/clusters/dev/status").body
    assert (status["nodes_ready"], status["nodes_total"], status["error_message"]) == (1, 1, None)
    assert api.ask("GET", "/api/clusters/nowhere").status == 404
    assert api.ask("DELETE", "/api/clusters/nowhere").status == 404
    assert api.ask("POST", "/api/clusters/nowhere/start").status == 404
    refused = api.ask("DELETE", "/api/clusters/devops")
    assert refused.status == 403
    assert "devops" in refused.body["message"]
    assert api.ask("POST", "/api/clusters/dev/stop").status == 202
    assert api.ask("POST", "/api/clusters/dev/start").status == 202
    invalid = api.ask("POST", "/api/clusters", {"name": "Nope", "http_port": 80})
    assert (invalid.status, {one["field"] for one in invalid.body["errors"]}) == (422, {"/name", "/http_port"})
    ranges = api.ask("GET", "/api/config").body["port_ranges"]
    assert ranges["http_port"] == {"min": 18090, "max": 18999}
    assert ranges["https_port"] == {"min": 18443, "max": 18999}
    assert ranges["pf_port"] == {"min": 19001, "max": 19999}


def test_what_a_file_owns_is_told_where_to_change_it(lab: SandboxLab) -> None:
    lab.write("dev.yaml", cluster("dev"))
    api = api_of(lab, lab.daemon())
    lab.await_ready("Cluster/dev")
    for method, path, field in (
        ("POST", "/api/v2/clusters/dev/stop", "spec.running: false"),
        ("DELETE", "/api/v2/clusters/dev", "lifecycle.state: absent"),
    ):
        refused = api.ask(method, path)
        assert refused.status == 409
        assert "dev.yaml" in refused.body["message"]
        assert field in refused.body["message"]
    assert lab.made()["dev"]["state"] == "running"


def test_a_cluster_that_only_a_row_wants_is_stopped_started_and_deleted_as_well(lab: SandboxLab) -> None:
    lab.ok("get")
    lab.write_sql("INSERT INTO clusters (name, provider) VALUES ('old', 'sandbox')")
    api = api_of(lab, lab.daemon())
    lab.await_ready("Cluster/old")
    assert api.ask("GET", "/api/v2/clusters/old").body["owner"] == "row"
    for action, state in (("stop", "stopped"), ("start", "running")):
        assert api.ended(api.ask("POST", f"/api/v2/clusters/old/{action}"))["state"] == "succeeded"
        assert lab.made()["old"]["state"] == state
    assert api.ask("POST", "/api/v2/clusters", document("old")).status == 409
    assert api.ended(api.ask("DELETE", "/api/v2/clusters/old"))["state"] == "succeeded"
    assert lab.made() == {}
    assert lab.row("old") is None
    assert api.ask("GET", "/api/v2/clusters/old").status == 404


def test_what_is_protected_is_not_deleted(lab: SandboxLab, api: Api) -> None:
    api.ended(api.ask("POST", "/api/v2/clusters", document("dev", {"deletion": "protect"})))
    api.ended(api.ask("POST", "/api/v2/clusters", document("main", role="management")))
    for name in ("dev", "main"):
        refused = api.ask("DELETE", f"/api/v2/clusters/{name}")
        assert (refused.status, refused.body["reason"]) == (403, "Protected")
        assert name in refused.body["message"]
    assert lab.run("delete", "Cluster/main", "--yes").code == 7
    assert set(lab.made()) == {"dev", "main"}


def test_approve_suspend_resume_and_look(lab: SandboxLab, api: Api) -> None:
    created = api.ask("POST", "/api/v2/clusters", document("dev", {"approval": "manual", "interval": "1h"}))
    waiting = api.ended(created)
    assert waiting["state"] == "blocked"
    assert "reconciler approve" in waiting["error"]
    path = "/api/v2/resources/Cluster/dev"
    assert api.ask("POST", f"{path}/approve", {"fingerprint": "0" * 64}).status == 409
    fingerprint = api.ask("GET", path).body["pending"]["fingerprint"]
    approved = api.ask("POST", f"{path}/approve", {"fingerprint": fingerprint})
    assert api.ended(approved)["state"] == "succeeded"
    lab.await_ready("Cluster/dev")
    assert api.ask("POST", f"{path}/approve").status == 409
    assert api.ask("POST", f"{path}/resume").status == 409
    suspended = api.ask("POST", f"{path}/suspend", {"reason": "over lunch", "until": "2h"})
    assert api.ended(suspended)["state"] == "succeeded"
    assert api.ask("GET", path).body["suspension"]["reason"] == "over lunch"
    assert api.ask("POST", f"{path}/reconcile").status == 409
    assert api.ended(api.ask("POST", f"{path}/resume"))["state"] == "succeeded"
    looked = api.ended(api.ask("POST", f"{path}/reconcile"))
    assert (looked["state"], looked["run"]) == ("succeeded", None)
    invalid = api.ask("POST", f"{path}/suspend", {"until": "2h"})
    assert (invalid.status, invalid.body["errors"][0]["field"]) == (422, "/reason")
    assert api.ask("POST", f"{path}/suspend", {"reason": "r", "until": "yesterday"}).status == 422
    assert api.ask("POST", "/api/v2/resources/Cluster/nobody/resume").status == 404


def test_a_task_survives_the_daemon(lab: SandboxLab) -> None:
    daemon = lab.daemon()
    api = api_of(lab, daemon)
    created = api.ask("POST", "/api/v2/clusters", document("dev"))
    lab.await_open_step("Cluster/dev", "create")
    daemon.kill()
    second = lab.daemon()
    api = api_of(lab, second)
    assert api.ended(created)["state"] == "succeeded"
    assert len(lab.changes("Cluster/dev")) == 2


def test_a_task_that_fails_says_why(lab: SandboxLab, api: Api) -> None:
    refused = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": {"not": "text"}}}
    failed = api.ended(api.ask("POST", "/api/v2/clusters", document("dev", manifests=[refused])))
    assert failed["state"] == "failed"
    assert "applying ConfigMap a" in failed["error"]
    assert 0 < failed["percent"] < 100


def test_row_0_27_file_command_api_and_page_lead_to_the_same(lab: SandboxLab, api: Api) -> None:
    """The same spec four times: the same stored document, the same steps. test_write_browser.py has the page's."""
    spec = {"provider": "sandbox", "agents": 1, "environment": "dev"}
    lab.write("file.yaml", cluster("by-file", agents=1, environment="dev"))
    settings = [f"--set={name}={value}" for name, value in spec.items()]
    lab.ok("create", "cluster", "by-command", *settings, "--no-apply")
    accepted = api.ask("POST", "/api/v2/clusters", {"metadata": {"name": "by-api"}, "spec": spec})
    api.ended(accepted)
    lab.await_ready("Cluster/by-file", "Cluster/by-command", "Cluster/by-api")
    names = ("by-file", "by-command", "by-api")
    steps = {name: lab.steps(f"Cluster/{name}") for name in names}
    assert steps["by-file"] == [(name, "done") for name in CREATION]
    assert steps["by-file"] == steps["by-command"] == steps["by-api"]
    kept = {row["name"]: row for row in lab.rows("SELECT name, spec, lifecycle, labels, digest FROM resources")}
    for column in ("spec", "lifecycle", "labels", "digest"):
        assert len({kept[name][column] for name in names}) == 1, column
    documents = [
        yaml.safe_load(row["document"].replace(row["name"], "x"))
        for row in lab.rows("SELECT name, document FROM resources WHERE owner = 'api'")
    ]
    assert documents[0] == documents[1]


def test_the_token_is_made_once_private_and_never_told(lab: SandboxLab) -> None:
    daemon = lab.daemon()
    path = lab.home / "api-token"
    token = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 43
    api = Api(daemon.url, token)
    api.ask("POST", "/api/v2/clusters", document("dev"))
    api.ask("POST", "/api/v2/clusters", document("dev"), Authorization="Bearer wrong")
    lab.await_ready("Cluster/dev")
    assert daemon.terminate() == 0
    second = lab.daemon()
    assert path.read_text().strip() == token
    assert Api(second.url, token).ask("DELETE", "/api/v2/clusters/dev").status == 202
    assert token not in daemon.err() + daemon.out() + second.err() + second.out()
    places = [found for found in Path(lab.root).rglob("*") if found.is_file() and found != path]
    assert [found for found in places if token.encode() in found.read_bytes()] == []


def test_a_token_that_others_can_read_stops_the_daemon(lab: SandboxLab) -> None:
    (lab.home / "api-token").write_text("a" * 43)
    (lab.home / "api-token").chmod(0o644)
    refused = lab.run("daemon", lab.specs)
    assert refused.code == 64
    assert "api-token can be read by others" in refused.err
