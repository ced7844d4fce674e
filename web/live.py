"""Server-sent events: one task looks at the store and tells every viewer. Mounted by `asgi` as `/events`.

A viewer costs a queue and two coroutines, never a thread. The one tail runs only while somebody watches; it asks the
store in a thread of its own, so that a slow disk stops nobody. A viewer that cannot keep up gets a single `refresh`
instead of everything that it missed, and holds nobody else back.

    event: hello     data: {"token", "spread"}    at the start of every stream
    event: event     data: an event of the store   with its id, for `Last-Event-ID` or `?after=`
    event: change    data: {"token", "spread"}    something that is shown has changed
    event: refresh   data: {"token", "spread"}    you missed something: fetch anew

token: differs from the one in a page that is old. spread: seconds over which viewers should spread their next fetch,
because a thousand of them asking at once would help nobody.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import Table
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from reconciler.errors import DatabaseError
from reconciler.store import events, views
from reconciler.store.database import Database
from web.settings import PageSettings

QUEUE = 64
REPLAY = 200
FETCH_COST = 0.02
BACK_OFF = 2.0
_log = logging.getLogger("reconciler.web")


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. event: the id of the newest event that it tells of. is_event: it tells of just that one."""

    content: bytes
    event: int
    is_event: bool = False


@dataclass(eq=False, slots=True)
class Viewer:
    """One open stream. told: the newest event that was sent. None in the queue ends the stream."""

    told: int
    queue: asyncio.Queue[Message | None] = field(default_factory=lambda: asyncio.Queue(QUEUE))

    def offer(self, messages: Sequence[Message], refresh: Message) -> None:
        """Queue messages, or in place of everything a `refresh` where there is no room."""
        if self.queue.qsize() + len(messages) >= QUEUE:
            self._clear()
            messages = [refresh]
        for message in messages:
            self.queue.put_nowait(message)

    def end(self) -> None:
        """End the stream, whatever was still to be said."""
        self._clear()
        self.queue.put_nowait(None)

    def _clear(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()


class Live:
    """All viewers and the one tail. Everything but `watching` belongs to the event loop's thread.

    records: tables of kinds that pages are made of as well.
    """

    def __init__(self, database: Database, settings: PageSettings, records: Sequence[Table] = ()) -> None:
        self._database = database
        self._records = records
        self._settings = settings
        self._viewers: set[Viewer] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="page-tail")
        self._tasks: set[asyncio.Task[None]] = set()
        self._cursor: asyncio.Future[views.Cursor] | None = None
        self._closed = False

    @property
    def watching(self) -> int:
        """How many streams are open."""
        return len(self._viewers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /events`."""
        request = Request(scope, receive)
        if request.method not in ("GET", "HEAD"):
            refusal = {"reason": "MethodNotAllowed", "message": "only GET"}
            await JSONResponse(refusal, 405, {"Allow": "GET, HEAD"})(scope, receive, send)
        elif self._closed or self.watching >= self._settings.max_viewers:
            refusal = {"reason": "TooManyViewers", "message": "no more streams now"}
            await JSONResponse(refusal, 503, {"Retry-After": "10"})(scope, receive, send)
        elif request.method == "HEAD":
            await Response(media_type="text/event-stream")(scope, receive, send)
        else:
            await self._stream(request, receive, send)

    def close(self) -> None:
        """End every stream and take no new ones. To be called in the event loop's thread."""
        self._closed = True
        for viewer in self._viewers:
            viewer.end()

    async def stop(self) -> None:
        """`close`, and wait until the tail has given its connection back."""
        self.close()
        self._viewers.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown(wait=False)

    async def _stream(self, request: Request, receive: Receive, send: Send) -> None:
        viewer = Viewer(_last_event(request))
        self._viewers.add(viewer)
        gone = asyncio.create_task(_until_gone(receive, viewer))
        try:
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for content in self._messages(viewer):
                await send({"type": "http.response.body", "body": content, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._viewers.discard(viewer)

    async def _messages(self, viewer: Viewer) -> AsyncIterator[bytes]:
        """Greeting, what was missed, then whatever comes, with a comment now and then while nothing does."""
        try:
            cursor = await asyncio.shield(self._current())
            missed = await self._missed(viewer, cursor)
        except DatabaseError:
            return
        yield b"retry: 2000\n" + self._notice("hello", cursor).content
        for message in missed:
            yield message.content
        while True:
            try:
                told = await asyncio.wait_for(viewer.queue.get(), self._settings.heartbeat)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if told is None:
                return
            if not told.is_event or told.event > viewer.told:
                viewer.told = max(viewer.told, told.event)
                yield told.content

    async def _missed(self, viewer: Viewer, cursor: views.Cursor) -> list[Message]:
        """Events since `Last-Event-ID`, or one `refresh` where there are too many."""
        since, viewer.told = viewer.told, cursor.event
        if since < 0 or since >= cursor.event:
            return []
        if cursor.event - since > REPLAY:
            return [self._notice("refresh", cursor)]
        return await self._in_thread_events(since, cursor.event)

    def _current(self) -> asyncio.Future[views.Cursor]:
        """The newest cursor; begins to look when nobody does."""
        if self._cursor is None:
            self._cursor = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._follow())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._cursor

    async def _follow(self) -> None:
        """The tail, for as long as anybody watches. Should it die, it ends the streams: browsers come again."""
        try:
            while self._viewers:
                await self._watch()
        finally:
            self._fail(DatabaseError("NotWatched", "the tail of the store ended"))
            self._cursor = None
            for viewer in self._viewers:
                viewer.end()

    async def _watch(self) -> None:
        """Look, tell, sleep, until nobody watches any more or the store cannot be read."""
        loop = asyncio.get_running_loop()
        tail: views.Tail | None = None
        try:
            tail = await loop.run_in_executor(self._thread, views.Tail, self._database, self._records)
            while self._viewers:
                cursor = await loop.run_in_executor(self._thread, tail.poll)
                if cursor is not None:
                    await self._tell(cursor)
                await asyncio.sleep(self._settings.poll)
        except DatabaseError as error:
            _log.warning("the live page cannot read the store: %s", error)
            self._fail(error)
            await asyncio.sleep(BACK_OFF)
        finally:
            if tail is not None:
                await loop.run_in_executor(self._thread, tail.close)

    async def _tell(self, cursor: views.Cursor) -> None:
        before = self._cursor
        assert before is not None
        if not before.done():
            before.set_result(cursor)
            return
        since = before.result().event if before.exception() is None else cursor.event
        refresh = self._notice("refresh", cursor)
        messages = [refresh]
        if cursor.event - since <= REPLAY:
            happened = await self._in_thread_events(since, cursor.event) if cursor.event > since else []
            messages = [*happened, self._notice("change", cursor)]
        self._cursor = asyncio.get_running_loop().create_future()
        self._cursor.set_result(cursor)
        for viewer in self._viewers:
            viewer.offer(messages, refresh)

    def _fail(self, error: DatabaseError) -> None:
        """Let those who wait for the first cursor know that there is none; they come again."""
        if self._cursor is not None and not self._cursor.done():
            self._cursor.set_exception(error)
            self._cursor.exception()  # seen, also when nobody waits for it

    async def _in_thread_events(self, after: int, last: int) -> list[Message]:
        def read() -> list[events.Event]:
            with self._database.read() as connection:
                return events.listed(connection, after=after, limit=REPLAY)

        found = await asyncio.get_running_loop().run_in_executor(self._thread, read)
        return [_event_message(event) for event in found if event.id <= last]

    def _notice(self, name: str, cursor: views.Cursor) -> Message:
        told = json.dumps({"token": cursor.token, "spread": round(self.watching * FETCH_COST, 2)})
        return Message(f"id: {cursor.event}\nevent: {name}\ndata: {told}\n\n".encode(), cursor.event)


def _event_message(event: events.Event) -> Message:
    told = json.dumps(event.to_json(), ensure_ascii=True)
    return Message(f"id: {event.id}\nevent: event\ndata: {told}\n\n".encode(), event.id, is_event=True)


def _last_event(request: Request) -> int:
    """The id from which to resume, -1 for a viewer that only wants what comes."""
    text = request.headers.get("last-event-id") or request.query_params.get("after") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1


async def _until_gone(receive: Receive, viewer: Viewer) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewer.end()
