"""Live watches of a running daemon on a sandbox cluster, for a kind that asks for them (plugins/watched_kind).

Every interval is an hour, so that what is seen sooner was told by a watch. The tests share one daemon, and go on where
the one before left it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from reconciler.daemon.metrics import Metrics
from reconciler.daemon.watching import LiveWatches, Spacing
from reconciler.engine.queue import WorkQueue
from reconciler.engine.wiring import open_runtime, open_workspace
from reconciler.loading.settings import load_settings
from reconciler.model.resource import ResourceRef
from reconciler.transports.kube import KubeTransport
from tests.clusters.sandbox_lab import SandboxLab
from tests.daemon.lab import PLUGINS, Daemon, document, stays, until

SELDOM = {"interval": "1h"}
NAMES = ("calm", "hot", "third")
BOUND = 5.0
"""Seconds within which a live change has to be seen on a loaded machine. The tests print what it took."""


class Watching(SandboxLab):
    """A lab with one cluster and three resources in it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.looks_file = self.root / "looks"
        plugins = [*self.settings["plugins"], "watched_kind"]
        self.configure(plugins=plugins, kinds={"Watched": {"looks": str(self.looks_file)}})
        self.write_cluster()
        self.write("watched.yaml", *(self.watched(name) for name in NAMES))

    def write_cluster(self, **lifecycle: Any) -> None:
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "quiet"}}
        spec = {"provider": "sandbox", "manifests": [manifest]}
        self.write("cluster.yaml", document("Cluster", "dev", spec, {"interval": "1s", **lifecycle}))

    def watched(self, name: str, text: str = "one", **spec: Any) -> str:
        return document("Watched", name, {"cluster": "dev", "text": text, **spec}, SELDOM)

    def api(self) -> KubeTransport:
        """The cluster, past us."""
        return KubeTransport(self.kubeconfigs / "dev.yaml")

    def trouble(self, api: KubeTransport, name: str, text: str) -> None:
        """Somebody else writes into a ConfigMap."""
        path = f"/api/v1/namespaces/default/configmaps/{name}?fieldManager=somebody&force=true"
        metadata = {"name": name, "namespace": "default"}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"trouble": text}}
        api._json("PATCH", path, body, "application/apply-patch+yaml")

    def looks(self) -> Counter[str]:
        """How often each resource was looked at."""
        return Counter(self.looks_file.read_text().split() if self.looks_file.exists() else [])

    def await_told(self, name: str, text: str) -> float:
        """Until the status says it; how long that took."""
        started = time.monotonic()
        ref = f"Watched/{name}"
        until(lambda: text in str(self.status(ref).get("message")), lambda: (self.status(ref), self.errors()))
        return time.monotonic() - started

    def errors(self) -> str:
        """The end of the daemon's log."""
        return max(self.root.glob("*.err"), key=lambda path: path.stat().st_mtime).read_text()[-3000:]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watching]:
    made = Watching(tmp_path_factory.mktemp("w"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def daemon(lab: Watching) -> Daemon:
    started = lab.daemon()
    lab.await_ready(*(f"Watched/{name}" for name in NAMES))
    until(lambda: streams(started) == 1)
    return started


def streams(daemon: Daemon) -> int:
    return int(daemon.metric("reconciler_watch_streams"))


def test_a_live_change_is_seen_long_before_the_interval(lab: Watching, daemon: Daemon) -> None:
    """One stream, however many resources want it; and what no kind asks for (a Cluster's manifests) has none."""
    with lab.api() as api:
        lab.trouble(api, "calm", "it is unwell")
        took = lab.await_told("calm", "it is unwell")
    print(f"a live change was seen after {took * 1000:.0f} ms")
    assert took < BOUND
    assert streams(daemon) == 1
    assert daemon.metric("reconciler_watch_events_total", type="ConfigMap") >= 1


def test_drift_is_corrected_as_soon_as_it_is_told(lab: Watching, daemon: Daemon) -> None:
    with lab.api() as api:
        api.delete("/api/v1/namespaces/default/configmaps/third")
        started = time.monotonic()
        until(lambda: api.get("/api/v1/namespaces/default/configmaps/third"), lab.errors)
    print(f"drift was corrected after {(time.monotonic() - started) * 1000:.0f} ms")
    lab.await_ready("Watched/third")


def test_a_storm_for_one_resource_costs_a_few_looks_and_holds_up_no_other(lab: Watching, daemon: Daemon) -> None:
    before, told = lab.looks(), daemon.metric("reconciler_watch_events_total")
    with lab.api() as api:
        started = time.monotonic()
        number = 0
        while time.monotonic() - started < 2 or number < 300:
            number += 1
            lab.trouble(api, "hot", f"trouble {number}")
            if number == 150:
                lab.trouble(api, "calm", "amid the storm")
                beside = threading.Thread(target=lambda: print(f"beside it: {lab.await_told('calm', 'amid'):.2f} s"))
                beside.start()
        seconds = time.monotonic() - started
        lab.await_told("hot", f"trouble {number}")
    beside.join()
    looks = lab.looks() - before
    print(f"{number} events in {seconds:.1f} s: {looks['hot']} looks")
    assert daemon.metric("reconciler_watch_events_total") - told >= number
    assert looks["hot"] <= seconds / 0.25 + 3
    assert looks["calm"] <= 3


def test_a_watch_that_broke_is_begun_again(lab: Watching, daemon: Daemon) -> None:
    """The sandbox is killed, and started again by the cluster's own reconciling. Its resources are then looked at."""
    before = lab.looks()
    lab.kill_sandbox()
    until(lambda: daemon.metric("reconciler_watch_breaks_total") >= 1)
    until(lambda: streams(daemon) == 1, lab.errors)
    until(lambda: all((lab.looks() - before)[name] for name in NAMES), lab.errors)
    with lab.api() as api:
        lab.trouble(api, "calm", "after the crash")
        assert lab.await_told("calm", "after the crash") < BOUND
    said = [one["event"] for one in daemon.entries() if "watched" in one["event"]]
    assert any("cannot be watched" in one and "next interval" in one for one in said)


def test_more_types_than_there_may_be_streams_are_said_once(
    lab: Watching, daemon: Daemon, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, beside the daemon: two types, of which the one that more resources want is watched."""
    lab.write("watched.yaml", lab.watched("calm", types=["ConfigMap", "Service"]), lab.watched("hot"))
    for folder in PLUGINS:
        monkeypatch.syspath_prepend(str(folder))
    runtime = open_runtime(load_settings(None, lab.environment()), "test")
    workspace = open_workspace(runtime, lab.specs)
    workspace.load()
    metrics = Metrics()
    watches = LiveWatches(runtime, workspace, WorkQueue(lambda ref: (ref.kind, "")), metrics, most=1)
    with caplog.at_level(logging.WARNING):
        watches.start()
        watches.moved()
        until(lambda: b"reconciler_watch_streams 1.0" in metrics.text())
        for _ in range(3):
            watches.moved()
        assert stays(lambda: b"reconciler_watch_streams 1.0" in metrics.text(), 0.5)
        with lab.api() as api:
            lab.trouble(api, "calm", "which type is it?")
        until(lambda: b'reconciler_watch_events_total{type="ConfigMap"}' in metrics.text())
        assert watches.stop(10)
    runtime.kubes.close()
    runtime.database.close()
    assert [one.getMessage() for one in caplog.records if "types" in one.getMessage()] == [
        "2 types in clusters are to be watched, and 1 are: the rest is seen at the next interval"
    ]


def test_a_stopped_cluster_is_not_watched_and_a_started_one_again(lab: Watching, daemon: Daemon) -> None:
    until(lambda: streams(daemon) == 2, lab.errors)  # the other type of the test before
    lab.write("watched.yaml", *(lab.watched(name) for name in NAMES))
    until(lambda: streams(daemon) == 1, lab.errors)
    lab.write("cluster.yaml", document("Cluster", "dev", {"provider": "sandbox", "running": False}, {"interval": "1s"}))
    until(lambda: streams(daemon) == 0, lab.errors)
    lab.write_cluster()
    until(lambda: streams(daemon) == 1, lab.errors)
    with lab.api() as api:
        lab.trouble(api, "calm", "up again")
        assert lab.await_told("calm", "up again") < BOUND


def test_a_daemon_with_open_watches_ends_promptly(lab: Watching, daemon: Daemon) -> None:
    assert streams(daemon) == 1
    started = time.monotonic()
    assert daemon.terminate() == 0
    print(f"ended after {time.monotonic() - started:.2f} s")
    assert "Traceback" not in daemon.err()


def ref(name: str) -> ResourceRef:
    return ResourceRef("Watched", name)


def test_a_thousand_events_in_a_second_are_five_looks_and_the_last_is_never_missed() -> None:
    now = [100.0]
    spacing = Spacing(0.25, lambda: now[0])
    looks: list[float] = []
    events: list[float] = []
    for _ in range(1000):
        now[0] += 0.001
        events.append(now[0])
        at = round(now[0] + spacing.delay_of(ref("hot")), 6)
        if at not in looks:  # asked for again, in case that it was made sooner: the queue knows it already
            looks.append(at)
    assert len(looks) <= 6
    assert all(later - earlier >= 0.25 - 1e-9 for earlier, later in pairwise(looks))
    assert looks[0] == round(events[0], 6)
    assert looks[-1] >= events[-1], "a look that began before the last event does not show it"
    assert spacing.delay_of(ref("calm")) == 0.0
