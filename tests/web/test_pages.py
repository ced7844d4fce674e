"""Every page shows what the store holds, escapes all of it, and says what to do next."""

from __future__ import annotations

import re
import sqlite3
import time
from html.parser import HTMLParser
from typing import Any

import pytest
from filled_store import CHINESE, KEY, PASSWORD, Filling
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from reconciler.model.plan import Action
from reconciler.model.secret import Secret
from reconciler.store import tables
from reconciler.store.database import Database
from web.app import create_flask_app

PAGES = (
    "/",
    "/resources",
    "/resources?q=cluster&kind=Cluster&standing=wrong&sort=name",
    "/resources/Cluster/dev",
    "/resources/Cluster/broken",
    "/resources/Cluster/careful",
    "/resources/Cluster/forgotten",
    "/resources/Cluster/left",
    "/resources/Cluster/upgrading",
    "/resources/Project/shop",
    "/runs",
    "/runs/1",
    "/runs/2",
    "/runs/3",
    "/activity",
    "/activity?type=alarm",
    "/graph",
)


class Outline(HTMLParser):
    """The elements and attributes of a page, and what is not closed properly."""

    VOID = frozenset({"meta", "link", "input", "br", "img", "rect", "path", "circle", "use"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")


def plain(text: str) -> str:
    """A page's text without markup, white space as one blank."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_well_formed_and_runs_nothing_of_what_it_shows(
    filled: Filling, client: FlaskClient, path: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    outline = Outline(answer.text)
    assert outline.wrong == []
    assert outline.open == []
    for tag, attributes in outline.elements:
        assert tag not in ("img", "iframe", "style", "object", "embed"), tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("href", "src", "action"):
            assert re.match(r"[/#]", attributes.get(name) or "/"), f"{name} leaves the page: {attributes}"
        if tag == "script":
            assert (attributes.get("src") or "").startswith("/static/")
    assert "<script>window" not in answer.text
    assert "&amp;49" not in answer.text, "template syntax in data was expanded"


@pytest.mark.parametrize("path", [*PAGES, "/steps/2/log"])
def test_no_page_shows_a_secret_or_its_digest(filled: Filling, client: FlaskClient, path: str) -> None:
    text = client.get(path).text
    assert PASSWORD not in text
    assert Secret(PASSWORD, "env:T").keyed_digest(KEY) not in text
    assert "d" * 64 not in text


@pytest.mark.parametrize("path", PAGES)
def test_identifiers_are_unique_and_every_control_has_a_label(filled: Filling, client: FlaskClient, path: str) -> None:
    elements = Outline(client.get(path).text).elements
    identifiers = [attributes["id"] for _, attributes in elements if attributes.get("id")]
    assert len(identifiers) == len(set(identifiers))
    keys = [attributes["data-key"] for _, attributes in elements if attributes.get("data-key")]
    assert len(keys) == len(set(keys)), "what the reader opened could not be told apart"
    labelled = [attributes["aria-labelledby"] for _, attributes in elements if attributes.get("aria-labelledby")]
    assert set(labelled) <= set(identifiers)
    uses = {attributes["href"] for tag, attributes in elements if tag == "use"}
    assert uses <= {f"#{identifier}" for identifier in identifiers}, "an icon is missing"


def test_the_overview_tells_what_is_wrong_what_runs_and_what_changed(filled: Filling, client: FlaskClient) -> None:
    text = plain(client.get("/").text)
    assert "7 of 16 resources need attention" in text
    wrong = text[text.index("What is wrong") : text.index("What changed")]
    order = [
        "RunsWhilePaused",
        "/mnt/away",
        "specs/bad.yaml:7:3",
        "typo",
        "CreateFailed",
        "Unreachable",
        "NeedsApproval",
    ]
    places = [wrong.index(word) for word in order]
    assert places == sorted(places), "worst first"
    assert CHINESE in wrong
    assert "reconciler approve Cluster/careful" in wrong
    assert "reconciler resume Cluster/forgotten" in wrong
    running = text[text.index("What is running") : text.index("Resources by kind")]
    assert "Wait for nodes" in running
    assert "40 %" in running
    assert "Nobody is at it" in running
    assert "changed=0" in text
    assert "Daemon Running" in text


def test_the_overview_of_a_healthy_store_says_so(filling: Filling, client: FlaskClient) -> None:
    filling.want(filling.resource("dev"))
    filling.report("dev", "AsDesired", ready="True", message="as desired")
    lease = filling.daemon()
    text = plain(client.get("/").text)
    assert "Everything is as desired" in text
    assert "No alarm, nothing failed" in text
    assert "reconciler daemon" not in text
    lease.release()
    assert "The daemon was stopped" in plain(client.get("/").text)


def test_a_daemon_that_died_is_the_first_thing_to_read(filling: Filling, client: FlaskClient) -> None:
    filling.want(filling.resource("dev"))
    filling.daemon()
    with filling.database.write() as connection:
        connection.execute(update(tables.leases).values(pid_start=1))
    text = plain(client.get("/").text)
    assert "Something needs attention" in text
    assert "The daemon is not running" in text
    assert text.index("The daemon is not running") < text.index("What changed")


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/", "reconciler plan specs/"),
        ("/resources", "reconciler plan specs/"),
        ("/runs", "reconciler apply specs/"),
        ("/activity", "reconciler apply specs/"),
        ("/graph", "dependsOn"),
    ],
)
def test_an_empty_store_says_what_to_do_next(database: Database, client: FlaskClient, path: str, advice: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert advice in answer.text


def rows(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a class="ref" href="([^"]+)"', text)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=env%3Dprod", ["/resources/Cluster/prod"]),
        ("q=PLATFORM", ["/resources/Cluster/dev"]),
        ("q=unreachable", ["/resources/Cluster/faraway"]),
        ("q=specs/project", ["/resources/Project/shop"]),
        ("q=dev+management", ["/resources/Cluster/devops"]),
        ("kind=Project", ["/resources/Project/shop"]),
        ("standing=blocked", ["/resources/Cluster/careful"]),
        ("name=pro*", ["/resources/Cluster/prod"]),
        ("label=env%3Dstaging", ["/resources/Cluster/staging"]),
        ("q=nothing-like-this", []),
    ],
)
def test_the_list_is_filtered(filled: Filling, client: FlaskClient, query: str, expected: list[str]) -> None:
    answer = client.get(f"/resources?{query}")
    assert rows(answer.text) == expected
    if not expected:
        assert "Nothing matches" in answer.text


def test_the_list_is_worst_first_or_by_name_and_comes_in_parts(filled: Filling, client: FlaskClient) -> None:
    worst = rows(client.get("/resources").text)
    assert worst[:2] == ["/resources/Cluster/typo", "/resources/Cluster/broken"]
    assert worst[-1] == "/resources/Cluster/staging"
    by_name = rows(client.get("/resources?sort=name").text)
    assert by_name == sorted(by_name)
    first = client.get("/resources?limit=10")
    following = re.search(r'href="([^"]*offset=10[^"]*)">Next', first.text)
    assert following
    second = client.get(following[1].replace("&amp;", "&"))
    assert rows(first.text) + rows(second.text) == worst


def test_a_resource_page_shows_drift_approval_conditions_and_steps(filled: Filling, client: FlaskClient) -> None:
    careful = plain(client.get("/resources/Cluster/careful").text)
    assert "Waits for an approval" in careful
    assert "reconciler approve Cluster/careful" in careful
    assert "spec.servers − 1 + 3" in careful
    assert "spec.token − *** + ***" in careful
    assert "NeedsApproval" in careful[careful.index("Conditions") :]
    dev = client.get("/resources/Cluster/dev")
    widths = [float(width) for width in re.findall(r'<rect class="good" x="[\d.]+" width="([\d.]+)"', dev.text)]
    assert widths == pytest.approx([5.0, 61.7, 30.0, 3.3], abs=0.2), "bars are shares of the change's 30 seconds"
    text = plain(dev.text)
    assert [step in text for step in ("Check the host 1.5s", "Wait for nodes 9.0s")] == [True, True]
    assert "port: 8080" in text
    assert "Needed by Project/ shop" in text


def test_a_failed_step_shows_its_log_at_once(filled: Filling, client: FlaskClient) -> None:
    text = client.get("/resources/Cluster/broken").text
    opened = re.findall(r'<details data-key="log-(\d+)"( open)?>', text)
    assert [bool(is_open) for _, is_open in opened] == [False, True]
    assert text.count("line &lt;script&gt;window.hacked=1&lt;/script&gt;") == 80


def test_a_resource_that_was_deleted_keeps_its_history(filled: Filling, client: FlaskClient) -> None:
    with filled.database.write() as connection:
        connection.execute(tables.resources.delete().where(tables.resources.c.name == "dev"))
        connection.execute(tables.statuses.delete().where(tables.statuses.c.name == "dev"))
    answer = client.get("/resources/Cluster/dev")
    assert answer.status_code == 200
    assert "No longer there" in answer.text
    assert "Create the cluster" in answer.text


def test_a_long_log_is_shown_from_its_end_and_whole_as_text(filled: Filling, client: FlaskClient) -> None:
    lease, change_id = filled.change(filled.run(), "dev", Action.UPDATE)
    step_id = filled.step(lease, change_id, 0, "Much to say", log="first line\n" + "x" * 70_000 + "\nlast line\n")
    page = client.get("/resources/Cluster/dev").text
    assert "last line" in page
    assert "first line" not in page
    whole = client.get(f"/steps/{step_id}/log")
    assert whole.mimetype == "text/plain"
    assert whole.text.startswith("first line")
    assert client.get("/steps/99999/log").status_code == 404


def test_runs_and_activity_come_in_parts(filling: Filling, client: FlaskClient) -> None:
    for number in range(120):
        filling.tell("normal", f"Event{number}", "m")
    for _ in range(51):
        filling.run()
    runs = client.get("/runs").text
    assert len(re.findall(r">Run \d+<", runs)) == 50
    assert ">Run 1<" in client.get("/runs?before=2").text
    older = re.search(r'href="(/activity\?before=\d+)"', client.get("/activity").text)
    assert older
    assert "Event19<" in client.get(older[1]).text


def test_a_lost_run_is_not_shown_as_running(filling: Filling, client: FlaskClient) -> None:
    filling.want(filling.resource("dev"))
    run_id = filling.run()
    lease, change_id = filling.change(run_id, "dev", Action.CREATE)
    filling.step(lease, change_id, 0, "Wait for nodes")
    assert "Its process is gone" not in client.get("/resources/Cluster/dev").text
    with filling.database.write() as connection:
        connection.execute(update(tables.runs).values(pid_start=1))
    for path in ("/runs", f"/runs/{run_id}", "/resources/Cluster/dev", "/"):
        assert "Its process is gone" in client.get(path).text


@pytest.mark.parametrize("path", ["/nowhere", "/resources/Cluster/nobody", "/runs/999", "/runs/99999999999999999999"])
def test_what_is_not_there_is_a_friendly_404(database: Database, client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert 'href="/resources"' in answer.text


@pytest.mark.parametrize("path", ["/resources?offset=-1", "/runs?before=x", "/activity?before=1e9"])
def test_a_question_that_makes_no_sense_is_a_400(database: Database, client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 400


@pytest.mark.parametrize("path", ["/", "/resources", "/runs/1", "/graph"])
def test_a_damaged_database_is_said_with_when_to_come_back(filled: Filling, path: str) -> None:
    with sqlite3.connect(filled.database.path) as connection:
        connection.execute("DROP TABLE events")
        connection.execute("DROP TABLE statuses")
        connection.execute("DROP TABLE changes")
    connection.close()
    answer = create_flask_app(filled.database).test_client().get(path)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "The database does not answer" in answer.text


def test_an_unexpected_error_shows_no_traceback(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    app: Flask = create_flask_app(database)

    def fails() -> str:
        raise RuntimeError("inner words")

    app.add_url_rule("/fails", view_func=fails)
    answer = app.test_client().get("/fails")
    assert answer.status_code == 500
    assert "inner words" not in answer.text
    assert "inner words" in caplog.text


def test_five_thousand_resources_are_shown_in_one_request(
    filling: Filling, client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    filling.want(*(filling.resource(f"r{number:04}", labels={"env": "dev"}) for number in range(5000)))
    client.get("/resources")
    figures: dict[str, Any] = {}
    for path in ("/", "/resources", "/resources?limit=20000", "/api/v2/resources?limit=20000"):
        started = time.perf_counter()
        answer = client.get(path)
        figures[path] = f"{time.perf_counter() - started:.3f} s"
        assert answer.status_code == 200
    assert len(rows(client.get("/resources?limit=20000").text)) == 5000
    with capsys.disabled():
        print(f"\n5,000 resources: {figures}")
