"""WATCH: the lines of one stream, from a resourceVersion on. Called by `api`.

A watcher keeps only its place in the cluster's log of events; one that falls behind what is remembered is told 410
Gone and lists again, so a slow client costs no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.sandbox import reading, rendering, statuses
from reconciler.sandbox.reading import Selection
from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.state import ClusterState, Event, encode

_LONGEST = 3600.0
_BOOKMARK_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Watch:
    """One request: after which revision (None: from now), for how long, with bookmarks or not.

    initial: send first what is there; initial_end: a bookmark says where that ends (a streamed list).
    """

    type: ResourceType
    selection: Selection
    format: rendering.Format
    after: int | None
    seconds: float
    bookmarks: bool = False
    initial: bool = False
    initial_end: bool = False


def read_watch(
    state: ClusterState,
    resource_type: ResourceType,
    selection: Selection,
    wanted: rendering.Format,
    query: Mapping[str, str],
) -> Watch:
    """The watch that a query asks for. ApiError 400, 422, 504."""
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    streamed = query.get("sendInitialEvents", "")
    if not streamed and match:
        raise statuses.unprocessable(f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided")
    if streamed and match != "NotOlderThan":
        raise statuses.unprocessable(f"{_MATCH} must be NotOlderThan when sendInitialEvents is provided")
    after = reading.read_version(state, version) if streamed else _read_after(version)
    bookmarks = query.get("allowWatchBookmarks", "").lower() in ("true", "1")
    initial = streamed.lower() in ("true", "1") if streamed else not after
    seconds = query.get("timeoutSeconds", "")
    known = seconds.isascii() and seconds.isdigit() and len(seconds) < 10 and int(seconds)
    return Watch(
        type=resource_type,
        selection=selection,
        format=wanted,
        after=after or None,
        seconds=min(float(seconds), _LONGEST) if known else _LONGEST,
        bookmarks=bookmarks,
        initial=initial,
        initial_end=bool(streamed) and initial and bookmarks,
    )


_MATCH = "resourceVersionMatch: Forbidden: resourceVersionMatch"


def _read_after(version: str) -> int | None:
    if version and (not version.isascii() or not version.isdigit() or len(version) > 19):
        raise statuses.bad_request(f"Invalid value: {version[:40]!r}: resourceVersion must be a number")
    return int(version) if version else None


async def stream(state: ClusterState, watch: Watch, closing: asyncio.Event) -> AsyncIterator[bytes]:
    """The lines of a watch, until its time is over or the cluster stops."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + watch.seconds
    listener = state.subscribe()
    stopping = loop.create_task(closing.wait())
    try:
        after = state.revision if watch.initial or watch.after is None else watch.after
        if watch.initial:
            for stored in state.select(watch.type.resource, watch.selection.namespace):
                if watch.selection.accepts(stored):
                    yield rendering.render_event(watch.type, "ADDED", stored, watch.format)
        if watch.initial_end:
            yield _bookmark(watch.type, after, end=True)
        while not closing.is_set():
            listener.clear()
            if not state.remembers(after):
                gone = statuses.expired(f"too old resource version: {after} ({state.revision})")
                yield rendering.render_error_event(gone)
                return
            for event in state.events_after(after):
                after = event.revision
                line = _line(watch, event)
                if line:
                    yield line
            if listener.is_set():
                continue
            left = deadline - loop.time()
            if left <= 0:
                return
            if not await _woken(listener, stopping, min(left, _BOOKMARK_EVERY)) and watch.bookmarks:
                yield _bookmark(watch.type, after)
    finally:
        stopping.cancel()
        state.unsubscribe(listener)


async def _woken(listener: asyncio.Event, stopping: asyncio.Task[bool], seconds: float) -> bool:
    waiting = asyncio.get_running_loop().create_task(listener.wait())
    try:
        done, _ = await asyncio.wait({waiting, stopping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return bool(done)


def _line(watch: Watch, event: Event) -> bytes:
    """What an event means to this watch: leaving the selection is a deletion for it, entering an addition."""
    if event.current.key.resource != watch.type.resource:
        return b""
    is_in = event.kind != "DELETED" and watch.selection.accepts(event.current)
    was_in = event.previous is not None and watch.selection.accepts(event.previous)
    if is_in:
        kind = "MODIFIED" if was_in else "ADDED"
    elif was_in:
        kind = "DELETED"
    else:
        return b""
    return rendering.render_event(watch.type, kind, event.current, watch.format)


def _bookmark(resource_type: ResourceType, revision: int, *, end: bool = False) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    body = encode({"kind": resource_type.kind, "apiVersion": resource_type.api_version, "metadata": metadata})
    return b'{"type":"BOOKMARK","object":%b}\n' % body
