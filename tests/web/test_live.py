"""Viewers hear of every change, wait without a thread, resume where they were, and never hold each other back."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from filled_store import Filling

from reconciler.store import journal
from reconciler.store.database import Database
from web.asgi import create_asgi_app
from web.live import QUEUE, REPLAY, Live, Message, Viewer
from web.server import Served, serve
from web.settings import PageSettings

Start = Callable[..., Served]
DEADLINE = 20.0


class Stream:
    """One open stream, read line by line."""

    def __init__(self, served: Served, query: str = "", **headers: str) -> None:
        self.socket = socket.create_connection((served.host, served.port), timeout=DEADLINE)
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.socket.sendall(f"GET /events{query} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        while self.file.readline().strip():
            pass

    def messages(self) -> Iterator[tuple[str, Any, int]]:
        """(name, data, id) of each message; a comment is ("comment", text, 0). Ends with the stream."""
        name, data, number = "", "", 0
        for raw in self.file:
            line = raw.decode().strip()
            if line.startswith(":"):
                yield "comment", line[1:].strip(), 0
            elif line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("id:"):
                number = int(line[3:])
            elif line.startswith("data:"):
                data = line[5:].strip()
            elif not line and name:
                yield name, json.loads(data), number
                name, data, number = "", "", 0

    def until(self, wanted: str) -> tuple[Any, int]:
        """The next message of this name."""
        for name, data, number in self.messages():
            if name == wanted:
                return data, number
        raise AssertionError(f"the stream ended before a {wanted}")

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@contextmanager
def stream(served: Served, query: str = "", **headers: str) -> Iterator[Stream]:
    opened = Stream(served, query, **headers)
    try:
        yield opened
    finally:
        opened.close()


def test_a_change_of_the_store_is_told_with_its_event(filling: Filling, start: Start) -> None:
    with stream(start()) as viewer:
        assert viewer.status == 200
        hello, _ = viewer.until("hello")
        filling.tell("warning", "CreateFailed", "端口 <b>", "dev", actor="daemon")
        event, number = viewer.until("event")
        assert (event["reason"], event["message"], event["resource"]) == ("CreateFailed", "端口 <b>", "Cluster/dev")
        assert number == event["id"]
        change, _ = viewer.until("change")
        assert change["token"] != hello["token"]


def test_the_token_of_the_stream_is_the_token_of_the_page(filled: Filling, start: Start) -> None:
    served = start()
    page = httpx.get(f"{served.url}/").text
    with stream(served) as viewer:
        hello, _ = viewer.until("hello")
    assert f'data-token="{hello["token"]}"' in page


def test_progress_without_an_event_is_told_too(filled: Filling, start: Start) -> None:
    lease, change_id = filled.change(filled.run(), "fresh", _create())
    step_id = filled.step(lease, change_id, 0, "Wait for nodes")
    with stream(start()) as viewer:
        viewer.until("hello")
        journal.note_progress(lease, step_id, 55.0, "3 of 5 nodes")
        viewer.until("change")


def test_what_is_not_shown_is_not_told(filling: Filling, start: Start) -> None:
    lease = filling.daemon()
    with stream(start(poll=0.02, heartbeat=0.5)) as viewer:
        viewer.until("hello")
        assert lease.renew()
        assert next(viewer.messages())[0] == "comment", "a renewed lease is no news; a heartbeat comes instead"


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_viewer_resumes_after_the_last_event_that_it_saw(filling: Filling, start: Start, how: str) -> None:
    served = start()
    for number in range(5):
        filling.tell("normal", f"Event{number}", "m")
    query, headers = ("?after=3", {}) if how == "query" else ("", {"Last_Event_ID": "3"})
    with stream(served, query, **headers) as viewer:
        viewer.until("hello")
        assert [viewer.until("event")[0]["reason"] for _ in range(2)] == ["Event3", "Event4"]
        filling.tell("normal", "Event5", "m")
        assert viewer.until("event")[0]["reason"] == "Event5", "neither repeated nor left out"


def test_who_missed_too_much_is_told_to_fetch_anew(filling: Filling, start: Start) -> None:
    for number in range(REPLAY + 2):
        filling.tell("normal", f"Event{number}", "m")
    with stream(start(), "?after=1") as viewer:
        names = [name for name, _, _ in (next(viewer.messages()) for _ in range(2))]
    assert names == ["hello", "refresh"]


def test_an_event_between_connecting_and_resuming_is_told_once(filling: Filling, database: Database) -> None:
    async def run() -> list[str]:
        live = Live(database, PageSettings(poll=0.02))
        told, greeted, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
        heard: list[str] = []

        async def first(message: Any) -> None:
            content = message.get("body", b"")
            for word, seen in ((b"hello", greeted), (b"Between", told)):
                if word in content:
                    seen.set()

        async def second(message: Any) -> None:
            if message["type"] == "http.response.start":
                await go_on.wait()
            heard.append(message.get("body", b"").decode())

        tasks = [asyncio.create_task(live(_asked(), _stays, first))]
        await asyncio.wait_for(greeted.wait(), DEADLINE)
        tasks.append(asyncio.create_task(live(_asked(b"after=0"), _stays, second)))
        await asyncio.sleep(0)
        await asyncio.to_thread(filling.tell, "normal", "Between", "m")
        await asyncio.wait_for(told.wait(), DEADLINE)
        go_on.set()
        await asyncio.to_thread(filling.tell, "normal", "Later", "m")
        async with asyncio.timeout(DEADLINE):
            while not any("Later" in text for text in heard):
                await asyncio.sleep(0.01)
            await live.stop()
            await asyncio.gather(*tasks)
        return heard

    text = "".join(asyncio.run(run()))
    assert (text.count('"Between"'), text.count('"Later"')) == (1, 1)


def _asked(query: bytes = b"") -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/events", "query_string": query, "headers": []}


async def _stays() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


@pytest.mark.parametrize("text", ["-1", "abc", "9" * 40, "1 OR 1=1", "١"])
def test_an_id_that_is_none_is_ignored(filling: Filling, start: Start, text: str) -> None:
    response = httpx.stream("GET", f"{start().url}/events", params={"after": text}, timeout=DEADLINE)
    with response as opened:
        assert opened.status_code == 200
        assert next(opened.iter_lines()) == "retry: 2000"


def test_three_hundred_viewers_hear_at_once_and_cost_no_thread(filled: Filling, start: Start) -> None:
    served = start()
    with stream(served) as first:
        first.until("hello")
        before = threading.active_count()
        heard = asyncio.run(_crowd(served, 300, lambda: filled.tell("normal", "Told", "to all")))
        during = heard.pop("threads")
    assert heard == {"streams": 300, "told": 300}
    assert during - before <= 6, "waiting viewers hold no thread (the pool of the page and one that writes may)"


async def _crowd(served: Served, size: int, tell: Callable[[], None]) -> dict[str, int]:
    """Open many streams, make one event, count who heard of it."""
    opened = [await _open(served) for _ in range(size)]
    threads = threading.active_count()
    await asyncio.to_thread(tell)
    heard = await asyncio.gather(*(asyncio.wait_for(_hear(reader), DEADLINE) for reader, _ in opened))
    for _, writer in opened:
        writer.close()
    return {"streams": len(opened), "told": sum(heard), "threads": threads}


async def _open(served: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(served.host, served.port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"event: hello")
    return reader, writer


async def _hear(reader: asyncio.StreamReader) -> bool:
    await reader.readuntil(b'"reason": "Told"')
    return True


def test_pages_are_made_while_hundreds_watch(filled: Filling, start: Start) -> None:
    served = start(workers=2)

    async def ask() -> list[int]:
        opened = [await _open(served) for _ in range(200)]
        async with httpx.AsyncClient(base_url=served.url, timeout=DEADLINE) as client:
            answers = await asyncio.gather(*(client.get("/resources") for _ in range(8)))
        for _, writer in opened:
            writer.close()
        return [answer.status_code for answer in answers]

    assert asyncio.run(ask()) == [200] * 8
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("WSGI")]
    assert len(names) <= 2, "the pool of the pages is bounded"


def test_a_viewer_that_does_not_read_is_given_one_refresh_and_stops_nobody() -> None:
    async def offer() -> tuple[list[Message | None], list[Message | None]]:
        slow, quick = Viewer(0), Viewer(0)
        refresh = Message(b"refresh", 0)
        received: list[Message | None] = []
        for number in range(QUEUE * 3):
            for viewer in (slow, quick):
                viewer.offer([Message(str(number).encode(), number, is_event=True)], refresh)
            received.append(quick.queue.get_nowait())
        return [slow.queue.get_nowait() for _ in range(slow.queue.qsize())], received

    waiting, received = asyncio.run(offer())
    assert len(received) == QUEUE * 3
    assert waiting[0] is not None
    assert waiting[0].content == b"refresh"
    assert len(waiting) < QUEUE


def test_a_connection_that_never_reads_does_not_delay_the_others(filling: Filling, start: Start) -> None:
    served = start(poll=0.02)
    stuck = socket.create_connection((served.host, served.port), timeout=DEADLINE)
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with stream(served) as viewer:
        viewer.until("hello")
        for number in range(12):
            filling.tell("normal", f"Big{number}", "x" * 500_000)
            assert viewer.until("event")[0]["reason"] == f"Big{number}"
    stuck.close()


def test_streams_are_limited_in_number(filling: Filling, start: Start) -> None:
    served = start(max_viewers=2)
    with stream(served) as first, stream(served) as second:
        first.until("hello")
        second.until("hello")
        with stream(served) as third:
            assert third.status == 503
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with stream(served) as later:
            if later.status == 200:
                return
        time.sleep(0.05)
    raise AssertionError("places of viewers that left are not given to others")


def test_the_store_is_watched_only_while_somebody_watches(filling: Filling, database: Database) -> None:
    stop = threading.Event()
    app = create_asgi_app(database)
    served = serve(app, "127.0.0.1", 0, stop)
    live = app.state.live
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined] # a pool of connections
    for _ in range(2):
        with stream(served) as viewer:
            viewer.until("hello")
            assert database.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
            assert live.watching == 1
        deadline = time.monotonic() + DEADLINE
        while database.engine.pool.checkedout() and time.monotonic() < deadline:  # type: ignore[attr-defined]
            time.sleep(0.02)
        assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        assert live.watching == 0
    stop.set()
    assert served.join(DEADLINE)


def test_a_stop_ends_open_streams_promptly_and_leaves_no_thread(
    filling: Filling, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    stop = threading.Event()
    served = serve(create_asgi_app(database), "127.0.0.1", 0, stop)
    httpx.get(f"{served.url}/")
    with stream(served) as viewer:
        viewer.until("hello")
        started = time.monotonic()
        stop.set()
        assert list(viewer.messages()) == []
        assert served.join(DEADLINE)
        assert time.monotonic() - started < 5
    assert "timeout graceful shutdown exceeded" not in caplog.text, "the streams were cut, not ended"
    deadline = time.monotonic() + DEADLINE
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert set(threading.enumerate()) - before == set()


def test_a_database_that_fails_ends_no_server_and_heals(filling: Filling, database: Database, start: Start) -> None:
    served = start(poll=0.02)
    with stream(served) as viewer:
        viewer.until("hello")
        with database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE events RENAME TO events_away")
        assert httpx.get(f"{served.url}/activity").status_code == 503
        time.sleep(0.2)
        with database.write() as connection:
            connection.exec_driver_sql("ALTER TABLE events_away RENAME TO events")
        filling.tell("normal", "Healed", "m")
        viewer.until("change")


def _create() -> Any:
    from reconciler.model.plan import Action

    return Action.CREATE
