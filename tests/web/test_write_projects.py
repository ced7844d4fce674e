"""Projects and application sets through the API: written down, shown, refused, by the same routes as clusters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from filled_store import Filling
from flask.testing import FlaskClient
from write_lab import TOKEN

from reconciler.store.database import Database

GITHUB = {"provider": "github", "name": "acme/shop"}
PROJECT = {"cluster": "dev", "repository": GITHUB}


def ask(client: FlaskClient, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and body, with the token unless another one is given."""
    sent = {"Authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    answer = client.open(path, method=method, json=body, headers=sent)
    return answer.status_code, answer.json


@pytest.fixture
def writable(filling: Filling, writable: FlaskClient) -> FlaskClient:
    """With the cluster `dev`, which somebody wants."""
    filling.want(filling.resource("dev"))
    return writable


def stored(database: Database, kind: str, name: str) -> dict[str, Any]:
    """What is written down of a resource."""
    statement = "SELECT spec, owner, document FROM resources WHERE kind = ? AND name = ?"
    with database.read() as connection:
        row = connection.exec_driver_sql(statement, (kind, name)).mappings().one()
    return {**row, "spec": json.loads(row["spec"])}


@pytest.mark.parametrize(
    ("plural", "kind", "spec"),
    [
        ("projects", "Project", PROJECT),
        ("applicationsets", "ApplicationSet", {"repoURL": "https://git.example.com/a/b.git"}),
    ],
)
def test_a_resource_is_created_listed_shown_and_deleted(
    writable: FlaskClient, database: Database, plural: str, kind: str, spec: dict[str, Any]
) -> None:
    document = {"metadata": {"name": "shop", "labels": {"team": "a"}}, "spec": spec}
    status, body = ask(writable, "POST", f"/api/v2/{plural}", document)
    assert (status, body["resource"], body["state"]) == (202, f"{kind}/shop", "pending")
    assert ask(writable, "GET", f"/api/v2/tasks/{body['taskId']}")[1]["action"] == "create"
    kept = stored(database, kind, "shop")
    assert kept["owner"] == "api"
    assert kept["spec"].items() >= spec.items()
    (one,) = ask(writable, "GET", f"/api/v2/{plural}")[1][plural]
    assert one == ask(writable, "GET", f"/api/v2/{plural}/shop")[1]
    assert (one["name"], one["desiredState"], one["ready"]) == ("shop", "present", "Unknown")
    assert (one["labels"], one["recorded"], one["owner"]) == ({"team": "a"}, {}, "api")
    standing = ask(writable, "GET", f"/api/v2/{plural}/shop/status")[1]
    assert (standing["ready"], standing["conditions"], standing["task"]["action"]) == ("Unknown", [], "create")
    status, body = ask(writable, "POST", f"/api/v2/{plural}", document)
    assert (status, body["reason"]) == (409, "AlreadyExists")
    assert ask(writable, "DELETE", f"/api/v2/{plural}/shop")[0] == 202
    assert [one["desiredState"] for one in ask(writable, "GET", f"/api/v2/{plural}")[1][plural]] == ["absent"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"metadata": {"name": "shop"}, "spec": {"cluster": "dev"}}, "/spec"),
    ({"metadata": {"name": "Shop"}, "spec": PROJECT}, "/metadata/name"),
    ({"metadata": {"name": "shop"}, "spec": {**PROJECT, "colour": "red"}}, "/spec/colour"),
    ({"kind": "Cluster", "metadata": {"name": "shop"}, "spec": PROJECT}, "/kind"),
    ({"metadata": {"name": "shop"}, "spec": PROJECT, "name": "shop"}, "/name"),
    (
        {"metadata": {"name": "shop"}, "spec": {**PROJECT, "repository": {**GITHUB, "auth": {"token": "s3cret"}}}},
        "/spec/repository/auth/token",
    ),
    ({"name": "shop", "repository": {"provider": "svn", "name": "acme/shop"}}, "/repository/provider"),
    ({"name": "shop", "repository": {"provider": "github", "name": "shop"}}, "/repository/name"),
    ({"name": "shop", "repository": {**GITHUB, "colour": "red"}}, "/repository/colour"),
    ({"name": "shop", "repository": "acme/shop"}, "/repository"),
    ({"name": "shop", "slug": "A b", "repository": GITHUB}, "/slug"),
    ({"name": "My Shop", "repository": GITHUB}, "/name"),
    ({"name": "shop", "repository": {**GITHUB, "auth": {"token": "s3cret"}}}, "/repository/auth/token"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED)
def test_what_is_wrong_is_said_with_the_field_of_the_body(
    writable: FlaskClient, database: Database, body: dict[str, Any], field: str
) -> None:
    status, told = ask(writable, "POST", "/api/v2/projects", body)
    assert status == 422, told
    assert field in {one["field"] for one in told["errors"]}, told
    assert "s3cret" not in json.dumps(told)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT name FROM resources WHERE kind = 'Project'").all() == []


