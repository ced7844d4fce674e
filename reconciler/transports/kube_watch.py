"""WATCH: what happens to a collection of objects, one event a line. Made by `KubeTransport.watch`.

A watch tells that something moved, in order, from a resourceVersion on; it is no look: who is told looks again. It
ends by itself when its time is over, and is then begun anew after the last resourceVersion that it told.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from reconciler.errors import UnreachableError
from reconciler.transports.https_stream import Stream
from reconciler.transports.kube_errors import meaning, refuse

TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
GRACE = 10.0
"""Seconds that a server has to end a watch whose time is over."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """type: one of TYPES. object: as it is now, before its deletion; of a BOOKMARK only its resourceVersion counts."""

    type: str
    object: Mapping[str, Any] = field(repr=False)  # it may be a Secret

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The object's metadata."""
        found = self.object.get("metadata")
        return found if isinstance(found, Mapping) else {}

    @property
    def resource_version(self) -> str:
        """Up to where the watch has told."""
        return str(self.metadata.get("resourceVersion") or "")


class KubeWatch(Iterator[WatchEvent]):
    """The events of one watch. One thread iterates and closes; any thread may `cancel`.

    Iterating raises what `kube` says of answers, and UnreachableError when the connection breaks. It ends when the time
    is over or the watch was cancelled.
    """

    def __init__(self, stream: Stream, path: str, seconds: float) -> None:
        self._stream = stream
        self._path = path
        self._seconds = seconds
        self._begun: bool | None = None
        self._events = self._read()

    def __next__(self) -> WatchEvent:
        return next(self._events)

    def begin(self) -> bool:
        """Ask, and return once the server has agreed; False when it was cancelled.

        Without it, that happens before the first event.
        """
        if self._begun is None:
            status = self._stream.open(self._seconds + GRACE)
            if status is not None and status != http.client.OK:
                refuse("WATCH", self._path, status, _object(self._stream.refusal()) or {}, None)
            self._begun = status is not None
        return self._begun

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cancel(self) -> None:
        """End it, from any thread and at any time: who waits for an event stops waiting."""
        self._stream.cancel()

    def close(self) -> None:
        """Close the connection; for the thread that iterates. Safe to call more than once."""
        self._events.close()
        self._stream.close()

    def _read(self) -> Generator[WatchEvent, None, None]:
        if not self.begin():
            return
        for line in self._stream.lines():
            event = _object(line)
            about = event.get("object") if event is not None else None
            if event is None or not isinstance(about, dict):
                raise UnreachableError("NotKubernetes", f"{self._stream.server} does not tell events in JSON")
            if event.get("type") == "ERROR":
                code = about.get("code")
                says = str(about.get("message") or f"status {code}")
                raise meaning(code if type(code) is int else 500, about, f"WATCH {self._path}", says)
            if event.get("type") in TYPES:
                yield WatchEvent(event["type"], about)


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
