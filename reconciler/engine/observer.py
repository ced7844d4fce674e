"""Looking at the world: one call of `kind.observe` a target, each with its own deadline, in a pool of its own.

At most one call is in flight a target; those who come meanwhile share the next one, so that many changes beside each
other cost few looks. A call that outlives its deadline is answered as unknown and left behind (its
thread ends when the call does); until then its target is "still looking", so a hung system costs one thread and delays
nobody else. Called by `engine.reconcile`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

from reconciler.engine.context import ObserveContext
from reconciler.engine.pool import DaemonPool
from reconciler.engine.runtime import Runtime
from reconciler.errors import ReconcilerError, UnreachableError
from reconciler.model.observation import Observation
from reconciler.model.resource import Resource, ResourceRef

log = logging.getLogger(__name__)

Target = tuple[str, str]
"""A kind's name and the system that the resources of a group talk to."""
Observations = Mapping[ResourceRef, Observation]
Call = tuple[Future[Observations], float]
"""A look that was started, and when it is overdue, in seconds of the monotonic clock."""


@dataclass(slots=True, eq=False)
class _Batch:
    """Those who wait for a call in flight to end. is_over: their own was started as `call`, or never will be."""

    members: dict[ResourceRef, Resource]
    call: Call | None = None
    is_over: bool = False

    def take_in(self, members: Sequence[Resource]) -> bool:
        """Whether these are looked at as well; not where another version of one of them is."""
        if self.is_over or any(self.members.get(one.ref, one) is not one for one in members):
            return False
        self.members |= {one.ref: one for one in members}
        return True


class Observer:
    """Bounded looking. Close it at the end of the process; a hung call cannot hold that up."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._pool = DaemonPool(runtime.settings.observers, "observe")
        self._in_flight: dict[Target, float] = {}
        self._waiting: dict[Target, _Batch] = {}
        self._landing = threading.Condition()

    def observe(self, resources: Iterable[Resource]) -> dict[ResourceRef, Observation]:
        """Look at everything, all targets at once; every resource gets an answer within its group's deadline."""
        groups = self.group(resources)
        busy = self._in_flight.copy()
        calls = {target: self._start(target, groups[target]) for target in sorted(groups, key=busy.__contains__)}
        observed: dict[ResourceRef, Observation] = {}
        for target, call in calls.items():
            observed.update(self._answer(target, groups[target], call))
        return observed

    def group(self, resources: Iterable[Resource]) -> dict[Target, list[Resource]]:
        """Resources by kind and target; those of an unknown kind are left out."""
        groups: dict[Target, list[Resource]] = {}
        for resource in resources:
            kind = self._runtime.kinds.get(resource.ref.kind)
            if kind is not None:
                groups.setdefault((resource.ref.kind, kind.target(resource)), []).append(resource)
        return groups

    def close(self) -> None:
        """Start nothing more. Calls that hang are abandoned with their threads."""
        self._pool.close()

    def _start(self, target: Target, members: Sequence[Resource]) -> Call | None:
        """Start a call, or share the one that is started next; None when the one before it is overdue."""
        with self._landing:
            while target in self._in_flight or target in self._waiting:
                batch = self._waiting.get(target)
                if batch is None:
                    return self._lead(target, members)
                is_shared = batch.take_in(members)
                while not batch.is_over:
                    self._landing.wait()
                if is_shared:
                    return batch.call
            return self._launch(target, members)

    def _lead(self, target: Target, members: Sequence[Resource]) -> Call | None:
        """Be the first who waits for the call in flight, and start the next one for all who do. Under the lock."""
        batch = self._waiting[target] = _Batch({one.ref: one for one in members})
        try:
            while (overdue_at := self._in_flight.get(target)) is not None:
                left = overdue_at - time.monotonic()
                if left <= 0:
                    return None
                self._landing.wait(left)
            batch.call = self._launch(target, tuple(batch.members.values()))
            return batch.call
        finally:
            batch.is_over = True
            del self._waiting[target]
            self._landing.notify_all()

    def _launch(self, target: Target, members: Sequence[Resource]) -> Call:
        expires = self._in_flight[target] = time.monotonic() + self._runtime.settings.observe_timeout
        return self._pool.submit(self._call, target, members, expires), expires

    def _call(self, target: Target, members: Sequence[Resource], expires: float) -> Observations:
        kind = self._runtime.kinds[target[0]]
        context = ObserveContext(self._runtime, kind.name, self._runtime.settings.observe_timeout)
        try:
            return kind.observe(members, context)
        finally:
            self._landed(target, expires)

    def _landed(self, target: Target, expires: float) -> None:
        with self._landing:
            if self._in_flight.get(target) == expires:  # else it was cancelled, and another one is in flight by now
                del self._in_flight[target]
            self._landing.notify_all()

    def _answer(self, target: Target, members: Sequence[Resource], call: Call | None) -> Observations:
        now = time.time()
        if call is None:
            return _unknown(members, "an earlier look at its target has not ended yet", now, unreachable=True)
        answer, expires = call
        try:
            answers = answer.result(timeout=max(expires - time.monotonic(), 0.0))
        except (TimeoutError, CancelledError):
            if answer.cancel():
                self._landed(target, expires)
            limit = f"{self._runtime.settings.observe_timeout:g} s"
            return _unknown(members, f"no answer within {limit}", now, unreachable=True)
        except ReconcilerError as error:
            return _unknown(members, error.message, now, unreachable=isinstance(error, UnreachableError))
        except Exception as error:
            log.exception(
                "%s could not observe %s", members[0].ref.kind, ", ".join(str(one.ref) for one in members[:3])
            )
            return _unknown(members, f"{type(error).__name__}: {error}", now)
        missing = [resource for resource in members if resource.ref not in answers]
        asked = {resource.ref: answers[resource.ref] for resource in members if resource.ref in answers}
        return {**asked, **_unknown(missing, f"{members[0].ref.kind} gave no answer for it", now)}


def _unknown(members: Sequence[Resource], why: str, now: float, *, unreachable: bool = False) -> Observations:
    return {
        resource.ref: Observation(resource.ref, unknown=why, unreachable=unreachable, observed_at=now)
        for resource in members
    }