def test_secrets_come_by_reference_only(
    writable: FlaskClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_SECRET_GIT", "s3cret")
    repository = {**GITHUB, "auth": {"token": {"fromEnv": "RECONCILER_SECRET_GIT"}}}
    assert ask(writable, "POST", "/api/v2/projects", {"name": "shop", "repository": repository})[0] == 202
    shown = ask(writable, "GET", "/api/v2/projects/shop")[1]
    assert shown["spec"]["repository"]["auth"]["token"] == "***"
    assert "s3cret" not in json.dumps(stored(database, "Project", "shop"))
    for reference in ({"fromFile": "/etc/shadow"}, {"fromEnv": "HOME"}):
        body = {"name": "other", "repository": {**GITHUB, "auth": {"token": reference}}}
        assert ask(writable, "POST", "/api/v2/projects", body)[0] == 422, reference


def test_row_1_15_a_project_in_the_predecessors_shape(writable: FlaskClient, database: Database) -> None:
    """`name`, `slug`, `repository {provider, name, visibility}`; it goes into the only business cluster."""
    body = {"name": "My Shop", "slug": "shop", "repository": {**GITHUB, "visibility": "public"}}
    status, told = ask(writable, "POST", "/api/v2/projects", body)
    assert (status, told["resource"]) == (202, "Project/shop")
    spec = stored(database, "Project", "shop")["spec"]
    assert (spec["cluster"], spec["slug"], spec["description"]) == ("dev", "shop", "My Shop")
    assert spec["visibility"] == "public"
    assert spec["repository"].items() >= {"provider": "github", "name": "acme/shop", "create": True}.items()
    assert spec["template"] == {"name": "web-app"}
    given = {"name": "other", "repository": {"provider": "generic", "url": "https://git.example.com/a.git"}}
    assert ask(writable, "POST", "/api/v2/projects", given)[0] == 202
    taken = stored(database, "Project", "other")["spec"]
    assert ("create" in taken["repository"], "template" in taken) == (False, False), "it is somewhere already"


def test_a_project_names_its_cluster_where_there_are_several(filling: Filling, writable: FlaskClient) -> None:
    filling.want(filling.resource("uat"))
    status, told = ask(writable, "POST", "/api/v2/projects", {"name": "shop", "repository": GITHUB})
    assert status == 422
    assert [(one["field"], one["message"]) for one in told["errors"]] == [
        ("/cluster", 'the field "cluster" is missing')
    ]
    assert ask(writable, "POST", "/api/v2/projects", {"name": "shop", "cluster": "uat", "repository": GITHUB})[0] == 202


def test_the_form_of_the_page_creates_and_deletes_a_project(
    writable: FlaskClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials are named by a variable of the environment; what is wrong stands beside its field."""
    monkeypatch.setenv("RECONCILER_SECRET_GIT", "s3cret")
    assert writable.post("/sign-in", data={"token": TOKEN}).status_code == 303
    empty = writable.get("/new?kind=Project").get_data(as_text=True)
    form_token = empty.partition('name="form_token" value="')[2].partition('"')[0]
    filled = {"form_token": form_token, "kind": "Project", "metadata.name": "shop", "spec.cluster": "dev"}
    wrong = writable.post("/new", data={**filled, "spec.repository.provider": "github"})
    assert wrong.status_code == 422
    filled |= {"spec.repository.provider": "github", "spec.repository.name": "acme/shop"}
    refused = writable.post("/new", data={**filled, "spec.repository.auth.token": "HOME"})
    assert refused.status_code == 422
    beside = refused.get_data(as_text=True).partition('name="spec.repository.auth.token"')[2].partition("</div>")[0]
    assert 'class="error"' in beside
    done = writable.post("/new", data={**filled, "spec.repository.auth.token": "RECONCILER_SECRET_GIT"})
    assert (done.status_code, done.headers["Location"]) == (303, "/tasks/1")
    auth = stored(database, "Project", "shop")["spec"]["repository"]["auth"]
    assert list(auth["token"]) == ["secret"]
    asked = writable.get("/resources/Project/shop/delete").get_data(as_text=True)
    assert "shop" in asked
    gone = writable.post("/resources/Project/shop/delete", data={"form_token": form_token, "name": "shop"})
    assert gone.status_code == 303
    assert ask(writable, "GET", "/api/v2/projects/shop")[1]["desiredState"] == "absent"


@pytest.mark.parametrize("plural", ["projects", "applicationsets"])
def test_the_same_guards_as_for_clusters(writable: FlaskClient, plural: str) -> None:
    path = f"/api/v2/{plural}"
    document = {"metadata": {"name": "shop"}, "spec": PROJECT}
    for method, place in (("POST", path), ("DELETE", f"{path}/shop")):
        assert ask(writable, method, place, document, Authorization="")[0] == 401
        assert ask(writable, method, place, document, Authorization="Bearer wrong")[0] == 401
        assert ask(writable, method, place, document, Origin="https://elsewhere.example")[0] == 403
        assert writable.open(place, method=method, headers={"Host": "elsewhere.example"}).status_code == 421
    assert ask(writable, "GET", f"{path}/nowhere")[0] == 404
    assert ask(writable, "GET", f"{path}/No%20Name")[0] == 404
    assert ask(writable, "DELETE", f"{path}/nowhere")[0] == 404
    assert ask(writable, "GET", f"{path}/nowhere/status")[0] == 404
    assert ask(writable, "GET", "/api/v2/projects/nowhere/environments")[0] == 404
