"""What `/metrics` tells. Written by the worker and the service; names follow the Prometheus conventions."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from reconciler.model.plan import Action, Change
from reconciler.model.result import Result


class Metrics:
    """One registry a daemon."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._depth = Gauge("reconciler_queue_depth", "Keys that are due and not taken.", registry=self.registry)
        self._in_work = Gauge("reconciler_queue_in_work", "Keys that somebody works on.", registry=self.registry)
        self._duration = Histogram(
            "reconciler_reconcile_duration_seconds",
            "How long a look or a change took.",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self._drift = Counter(
            "reconciler_drift_found", "Resources that were found different.", ["kind"], registry=self.registry
        )
        self._success = Gauge(
            "reconciler_last_success_timestamp_seconds",
            "When a resource was last as desired.",
            ["kind"],
            registry=self.registry,
        )
        self._loads = Counter("reconciler_loads", "How often the specs were loaded.", registry=self.registry)
        self._problems = Gauge("reconciler_spec_problems", "What is wrong with the specs now.", registry=self.registry)
        self._errors = Counter(
            "reconciler_unexpected_errors", "Errors that nobody planned for.", ["kind"], registry=self.registry
        )
        self._streams = Gauge("reconciler_watch_streams", "Live watches that are open.", registry=self.registry)
        self._heard = Counter(
            "reconciler_watch_events", "What live watches told, by the type watched.", ["type"], registry=self.registry
        )
        self._broke = Counter("reconciler_watch_breaks", "Live watches that failed.", registry=self.registry)

    def watch_streams(self, count: Callable[[], int]) -> None:
        """Where the number of open watches comes from, asked at each scrape."""
        self._streams.set_function(count)

    def heard(self, type_: str) -> None:
        """A live watch told of an object of this type."""
        self._heard.labels(type_).inc()

    def watch_broke(self) -> None:
        """A live watch failed and is begun again."""
        self._broke.inc()

    def watch_queue(self, depth: Callable[[], int], in_work: Callable[[], int]) -> None:
        """Where the queue's figures come from, asked at each scrape."""
        self._depth.set_function(depth)
        self._in_work.set_function(in_work)

    def loaded(self, problems: int) -> None:
        """The specs were loaded."""
        self._loads.inc()
        self._problems.set(problems)

    def looked(self, change: Change, seconds: float) -> None:
        """A pass ended without steps for this resource."""
        outcome = change.obstacle.kind if change.obstacle is not None else "ok"
        self._duration.labels(change.ref.kind, outcome).observe(seconds)
        if outcome == "ok":
            self._success.labels(change.ref.kind).set(time.time())
        if change.obstacle is not None and change.obstacle.kind == "notify":
            self._drift.labels(change.ref.kind).inc()

    def changed(self, result: Result) -> None:
        """A change ended."""
        kind = result.change.ref.kind
        self._duration.labels(kind, result.verdict).observe(result.duration)
        if result.change.action in (Action.UPDATE, Action.REPLACE) or "gone" in result.change.why:
            self._drift.labels(kind).inc()
        if result.verdict in ("ok", "changed"):
            self._success.labels(kind).set(time.time())
        if result.reason == "UnexpectedError":
            self._errors.labels(kind).inc()

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
