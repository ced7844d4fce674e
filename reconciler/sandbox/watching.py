"""WATCH: the lines of one stream, from a resourceVersion on. Called by `api`.

A watcher keeps only its place in the cluster's log of events; one that falls behind what is remembered is told 410
Gone and lists again, so a slow client costs no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from reconciler.sandbox import rendering, statuses
from reconciler.sandbox.reading import Selection
from reconciler.sandbox.resources import ResourceType
from reconciler.sandbox.state import ClusterState, Event, encode

_LONGEST = 3600.0
_BOOKMARK_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Watch:
    """One request: after which revision (None: send what is there first), for how long, with bookmarks or not."""

    type: ResourceType
    selection: Selection
    format: rendering.Format
    after: int | None
    seconds: float
    bookmarks: bool = False


def read_watch(
    resource_type: ResourceType, selection: Selection, wanted: rendering.Format, query: Mapping[str, str]
) -> Watch:
    """The watch that a query asks for. ApiError 400, 422."""
    if query.get("sendInitialEvents"):
        raise statuses.unprocessable("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch")
    version = query.get("resourceVersion", "")
    if version and not version.isdigit():
        raise statuses.bad_request(f"Invalid value: {version!r}: resourceVersion must be a number")
    seconds = query.get("timeoutSeconds", "")
    return Watch(
        type=resource_type,
        selection=selection,
        format=wanted,
        after=int(version) if version and version != "0" else None,
        seconds=min(float(seconds), _LONGEST) if seconds.isdigit() and int(seconds) else _LONGEST,
        bookmarks=query.get("allowWatchBookmarks", "").lower() in ("true", "1"),
    )


async def stream(state: ClusterState, watch: Watch, closing: asyncio.Event) -> AsyncIterator[bytes]:
    """The lines of a watch, until its time is over or the cluster stops."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + watch.seconds
    listener = state.subscribe()
    stopping = loop.create_task(closing.wait())
    try:
        if watch.after is None:
            after = state.revision
            for stored in state.select(watch.type.resource, watch.selection.namespace):
                if watch.selection.accepts(stored):
                    yield rendering.render_event(watch.type, "ADDED", stored, watch.format)
        else:
            after = watch.after
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


def _bookmark(resource_type: ResourceType, revision: int) -> bytes:
    value = {"kind": resource_type.kind, "apiVersion": resource_type.api_version}
    body = encode({**value, "metadata": {"resourceVersion": str(revision), "creationTimestamp": None}})
    return b'{"type":"BOOKMARK","object":%b}\n' % body
