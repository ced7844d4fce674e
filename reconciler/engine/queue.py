"""The work queue: keys, never events. The whole concurrency story of the daemon stands here.

A key is in at most one place: waiting (with the time when it is due), ready (due, in its target's group), or taken.
Adding a key that waits keeps the earlier time; adding one that is taken makes it due again as soon as it is given back,
so nothing is ever dropped and no two workers have the same key. Due keys are handed
out in groups of one kind and target, because looking costs one call a group; while a group is being looked at, its
target's other keys wait for the next group.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from reconciler.engine.observer import Target
from reconciler.model.resource import ResourceRef

MAX_GROUP = 2000


class WorkQueue:
    """Keys by due time. target_of: the group that a key belongs to. clock: monotonic seconds."""

    def __init__(self, target_of: Callable[[ResourceRef], Target], clock: Callable[[], float] = time.monotonic) -> None:
        self._target_of = target_of
        self._clock = clock
        self._changed = threading.Condition()
        self._due: dict[ResourceRef, float] = {}
        self._heap: list[tuple[float, ResourceRef]] = []
        self._ready: dict[Target, dict[ResourceRef, None]] = {}
        self._ready_keys: set[ResourceRef] = set()
        self._taken: set[ResourceRef] = set()
        self._again: dict[ResourceRef, float] = {}
        self._looking: set[Target] = set()
        self._closed = False

    def add(self, refs: Iterable[ResourceRef], delay: float = 0.0) -> None:
        """Make keys due in `delay` seconds, or earlier when they already were."""
        at = self._clock() + delay
        with self._changed:
            for ref in refs:
                if ref in self._taken:
                    self._again[ref] = min(at, self._again.get(ref, at))
                elif ref not in self._ready_keys and (ref not in self._due or at < self._due[ref]):
                    self._push(ref, at)
            self._changed.notify_all()

    def take(self) -> tuple[Target, list[ResourceRef]] | None:
        """The next group of due keys, waiting for one; None once the queue is closed."""
        with self._changed:
            while not self._closed:
                group = self._next_group()
                if group is not None:
                    return group
                self._changed.wait(self._until_next())
            return None

    def looked(self, target: Target) -> None:
        """The look at a group has ended: its target's next group may be handed out."""
        with self._changed:
            self._looking.discard(target)
            self._changed.notify_all()

    def done(self, ref: ResourceRef, delay: float | None) -> None:
        """Give a taken key back; it is due again in `delay` seconds, None when only an `add` brings it back."""
        self.done_all({ref: delay})

    def done_all(self, delays: Mapping[ResourceRef, float | None]) -> None:
        """Give many keys back at once: whoever waits for work is woken once."""
        with self._changed:
            now = self._clock()
            for ref, delay in delays.items():
                self._taken.discard(ref)
                times = [] if delay is None else [now + delay]
                again = self._again.pop(ref, None)
                if again is not None:
                    times.append(again)
                if times:
                    self._push(ref, min(times))
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def depth(self) -> int:
        """How many keys are due and not taken."""
        with self._changed:
            self._ripen()
            return len(self._ready_keys)

    def in_work(self) -> int:
        """How many keys are taken."""
        with self._changed:
            return len(self._taken)

    def _push(self, ref: ResourceRef, at: float) -> None:
        self._due[ref] = at
        heapq.heappush(self._heap, (at, ref))

    def _ripen(self) -> None:
        """Move what is due into its target's group."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            at, ref = heapq.heappop(self._heap)
            if self._due.get(ref) == at:  # otherwise an earlier time has replaced this entry
                del self._due[ref]
                self._ready_keys.add(ref)
                self._ready.setdefault(self._target_of(ref), {})[ref] = None

    def _next_group(self) -> tuple[Target, list[ResourceRef]] | None:
        """The ready keys of the first target that nobody looks at, the one that waited longest first."""
        self._ripen()
        target = next((target for target in self._ready if target not in self._looking), None)
        if target is None:
            return None
        ready = self._ready[target]
        group = list(ready)[:MAX_GROUP]
        for ref in group:
            del ready[ref]
        if not ready:
            del self._ready[target]
        self._ready_keys.difference_update(group)
        self._taken.update(group)
        self._looking.add(target)
        return target, group

    def _until_next(self) -> float | None:
        """Seconds until the next key is due; None when only a change of the queue can help."""
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None
