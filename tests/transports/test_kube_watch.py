"""Watching: events as they come, how a watch ends, what a server that misbehaves means. See also tests/conformance."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tls_api import Api

from reconciler.errors import ReconcilerError, TerminalError, TransientError, UnreachableError
from reconciler.transports import https_stream, kube_watch
from reconciler.transports.kube import KubeTransport
from reconciler.transports.kube_watch import WatchEvent

PODS = "/api/v1/pods"


@pytest.fixture
def kube(api: Api, tmp_path: Path) -> Iterator[KubeTransport]:
    with KubeTransport(api.kubeconfig(tmp_path), timeout=2.0) as transport:
        yield transport


def event(kind: str, version: int, **metadata: Any) -> bytes:
    """One line of a watch."""
    metadata = {"name": "p", "resourceVersion": str(version), **metadata}
    return json.dumps({"type": kind, "object": {"kind": "Pod", "metadata": metadata}}).encode() + b"\n"


def streaming(*parts: bytes, held: threading.Event | None = None, end: bool = True) -> Callable[[Any], None]:
    """Answers with these parts, a chunk each. held: then waits for it. end: properly at last, or cut off."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in parts:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            handler.wfile.flush()
        if held is not None:
            held.wait(10)
        if end:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.close_connection = True

    return reply


def test_events_come_in_order_and_the_watch_ends_with_its_time(api: Api, kube: KubeTransport) -> None:
    """Also where the lines are cut at any place."""
    told = event("ADDED", 3) + event("MODIFIED", 4) + event("BOOKMARK", 9) + event("DELETED", 10)
    api.replies[f"GET {PODS}"] = streaming(told[:20], told[20:21], told[21:])
    with kube.watch(PODS, resource_version="2", label_selector="a=b", timeout=30, metadata_only=True) as watch:
        seen = [(one.type, one.resource_version) for one in watch]
    assert seen == [("ADDED", "3"), ("MODIFIED", "4"), ("BOOKMARK", "9"), ("DELETED", "10")]
    query = parse_qs(urlsplit(api.seen[-1][1]).query)
    assert query == {
        "watch": ["true"],
        "resourceVersion": ["2"],
        "allowWatchBookmarks": ["true"],
        "timeoutSeconds": ["30"],
        "labelSelector": ["a=b"],
    }


def test_an_event_is_there_before_the_next_one(api: Api, kube: KubeTransport) -> None:
    held = threading.Event()
    api.replies[f"GET {PODS}"] = streaming(event("ADDED", 3), held=held)
    with kube.watch(PODS, resource_version="2") as watch:
        assert next(watch).metadata["name"] == "p"
        held.set()
        assert list(watch) == []


def test_the_revision_to_begin_with_costs_one_object(api: Api, kube: KubeTransport) -> None:
    api.replies[f"GET {PODS}"] = (200, {"kind": "PodList", "metadata": {"resourceVersion": "77"}, "items": []})
    assert kube.revision(PODS) == "77"
    assert api.seen[-1][1] == f"{PODS}?limit=1"


@pytest.mark.parametrize("begun", [True, False])
def test_another_thread_cancels_at_once(api: Api, kube: KubeTransport, begun: bool) -> None:
    """While the watch waits for an event, and while it waits for the answer to begin."""
    held, waits = threading.Event(), threading.Event()

    def silent(_handler: BaseHTTPRequestHandler) -> None:
        waits.set()
        held.wait(10)

    api.replies[f"GET {PODS}"] = streaming(event("ADDED", 3), held=held) if begun else silent
    seen: list[WatchEvent] = []
    watch = kube.watch(PODS, resource_version="2")

    def read() -> None:
        with watch:
            for one in watch:
                seen.append(one)
                waits.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert waits.wait(5)
    started = time.monotonic()
    watch.cancel()
    reader.join(5)
    took = time.monotonic() - started
    held.set()
    assert not reader.is_alive()
    assert took < 1.5, f"{took:.2f} s"
    assert len(seen) == begun


def test_a_watch_that_was_cancelled_before_asks_nothing(api: Api, kube: KubeTransport) -> None:
    watch = kube.watch(PODS, resource_version="2")
    watch.cancel()
    with watch:
        assert list(watch) == []
    assert api.seen == []


GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 2 (900)"}
ENDS: dict[str, tuple[Any, type[ReconcilerError], str, str]] = {
    "too old, said at once": ((410, GONE), TransientError, "Expired", "too old resource version"),
    "too old, said in the stream": (
        streaming(json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n"),
        *(TransientError, "Expired", "too old resource version"),
    ),
    "an error in the stream": (
        streaming(b'{"type": "ERROR", "object": {"message": "etcd is away"}}\n'),
        *(TransientError, "ServerError", "etcd is away"),
    ),
    "not allowed": ((403, {"message": "pods is forbidden"}), TerminalError, "Forbidden", "pods is forbidden"),
    "not found": ((404, {"message": "no such type"}), TransientError, "NotFound", "no such type"),
    "too many": ((429, {"message": "slow down"}), TransientError, "ServerError", "slow down"),
    "no answer of an API": ((200, b"<html>welcome</html>"), UnreachableError, "NotKubernetes", "events in JSON"),
    "no event": (streaming(b'{"type": "ADDED"}\n'), UnreachableError, "NotKubernetes", "events in JSON"),
    "cut off": (streaming(event("ADDED", 3), end=False), UnreachableError, "Unreachable", "127.0.0.1"),
}


@pytest.mark.parametrize(("reply", "error", "reason", "says"), ENDS.values(), ids=ENDS)
def test_how_a_watch_may_fail(
    api: Api, kube: KubeTransport, reply: Any, error: type[ReconcilerError], reason: str, says: str
) -> None:
    api.replies[f"GET {PODS}"] = reply
    with kube.watch(PODS, resource_version="2") as watch, pytest.raises(error, match=says) as caught:
        list(watch)
    assert type(caught.value) is error
    assert caught.value.reason == reason


def test_a_server_that_never_ends_a_watch_is_left(
    api: Api, kube: KubeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time and a little more; not its time anew with every event."""
    monkeypatch.setattr(kube_watch, "GRACE", 0.3)
    held = threading.Event()
    api.replies[f"GET {PODS}"] = streaming(event("ADDED", 3), held=held)
    started = time.monotonic()
    with kube.watch(PODS, resource_version="2", timeout=0.2) as watch, pytest.raises(UnreachableError, match="within"):
        list(watch)
    took = time.monotonic() - started
    held.set()
    assert took < 5


def test_a_line_without_an_end_is_refused(api: Api, kube: KubeTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https_stream, "LONGEST_LINE", 1000)
    held = threading.Event()
    api.replies[f"GET {PODS}"] = streaming(*[b"x" * 700] * 3, held=held)
    with kube.watch(PODS, resource_version="2") as watch, pytest.raises(TransientError, match="a line of over"):
        list(watch)
    held.set()


def test_what_a_secret_holds_stands_in_no_text() -> None:
    told = WatchEvent("ADDED", {"kind": "Secret", "data": {"token": "hunter2"}})
    assert "hunter2" not in repr(told)
