"""What is recorded of a pair of nodes, on its page and in the API: two columns, the time line, what to type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from filled_store import HOSTILE, Filling
from flask.testing import FlaskClient
from pair_rows import RUN, STEPS, WAITS, PairFilling

from web.admission import Admission
from web.presentation import timeline
from web.server import Served
from web.writing import Writer

Start = Callable[..., Served]
PAGE = "/resources/NodePair/shop"


@pytest.fixture
def pair(filling: Filling) -> PairFilling:
    """The pair `shop`, of which nothing but its document is recorded."""
    return PairFilling(filling)


def page(client: FlaskClient) -> str:
    answer = client.get(PAGE)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def told(client: FlaskClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.json


def test_row_4_11_status_of_both_nodes_is_answered(pair: PairFilling, client: FlaskClient) -> None:
    pair.looked("UNKNOWN")
    pair.synchronized()
    found = told(client, "/api/v2/rsync/shop")
    assert (found["interval"], found["lastSyncTime"], found["state"]) == (300.0, pair.now, "RSYNC_RUNNING")
    assert {role: node["rsync"]["status"] for role, node in found["nodes"].items()} == {
        "master": "UNKNOWN",
        "backup": "RUNNING",
    }
    upgrade = pair.upgrade(done=4)
    found = told(client, "/api/v2/rsync/shop")
    assert (
        found["nodes"]["master"]["rsync"].items() >= {"paused": True, "reason": "UPGRADE", "resumeTime": None}.items()
    )
    assert (found["upgrade"]["id"], found["upgrade"]["run"], found["upgrade"]["status"]) == (upgrade, RUN, "RUNNING")
    assert [step["status"] for step in found["upgrade"]["steps"]] == ["DONE"] * 4 + ["RUNNING"] + ["PENDING"] * 9

    older = told(client, "/api/rsync/status")
    assert (older["sync_interval_seconds"], older["last_sync_time"]) == (300.0, found["lastSyncTime"])
    assert [node["node_type"] for node in older["nodes"]] == ["MASTER", "BACKUP"]
    assert older["nodes"][0].items() >= {"node_ip": "10.77.0.2", "service_status": "STOPPED", "is_paused": True}.items()
    assert older["nodes"][0]["pause_time"] == found["nodes"]["master"]["rsync"]["pauseTime"]


def test_row_4_12_history_is_answered_newest_first(pair: PairFilling, client: FlaskClient) -> None:
    upgrade = pair.upgrade(done=2)
    for number in range(12):
        pair.synchronized(
            upgrade, "TIMEOUT" if number == 11 else "SUCCESS", "not done within 120 s" if number == 11 else ""
        )
    found = told(client, "/api/v2/rsync/shop/history")["history"]
    assert [one["id"] for one in found] == list(range(12, 2, -1))
    assert (found[0]["status"], found[0]["error"], found[0]["duration"]) == ("TIMEOUT", "not done within 120 s", 2)
    assert (found[0]["from"], found[0]["to"]) == ("10.77.0.2", "10.77.0.3")
    assert [file["path"] for file in found[0]["files"]] == ["/etc/shop/app.conf", "/etc/shop/old.conf"]
    assert len(told(client, "/api/v2/rsync/shop/history?limit=3")["history"]) == 3
    older = told(client, "/api/rsync/history?pair=shop")["history"]
    assert [one["sync_id"] for one in older] == [one["id"] for one in found]
    assert older[0].items() >= {"sync_status": "TIMEOUT", "error_message": "not done within 120 s"}.items()


def test_pairs_that_are_not_there_or_not_named_are_refused(filling: Filling, client: FlaskClient) -> None:
    assert client.get("/api/rsync/status").status_code == 404
    for name in ("shop", "other"):
        PairFilling(filling, name)
    assert client.get("/api/v2/rsync/nowhere").status_code == 404
    assert client.get("/api/v2/rsync/nowhere/history").status_code == 404
    refused = client.get("/api/rsync/status")
    assert (refused.status_code, "other or shop" in refused.get_data(as_text=True)) == (400, True)
    assert told(client, "/api/rsync/status?pair=other")["pair"] == "other"
    assert client.get("/api/v2/rsync/shop/history?limit=many").status_code == 400


def test_the_page_shows_both_nodes_and_the_time_line(pair: PairFilling, client: FlaskClient) -> None:
    pair.looked()
    text = page(client)
    assert "10.77.0.2" in text
    assert "10.77.0.3" in text
    assert "Last synchronization" in text
    assert "Upgrade to" not in text
    pair.upgrade(done=6)
    text = page(client)
    assert "Paused for the upgrade" in text
    assert "1 path" in text
    assert "暂停 rsync" in text
    assert text.count('aria-current="step"') == 1
    running = text[text.index('aria-current="step"') :]
    assert "Install on the backup" in running[: running.index("</li>")]
    assert "Not yet" in running


def test_what_waits_for_a_person_says_what_to_type(pair: PairFilling, client: FlaskClient) -> None:
    assert "reconciler rsync resolve" not in page(client)
    upgrade = pair.upgrade(done=len(STEPS) - 1)
    pair.wait(upgrade)
    text = page(client)
    assert WAITS in text
    assert "reconciler rsync resolve shop --keep master" in text
    assert "reconciler rsync resolve shop --keep backup" in text
    assert [one["command"] for one in told(client, "/api/v2/rsync/shop")["todo"]] == [
        f"reconciler rsync resolve shop --keep {side}" for side in ("master", "backup")
    ]


def test_what_nodes_say_is_markup_nowhere(pair: PairFilling, client: FlaskClient) -> None:
    upgrade = pair.upgrade(done=len(STEPS) - 1)
    pair.wait(upgrade, HOSTILE)
    pair.synchronized(upgrade, "FAILED", HOSTILE)
    pair.rows.note_look({"versions": {"master": HOSTILE}, "errors": {"backup": HOSTILE}}, pair.now)
    text = page(client)
    assert "<script>window" not in text
    assert text.count("&lt;script&gt;window") >= 5


def test_a_step_that_begins_renews_the_page(pair: PairFilling, writing: tuple[Writer, Admission], start: Start) -> None:
    upgrade = pair.upgrade(done=3)
    served = start(writing, poll=0.05)
    with httpx.Client(base_url=served.url) as asking, asking.stream("GET", "/events", timeout=30) as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("event:"))
        assert next(lines) == "event: hello"
        assert 'aria-current="step"' in asking.get(PAGE).text
        pair.now += 1
        pair.rows.step_ended(upgrade, STEPS[3], "FAILED", "rsync did not stop")
        assert next(lines) == "event: change"
        assert "rsync did not stop" in asking.get(PAGE).text


def test_the_time_line_is_to_scale_and_ends_now_while_it_runs() -> None:
    steps = [
        {"step": "a", "status": "DONE", "startedAt": 100.0, "endedAt": 150.0},
        {"step": "b", "status": "RUNNING", "startedAt": 150.0, "endedAt": None},
        {"step": "c", "status": "PENDING", "startedAt": None, "endedAt": None},
    ]
    running = timeline({"startedAt": 100.0, "endedAt": None, "steps": steps}, 200.0)
    assert [(one.state, one.start, one.width, one.seconds) for one in running] == [
        ("done", 0.0, 50.0, 50.0),
        ("running", 50.0, 50.0, 50.0),
        ("not_yet", 0.0, 0.0, None),
    ]
    over = timeline({"startedAt": 100.0, "endedAt": 160.0, "steps": steps[1:2]}, 200.0)
    assert [(one.state, one.seconds) for one in over] == [("interrupted", 10.0)]
    instant = timeline({"startedAt": 100.0, "endedAt": 100.0, "steps": steps[:1]}, 200.0)
    assert 0 <= instant[0].start <= instant[0].start + instant[0].width <= 100
