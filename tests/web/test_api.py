"""The JSON twins say the same as the pages, with errors as JSON, and nothing secret."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from filled_store import KEY, PASSWORD, Filling
from flask.testing import FlaskClient

import web
from reconciler.model.secret import Secret
from reconciler.store.database import Database
from web.app import create_flask_app

PATHS = (
    "/api/v2/",
    "/api/v2/overview",
    "/api/v2/resources",
    "/api/v2/resources/Cluster/broken",
    "/api/v2/resources/Cluster/dev",
    "/api/v2/runs",
    "/api/v2/runs/1",
    "/api/v2/steps/2/log",
    "/api/v2/events",
    "/api/v2/graph",
    "/api/v2/problems",
)


def get(client: FlaskClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    return answer.get_json()


@pytest.mark.parametrize("path", PATHS)
def test_no_answer_holds_a_secret_or_its_digest(filled: Filling, client: FlaskClient, path: str) -> None:
    text = json.dumps(get(client, path))
    assert PASSWORD not in text
    assert Secret(PASSWORD, "env:T").keyed_digest(KEY) not in text
    assert "d" * 64 not in text


def keys_of(value: Any) -> set[str]:
    """Every field name of our own: labels, specs, outputs and counts have names of their owners."""
    free = {"labels", "spec", "outputs", "counts", "recap", "before", "after"}
    if isinstance(value, dict):
        inner = (keys_of(member) for key, member in value.items() if key not in free)
        return set(value).union(*inner)
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    return set()


@pytest.mark.parametrize("path", PATHS)
def test_fields_are_in_camel_case(filled: Filling, client: FlaskClient, path: str) -> None:
    assert [key for key in keys_of(get(client, path)) if not re.fullmatch(r"[a-z][A-Za-z0-9]*", key)] == []


def test_the_index_names_every_route_and_the_document_describes_it(database: Database, client: FlaskClient) -> None:
    rules = create_flask_app(database).url_map.iter_rules()
    routes = {re.sub(r"<int:", "<", rule.rule) for rule in rules if "GET" in (rule.methods or ())}
    named = {entry["path"] for entry in get(client, "/api/v2/")["endpoints"]}
    assert named | {"/api/v2/"} == {rule for rule in routes if rule.startswith("/api/v2")}
    document = (Path(web.__file__).parent / "API.md").read_text()
    assert [path for path in sorted(named) if f"`GET {path}" not in document] == []


def test_the_overview_says_what_the_page_says(filled: Filling, client: FlaskClient) -> None:
    found = get(client, "/api/v2/overview")
    assert (found["resourceCount"], found["wrongCount"]) == (16, 7)
    assert found["counts"]["Cluster"]["stalled"] == 1
    assert found["daemon"]["state"] == "alive"
    assert found["wrong"][0]["resource"]["ref"] == "Cluster/typo"
    assert [step["alive"] for step in found["running"]] == [True, False]
    assert found["lastRun"]["id"] == 3


def test_resources_are_filtered_and_come_in_parts(filled: Filling, client: FlaskClient) -> None:
    first = get(client, "/api/v2/resources?limit=10")
    second = get(client, f"/api/v2/resources?limit=10&offset={first['next']}")
    assert (first["total"], second["next"]) == (16, None)
    refs = [entry["ref"] for entry in first["resources"] + second["resources"]]
    assert len(set(refs)) == 16
    ready = get(client, "/api/v2/resources?ready=True&label=env%3Dprod")["resources"]
    assert [entry["ref"] for entry in ready] == ["Cluster/prod"]
    assert ready[0]["dependencies"] == ["Cluster/staging", "Cluster/devops"]


def test_one_resource_has_its_history_steps_and_events(filled: Filling, client: FlaskClient) -> None:
    found = get(client, "/api/v2/resources/Cluster/dev")
    assert found["resource"]["standing"] == "ready"
    assert found["neededBy"] == ["Project/shop"]
    step = found["history"][0]["steps"][1]
    assert (step["outcome"], step["outputs"]) == ("done", {"port": 8080, "adminPassword": "***"})
    assert step["duration"] == pytest.approx(18.5, abs=0.2)
    log = get(client, f"/api/v2/steps/{step['id']}/log")
    assert log["chunks"][0]["text"].startswith("Create the cluster")
    assert get(client, f"/api/v2/steps/{step['id']}/log?after={log['last']}") == {"chunks": [], "last": log["last"]}


def test_events_go_forward_from_an_id_and_backward_from_another(filled: Filling, client: FlaskClient) -> None:
    found = get(client, "/api/v2/events")
    ids = [event["id"] for event in found["events"]]
    assert ids == sorted(ids)
    assert found["last"] == ids[-1]
    assert [event["id"] for event in get(client, f"/api/v2/events?after={ids[0]}")["events"]] == ids[1:]
    assert get(client, f"/api/v2/events?after={ids[-1]}") == {"events": [], "last": ids[-1]}
    assert [event["id"] for event in get(client, f"/api/v2/events?before={ids[-1]}")["events"]] == ids[-2::-1]


def test_runs_come_in_parts(filled: Filling, client: FlaskClient) -> None:
    first = get(client, "/api/v2/runs?limit=2")
    assert [run["id"] for run in first["runs"]] == [3, 2]
    rest = get(client, f"/api/v2/runs?limit=2&before={first['next']}")
    assert ([run["id"] for run in rest["runs"]], rest["next"]) == ([1], None)
    assert get(client, "/api/v2/runs/2")["changes"][0]["reason"] == "CreateFailed"


def test_graph_and_problems_are_there(filled: Filling, client: FlaskClient) -> None:
    graph = get(client, "/api/v2/graph")
    assert {"source": "Cluster/waiting", "target": "Cluster/nowhere"} in graph["edges"]
    assert {"ref": "Cluster/nowhere", "standing": "missing", "reason": "NotFound"} in graph["nodes"]
    found = get(client, "/api/v2/problems")
    assert [(problem["path"], problem["line"]) for problem in found["problems"]] == [("specs/bad.yaml", 7)]
    assert [source["readable"] for source in found["sources"]] == [False, True]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v2/nowhere", 404),
        ("/api/v2/resources/Cluster/nobody", 404),
        ("/api/v2/runs/999", 404),
        ("/api/v2/runs?limit=many", 400),
        ("/api/v2/events?after=-3", 400),
    ],
)
def test_errors_are_json_with_reason_and_message(database: Database, client: FlaskClient, path: str, code: int) -> None:
    answer = client.get(path)
    assert answer.status_code == code
    told = answer.get_json()
    assert set(told) == {"reason", "message"}
    assert re.fullmatch(r"[A-Z][A-Za-z]+", told["reason"])


def test_a_database_that_does_not_answer_is_a_503_in_json(filled: Filling, client: FlaskClient) -> None:
    with sqlite3.connect(filled.database.path) as connection:
        connection.execute("DROP TABLE events")
    connection.close()
    answer = client.get("/api/v2/events")
    assert answer.status_code == 503
    assert answer.get_json()["reason"] == "DatabaseError"
    assert answer.headers["Retry-After"]
