"""The remembered changes: lists of past moments, continue tokens, bounds. In process, on a real database file."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.sandbox import reading, state
from reconciler.sandbox.api import Api
from reconciler.sandbox.catalog import Catalog
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.reading import Selection, read_selection
from reconciler.sandbox.resources import CONFIG_MAPS
from reconciler.sandbox.state import Change, ClusterState
from reconciler.sandbox.statuses import ApiError
from reconciler.sandbox.storage import ClusterRow, Storage


@contextlib.contextmanager
def opened() -> Iterator[ClusterState]:
    with tempfile.TemporaryDirectory() as folder:
        storage = Storage(Path(folder) / "sandbox.db")
        try:
            storage.save_cluster(ClusterRow("x", "u", "1.32.0", 1, "t", 1, 0, "running", "2024-01-01T00:00:00Z", 0))
            yield ClusterState("x", storage)
        finally:
            storage.close()


def body(name: str, label: str = "a", size: int = 0) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"l": label}, "d": "x" * size},
    }


def write(objects: ClusterState, operation: tuple[str, str, str]) -> None:
    namespace, name, label = operation
    key = CONFIG_MAPS.key(namespace, name)
    if label == "gone":
        if objects.get(key) is not None:
            objects.delete(key)
    else:
        objects.write(key, body(name, label))


OPERATIONS = st.lists(st.tuples(st.sampled_from("mn"), st.sampled_from("abcdef"), st.sampled_from(["a", "b", "gone"])))


@settings(max_examples=150, deadline=None)
@given(
    before=OPERATIONS,
    between=st.lists(OPERATIONS, max_size=8),
    limit=st.integers(1, 4),
    namespace=st.sampled_from(["", "m"]),
    labels=st.sampled_from(["", "l=a"]),
)
def test_all_pages_show_the_moment_of_the_first(
    before: list[tuple[str, str, str]],
    between: list[list[tuple[str, str, str]]],
    limit: int,
    namespace: str,
    labels: str,
) -> None:
    with opened() as objects:
        for operation in before:
            write(objects, operation)
        selection = read_selection(CONFIG_MAPS, namespace, {"labelSelector": labels})
        expected = [one.encoded for one in objects.select(CONFIG_MAPS.resource, namespace) if selection.accepts(one)]
        found, token, revisions = [], "", set()
        for operations in itertools.chain(between, itertools.repeat([])):
            page = reading.list_page(objects, CONFIG_MAPS, selection, {"limit": str(limit), "continue": token})
            assert len(page.found) <= limit
            found += [one.encoded for one in page.found]
            revisions.add(page.metadata["resourceVersion"])
            token = page.metadata.get("continue", "")
            if not labels:
                assert page.metadata.get("remainingItemCount", 0) == len(expected) - len(found)
            if not token:
                break
            for operation in operations:
                write(objects, operation)
        assert found == expected
        assert len(revisions) == 1


@settings(max_examples=100, deadline=None)
@given(operations=OPERATIONS)
def test_every_remembered_moment_is_seen_as_it_was(operations: list[tuple[str, str, str]]) -> None:
    with opened() as objects:
        seen: dict[int, list[bytes]] = {}
        for operation in operations:
            write(objects, operation)
            seen[objects.revision] = [one.encoded for one in objects.select(CONFIG_MAPS.resource)]
        for revision, then in seen.items():
            assert [one.encoded for one in objects.select_as_of(revision, CONFIG_MAPS.resource)] == then


def test_a_token_from_before_what_is_remembered_says_how_to_go_on() -> None:
    with opened() as objects:
        objects.commit([Change(CONFIG_MAPS.key("n", name), body(name)) for name in "abcd"])
        page = reading.list_page(objects, CONFIG_MAPS, Selection(), {"limit": "2"})
        for _ in range(2 * state.REMEMBERED_EVENTS // 500 + 1):
            objects.commit([Change(CONFIG_MAPS.key("n", f"z{number}"), body("z")) for number in range(500)])
        objects.delete(CONFIG_MAPS.key("n", "c"))
        with pytest.raises(ApiError) as expired:
            reading.list_page(objects, CONFIG_MAPS, Selection(), {"limit": "2", "continue": page.metadata["continue"]})
        status = expired.value.status()
        assert (status["code"], status["reason"]) == (410, "Expired")
        query = {"limit": "1", "continue": status["metadata"]["continue"]}
        rest = reading.list_page(objects, CONFIG_MAPS, Selection(), query)
        assert [one.key.name for one in rest.found] == ["d"]
        assert rest.metadata["resourceVersion"] == str(objects.revision)


def test_what_is_remembered_is_bounded_in_number_and_size() -> None:
    with opened() as objects:
        for _ in range(3 * state.REMEMBERED_EVENTS // 500):
            objects.commit([Change(CONFIG_MAPS.key("n", f"z{number}"), body("z")) for number in range(500)])
        assert len(objects.events_after(0)) <= 2 * state.REMEMBERED_EVENTS
        assert not objects.remembers(0)
        for _ in range(3 * state.REMEMBERED_BYTES // 1_000_000):
            objects.write(CONFIG_MAPS.key("n", "large"), body("large", size=1_000_000))
        kept = objects.events_after(0)
        assert sum(len(event.current.encoded) for event in kept) <= 2 * state.REMEMBERED_BYTES
        assert objects.remembers(kept[0].revision)
        assert not objects.remembers(kept[0].revision - 2)


def test_more_watches_than_are_served_are_turned_away(tmp_path: Path) -> None:
    async def open_watch(api: Api, ended: asyncio.Event) -> tuple[int, bytes]:
        query = b"watch=1&resourceVersion=1&timeoutSeconds=60"
        scope = {"type": "http", "method": "GET", "path": "/api/v1/configmaps", "query_string": query}
        scope["headers"] = [(b"authorization", b"Bearer t")]
        first = asyncio.Event()
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not first.is_set():
                first.set()
                return {"type": "http.request", "body": b""}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await api(scope, receive, send)
        return sent[0]["status"], b"".join(one.get("body", b"") for one in sent)

    async def run(objects: ClusterState) -> list[tuple[int, bytes]]:
        api, ended = Api(Cluster("x", "1.32.0", "t", objects, Catalog(tmp_path)), "h:1"), asyncio.Event()
        objects.write(CONFIG_MAPS.key("n", "before"), body("before"))
        watches = [asyncio.create_task(open_watch(api, ended)) for _ in range(1010)]
        while sum(one.done() for one in watches) < 10:
            await asyncio.sleep(0)
        objects.write(CONFIG_MAPS.key("n", "after"), body("after"))
        await asyncio.sleep(0.1)
        ended.set()
        return await asyncio.gather(*watches)

    with opened() as objects:
        answers = asyncio.run(run(objects))
    assert sorted({status for status, _ in answers}) == [200, 429]
    refused = [json.loads(text) for status, text in answers if status == 429]
    assert len(refused) == 10
    assert refused[0]["reason"] == "TooManyRequests"
    served = [text for status, text in answers if status == 200]
    assert all(b'"after"' in text and b'"before"' not in text for text in served)
