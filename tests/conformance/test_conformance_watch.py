"""Watching through our own transport: what happens after a revision, on any API server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ReconcilerError
from reconciler.model.marks import MANAGED_BY
from reconciler.transports.kube import KubeTransport
from reconciler.transports.kube_watch import KubeWatch

OURS = {MANAGED_BY: "reconciler"}


@pytest.fixture
def kube(kubeconfig: Path) -> Iterator[KubeTransport]:
    with KubeTransport(kubeconfig) as transport:
        yield transport


def config_map(namespace: str, name: str, text: str = "a", **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}


def test_a_watch_tells_what_was_made_changed_and_deleted(kube: KubeTransport, namespace: str) -> None:
    """In order, only what the selector takes, and with the time each took."""
    path = kube.resource_path("v1", "ConfigMap", namespace)
    revision = kube.revision(path)
    kube.apply(config_map(namespace, "other"))
    kube.apply(config_map(namespace, "ours", **OURS))
    kube.apply(config_map(namespace, "ours", "b", **OURS))
    kube.delete(f"{path}/ours")
    with kube.watch(path, resource_version=revision, label_selector=f"{MANAGED_BY}=reconciler", timeout=30) as watch:
        seen = [(one.type, one.object) for one in (next(watch), next(watch), next(watch))]
    assert [(kind, found["metadata"]["name"]) for kind, found in seen] == [
        *(("ADDED", "ours"), ("MODIFIED", "ours"), ("DELETED", "ours"))
    ]
    assert [found["data"]["text"] for _, found in seen] == ["a", "b", "b"]


def test_an_event_comes_at_once_and_only_metadata_where_that_is_asked(kube: KubeTransport, namespace: str) -> None:
    path = kube.resource_path("v1", "Secret", namespace)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace, "labels": OURS}}
    with kube.watch(path, resource_version=kube.revision(path), timeout=30, metadata_only=True) as watch:
        asked = threading.Timer(0.5, lambda: kube.apply({**secret, "stringData": {"token": "hunter2"}}))
        asked.start()
        told = next(watch)
        asked.join()
    assert told.object["kind"] == "PartialObjectMetadata"
    assert told.metadata["labels"] == OURS
    assert told.resource_version
    assert "data" not in told.object
    assert "aHVudGVyMg" not in str({**told.object, "metadata": {**told.metadata, "managedFields": None}})


def test_a_watch_begins_again_where_another_ended(kube: KubeTransport, namespace: str) -> None:
    path = kube.resource_path("v1", "ConfigMap", namespace)
    first = kube.watch(path, resource_version=kube.revision(path), timeout=30)
    kube.apply(config_map(namespace, "one"))
    with first:
        last = next(one.resource_version for one in first if one.metadata["name"] == "one")
    kube.apply(config_map(namespace, "two"))
    with kube.watch(path, resource_version=last, timeout=30) as second:
        assert next(second).metadata["name"] == "two"


def test_a_watch_ends_with_its_time_and_says_how_far_it_came(kube: KubeTransport, namespace: str) -> None:
    path = kube.resource_path("v1", "ConfigMap", namespace)
    started = time.monotonic()
    with kube.watch(path, resource_version=kube.revision(path), timeout=1) as watch:
        assert all(one.type == "BOOKMARK" or one.metadata["name"] == "kube-root-ca.crt" for one in watch)
    assert time.monotonic() - started < 10


def test_another_thread_ends_a_watch(kube: KubeTransport, namespace: str) -> None:
    path = kube.resource_path("v1", "Pod", namespace)
    watch = kube.watch(path, resource_version=kube.revision(path), timeout=60)
    threading.Timer(0.3, watch.cancel).start()
    started = time.monotonic()
    with watch:
        assert list(watch) == []
    assert time.monotonic() - started < 10


def test_what_is_too_old_has_to_be_looked_at_again(kube: KubeTransport, namespace: str) -> None:
    """Of revision 1 no server of any age remembers what came after it; a young one still may."""
    path = kube.resource_path("v1", "ConfigMap", namespace)
    reason = why_it_ended(kube.watch(path, resource_version="1", timeout=1))
    if not reason:
        pytest.skip("this server still remembers its first revision")
    assert reason == "Expired"


def why_it_ended(watch: KubeWatch) -> str:
    """The reason of the error with which a watch ended; "" when it ended with its time."""
    try:
        with watch:
            list(watch)
    except ReconcilerError as error:
        return error.reason
    return ""
