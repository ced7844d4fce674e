"""Reading the specs again when something moved, and putting what changed into the queue. Run by `daemon.service`.

One thread loads; requests that come while it does are one more load afterwards.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from reconciler.daemon.logs import tell
from reconciler.daemon.metrics import Metrics
from reconciler.engine.followers import leaders_of
from reconciler.engine.queue import WorkQueue
from reconciler.engine.workspace import Workspace
from reconciler.model.resource import ResourceRef
from reconciler.planning.planner import needs_of

log = logging.getLogger(__name__)


class Reloader:
    """Keeps the workspace in step with its sources. on_moved: called when it has changed; set before `start`."""

    def __init__(self, workspace: Workspace, queue: WorkQueue, metrics: Metrics) -> None:
        self._workspace = workspace
        self._queue = queue
        self._metrics = metrics
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._needs: dict[ResourceRef, tuple[ResourceRef, ...]] = {}
        self._dependents: dict[ResourceRef, set[ResourceRef]] = {}
        self._leaders: dict[ResourceRef, tuple[str, ...]] = {}
        self._told: frozenset[str] = frozenset()
        self._thread = threading.Thread(target=self._loop, name="reload", daemon=True)
        self.on_moved: Callable[[], None] = lambda: None
        self.loaded = threading.Event()
        self.idle = threading.Event()

    def start(self) -> None:
        """Load for the first time, and then whenever asked."""
        self._wanted.set()
        self._thread.start()

    def request(self) -> None:
        """Something may have moved."""
        self.idle.clear()
        self._wanted.set()

    def stop(self) -> None:
        """End the thread after the load that it is in."""
        self._closed.set()
        self._wanted.set()
        self._thread.join()

    def dependents(self, ref: ResourceRef) -> Collection[ResourceRef]:
        """Who needs a resource."""
        return tuple(self._dependents.get(ref, ()))

    def followers(self, ref: ResourceRef) -> Collection[ResourceRef]:
        """Whose desired state is made of what is recorded of a resource, among others."""
        return [follower for follower, kinds in self._leaders.copy().items() if ref.kind in kinds]

    def _loop(self) -> None:
        while self._wanted.wait() and not self._closed.is_set():
            self._wanted.clear()
            try:
                self._load()
            except Exception as error:  # noqa: BLE001 - a locked store, a full disk: the next request tries again
                tell(log, error, "the specs could not be loaded")
                if not self._closed.wait(1.0):
                    self._wanted.set()
            if not self._wanted.is_set():
                self.idle.set()

    def _load(self) -> None:
        started = time.monotonic()
        changed = self._workspace.load()
        self._workspace.record()
        first = not self.loaded.is_set()
        moved = frozenset(self._workspace.scope()) if first else changed
        self._relate(moved)
        self._queue.add(moved)
        self._metrics.loaded(len(self._workspace.problems))
        self.loaded.set()
        if moved:
            self.on_moved()
            milliseconds = round((time.monotonic() - started) * 1000)
            log.info("specs loaded: %d resources moved in %d ms", len(moved), milliseconds)
        self._tell_problems()

    def _tell_problems(self) -> None:
        """Each problem once, and when the last one is gone."""
        problems = frozenset(str(problem) for problem in self._workspace.problems)
        for problem in sorted(problems - self._told):
            log.warning("%s", problem)
        if self._told and not problems:
            log.info("the specs are valid again")
        self._told = problems

    def _relate(self, moved: Collection[ResourceRef]) -> None:
        """Keep the reverse of "needs" for what moved, and who follows which kinds."""
        leaders = leaders_of(self._workspace.runtime.kinds, self._workspace.desired, moved)
        for ref in moved:
            self._leaders.pop(ref, None)
            for need in self._needs.pop(ref, ()):
                self._dependents.get(need, set()).discard(ref)
            resource = self._workspace.desired.get(ref)
            if resource is not None:
                needs = self._needs[ref] = needs_of(self._workspace.runtime.kinds, resource)
                for need in needs:
                    self._dependents.setdefault(need, set()).add(ref)
        self._leaders |= leaders
