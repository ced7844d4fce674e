"""What is recorded of a project, on its page and in the API: environments with Flux' own words, and initialization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from filled_store import HOSTILE, Filling
from flask.testing import FlaskClient
from project_rows import ENVIRONMENTS, ID, MESSAGE, NAMESPACE, STEPS, put_project, say

from web.admission import Admission
from web.server import Served
from web.writing import Writer

Start = Callable[..., Served]

SPEC = {"cluster": "dev", "repository": {"provider": "github", "name": "acme/shop"}}


@pytest.fixture
def shop(filling: Filling) -> Filling:
    """The project `shop` is wanted; nothing is recorded of it yet."""
    filling.want(filling.resource("dev"), filling.resource("shop", "Project", SPEC))
    return filling


def page(client: FlaskClient, path: str = "/resources/Project/shop") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_row_3_12_the_first_page_shows_all_four_resources(shop: Filling, client: FlaskClient) -> None:
    put_project(shop.database)
    text = page(client)
    assert "0d3f1a2b-repo" in text
    for type_, _, reason, message in ENVIRONMENTS:
        assert type_.capitalize() in text
        assert reason in text
        assert message in text
    assert all(english in text for _, _, english in STEPS)
    assert "100 %" in text
    assert NAMESPACE in text


def test_initialization_is_shown_with_progress_and_what_failed(shop: Filling, client: FlaskClient) -> None:
    assert "Environments</h2>" not in page(client), "nothing is recorded yet"
    put_project(shop.database, done=5, error="HTTP 500 of the API: etcd leader changed")
    text = page(client)
    assert '<progress max="100" value="75"' in text
    assert "etcd leader changed" in text
    failed = text[: text.index("Set up GitOps")].rpartition("<li>")[2]
    assert "Failed" in failed


def test_the_api_says_the_same(shop: Filling, client: FlaskClient) -> None:
    assert client.get("/api/v2/projects/shop/environments").json == {"environments": []}
    put_project(shop.database)
    found: list[dict[str, Any]] = client.get("/api/v2/projects/shop/environments").json["environments"]  # type: ignore[index]
    assert [one["slug"] for one in found] == [type_ for type_, *_ in ENVIRONMENTS]
    assert found[2]["flux"] == {
        "id": "0d3f1a2b-production",
        "cluster": "dev",
        "namespace": NAMESPACE,
        "name": "0d3f1a2b-production",
        "status": "failed",
        "reason": "BuildFailed",
        "message": MESSAGE,
        "revision": "",
    }
    standing: Any = client.get("/api/v2/projects/shop/status").json
    assert standing["recorded"].items() >= {"id": ID, "status": "active", "progress": 100}.items()
    assert [(one["step"], one["status"]) for one in standing["recorded"]["steps"]] == [
        (step, "completed") for step, *_ in STEPS
    ]


def test_what_clusters_say_is_markup_nowhere(shop: Filling, client: FlaskClient) -> None:
    put_project(shop.database)
    say(shop.database, "staging", "failed", HOSTILE[:200], HOSTILE)
    text = page(client)
    assert "<script>window" not in text
    assert "&lt;script&gt;window" in text


def test_what_flux_says_anew_renews_the_page(shop: Filling, writing: tuple[Writer, Admission], start: Start) -> None:
    """Also where nothing else changes: Flux applied another commit, and all is as ready as it was."""
    put_project(shop.database)
    served = start(writing)
    with httpx.Client(base_url=served.url) as asking, asking.stream("GET", "/events", timeout=30) as stream:
        told = (line for line in stream.iter_lines() if line.startswith("event:"))
        assert next(told) == "event: hello"
        before = token(asking)
        say(shop.database, "development", "ready", "ReconciliationSucceeded", "Applied revision: main@sha1:77777777")
        assert next(told) == "event: change"
        assert token(asking) != before
        assert "main@sha1:77777777" in asking.get("/resources/Project/shop").text


def token(asking: httpx.Client) -> str:
    """What the page carries to know whether it is old."""
    return asking.get("/resources/Project/shop").text.partition('data-token="')[2].partition('"')[0]


def test_what_is_recorded_of_other_kinds_is_shown_as_it_is(filling: Filling, client: FlaskClient) -> None:
    filling.want(filling.resource("dev"))
    with filling.database.write() as connection:
        row = "INSERT INTO clusters (name, provider, http_port, actual_state) VALUES ('dev', 'k3d', 18090, 'running')"
        connection.exec_driver_sql(row)
    text = page(client, "/resources/Cluster/dev")
    assert "<dt>Http port</dt><dd>18090</dd>" in text
