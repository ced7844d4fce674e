"""Live watches: what kinds want to be told about at once (`kind.WatchesLive`). Run by `daemon.service`.

A watch says that something moved, never what: it puts keys into the queue, and looking goes the one way that it always
goes. Every interval look happens as well, so that a watch that is not there costs nothing but time. At most MOST
streams, one for each type in each cluster, however many resources want it. One thread keeps them in step with what is
wanted and with the clusters that are recorded: it ends the streams of a cluster that is gone, stopped, or reached in
another way than before, and begins those that are new.

However many events come for a resource, it is looked at once every SPACE seconds: at the first event, and once more
after the last.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from reconciler.daemon.backoff import Pace
from reconciler.daemon.live_stream import LiveStream
from reconciler.daemon.logs import tell
from reconciler.daemon.metrics import Metrics
from reconciler.engine.known_clusters import known_clusters, open_kube
from reconciler.engine.queue import WorkQueue
from reconciler.engine.runtime import Runtime
from reconciler.engine.workspace import Workspace
from reconciler.errors import ReconcilerError
from reconciler.kind import MANAGING, KnownCluster, Watch, WatchesLive, managing_clusters
from reconciler.model.marks import owner_of
from reconciler.model.resource import Resource, ResourceRef

log = logging.getLogger(__name__)
MOST = 64
SPACE = 0.25
CHECK = 2.0
"""Seconds between looks at the records of clusters."""
_LONGEST_PAUSE = 30.0
_STILL = frozenset({"stopped", "deleting"})

Wanted = Mapping[Watch, frozenset[ResourceRef]]
"""Who wants to be told about a type."""


class _Way(NamedTuple):
    """How a cluster is reached. stamp: of its kubeconfig, which is another one when anything in it was changed."""

    kubeconfig: Path
    context: str
    stamp: tuple[int, int, int]


class Spacing:
    """When a key is to be looked at, so that it is not looked at all the time. Safe for threads. clock: seconds."""

    def __init__(self, space: float = SPACE, clock: Callable[[], float] = time.monotonic) -> None:
        self._space = space
        self._clock = clock
        self._due: dict[ResourceRef, float] = {}
        self._lock = threading.Lock()

    def delay_of(self, ref: ResourceRef) -> float:
        """Seconds until its look for an event that comes now.

        The look that an event before it asked for serves for it as well, unless the queue had it made sooner: so it is
        asked for again, at the same time.
        """
        with self._lock:
            now, last = self._clock(), self._due.get(ref)
            if last is None or last <= now:
                last = self._due[ref] = now if last is None else max(now, last + self._space)
            return last - now

    def keep(self, refs: Iterable[ResourceRef]) -> None:
        """Forget all others."""
        with self._lock:
            self._due = {ref: self._due[ref] for ref in refs if ref in self._due}


class LiveWatches:
    """All streams of a daemon. most: how many there may be."""

    def __init__(
        self, runtime: Runtime, workspace: Workspace, queue: WorkQueue, metrics: Metrics, most: int = MOST
    ) -> None:
        self._runtime = runtime
        self._workspace = workspace
        self._queue = queue
        self._metrics = metrics
        self._most = most
        self._pace = Pace(
            shortest=runtime.settings.backoff.min, longest=min(runtime.settings.backoff.max, _LONGEST_PAUSE)
        )
        self._spacing = Spacing()
        self._named: dict[ResourceRef, tuple[Resource, tuple[Watch, ...]]] = {}
        self._asked: Wanted = {}
        self._wanted: Wanted = {}
        self._streams: dict[Watch, tuple[LiveStream, _Way]] = {}
        self._ending: list[LiveStream] = []
        self._told_excess = False
        self._moved = threading.Event()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watching", daemon=True)
        metrics.watch_streams(self._count)

    def start(self) -> None:
        """Begin to watch what the workspace wants, as soon as it wants anything."""
        self._thread.start()

    def moved(self) -> None:
        """The workspace has changed."""
        self._moved.set()
        self._wake.set()

    def stop(self, timeout: float) -> bool:
        """End every stream. False when some still ran after `timeout` seconds in all."""
        until = time.monotonic() + timeout
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        for stream, _ in self._streams.copy().values():
            stream.end()
            self._ending.append(stream)
        return all(stream.join(max(until - time.monotonic(), 0.0)) for stream in self._ending)

    def _count(self) -> int:
        return sum(stream.is_open for stream, _ in self._streams.copy().values())

    def _loop(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001 - a store that is away comes back
                tell(log, error, "the clusters to watch could not be read")
            self._wake.wait(CHECK if self._asked or self._streams else None)
            self._wake.clear()

    def _follow(self) -> None:
        """Bring the streams in step with what is wanted and with the clusters."""
        if self._moved.is_set():
            self._moved.clear()
            self._asked = self._read_wanted()
            self._spacing.keep({ref for refs in self._asked.values() for ref in refs})
        if not self._asked and not self._streams:
            return
        clusters = known_clusters(self._runtime)
        before, self._wanted = self._wanted, _placed(self._asked, managing_clusters(clusters))
        for watch in self._streams:
            if fresh := self._wanted.get(watch, frozenset()) - before.get(watch, frozenset()):
                self._queue.add(fresh)  # what was told of these until now was told nobody
        ways = {name: way for name, one in clusters.items() if (way := _way_to(one)) is not None}
        chosen = self._chosen({watch for watch in self._wanted if watch.cluster in ways})
        for watch, (stream, way) in list(self._streams.items()):
            if watch not in chosen or ways[watch.cluster] != way:
                del self._streams[watch]
                stream.end()
                self._ending.append(stream)
        self._ending = [stream for stream in self._ending if not stream.join(0)]
        for watch in chosen:
            if watch not in self._streams and not self._closed.is_set():
                self._streams[watch] = (self._begin(watch, ways[watch.cluster]), ways[watch.cluster])

    def _read_wanted(self) -> Wanted:
        """Who wants which types, by the workspace. A kind is asked again only for a resource that is another one."""
        offers = self._runtime.kinds.offering(WatchesLive)
        named: dict[ResourceRef, tuple[Resource, tuple[Watch, ...]]] = {}
        found: dict[Watch, set[ResourceRef]] = {}
        for ref, resource in self._workspace.desired.items():
            if ref.kind not in offers or resource.lifecycle.state == "absent":
                continue
            before = self._named.get(ref)
            watches = before[1] if before is not None and before[0] is resource else None
            if watches is None:
                try:
                    watches = tuple(offers[ref.kind].watches(resource))
                except ReconcilerError as error:
                    log.debug("%s names nothing to watch: %s", ref, error)
                    watches = ()
            named[ref] = (resource, watches)
            for watch in watches:
                found.setdefault(watch, set()).add(ref)
        self._named = named
        return {watch: frozenset(refs) for watch, refs in found.items()}

    def _chosen(self, possible: set[Watch]) -> set[Watch]:
        """As many as there may be: first those that are open, then those that most resources want."""
        if len(possible) <= self._most:
            self._told_excess = False
            return possible
        if not self._told_excess:
            self._told_excess = True
            message = "%d types in clusters are to be watched, and %d are: the rest is seen at the next interval"
            log.warning(message, len(possible), self._most)
        ranked = sorted(possible, key=self._rank)
        return set(ranked[: self._most])

    def _rank(self, watch: Watch) -> tuple[bool, int, str, str, str]:
        wanted = len(self._wanted[watch])
        return (watch not in self._streams, -wanted, watch.cluster, watch.api_version, watch.kind)

    def _begin(self, watch: Watch, way: _Way) -> LiveStream:
        stream = LiveStream(
            watch,
            partial(open_kube, self._runtime, way.kubeconfig, way.context),
            self._pace,
            heard=partial(self._heard, watch),
            missed=lambda: self._queue.add(self._wanted.get(watch, ())),
            broke=self._metrics.watch_broke,
        )
        stream.start()
        return stream

    def _heard(self, watch: Watch, labels: Mapping[str, str]) -> None:
        """Put the owner of an object into the queue, if it asked to be told; whoever labels objects may lie."""
        self._metrics.heard(watch.kind)
        ref = owner_of(labels)
        if ref is None or ref not in self._wanted.get(watch, ()):
            return
        self._queue.add([ref], self._spacing.delay_of(ref))


def _placed(asked: Wanted, managing: Iterable[str]) -> Wanted:
    """What is asked for of the clusters that manage the others, asked of each of these by its name."""
    found: dict[Watch, frozenset[ResourceRef]] = {}
    for watch, refs in asked.items():
        for cluster in managing if watch.cluster == MANAGING else (watch.cluster,):
            placed = replace(watch, cluster=cluster)
            found[placed] = found.get(placed, frozenset()) | refs
    return found


def _way_to(cluster: KnownCluster) -> _Way | None:
    """How a cluster is reached; None for one that is not to be asked."""
    if not cluster.is_wanted or not cluster.was_verified or cluster.state in _STILL:
        return None
    try:
        found = cluster.kubeconfig.stat()
    except OSError:
        return None
    return _Way(cluster.kubeconfig, cluster.context, (found.st_ino, found.st_size, found.st_mtime_ns))
