"""Looking at the world: one call of `kind.observe` a target, each with its own deadline, in a pool of its own.

At most one call is in flight a target. A call that outlives its deadline is answered as unknown and left behind (its
thread ends when the call does); until then its target is "still looking", so a hung system costs one thread and delays
nobody else. Called by `engine.reconcile`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future

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


class Observer:
    """Bounded looking. Close it at the end of the process; a hung call cannot hold that up."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._pool = DaemonPool(runtime.settings.observers, "observe")
        self._in_flight: dict[Target, float] = {}
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
        """Start a call once the one before it has ended; None when that one is overdue."""
        with self._landing:
            while (overdue_at := self._in_flight.get(target)) is not None:
                left = overdue_at - time.monotonic()
                if left <= 0:
                    return None
                self._landing.wait(left)
            expires = self._in_flight[target] = time.monotonic() + self._runtime.settings.observe_timeout
        return self._pool.submit(self._call, target, members), expires

    def _call(self, target: Target, members: Sequence[Resource]) -> Observations:
        kind = self._runtime.kinds[target[0]]
        context = ObserveContext(self._runtime, kind.name, self._runtime.settings.observe_timeout)
        try:
            return kind.observe(members, context)
        finally:
            self._landed(target)

    def _landed(self, target: Target) -> None:
        with self._landing:
            self._in_flight.pop(target, None)
            self._landing.notify_all()

    def _answer(self, target: Target, members: Sequence[Resource], call: Call | None) -> Observations:
        now = time.time()
        if call is None:
            return _unknown(members, "an earlier look at its target has not ended yet", now, unreachable=True)
        answer, expires = call
        try:
            answers = answer.result(timeout=max(expires - time.monotonic(), 0.0))
        except TimeoutError:
            if answer.cancel():
                self._landed(target)
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
        return {**answers, **_unknown(missing, f"{members[0].ref.kind} gave no answer for it", now)}


def _unknown(members: Sequence[Resource], why: str, now: float, *, unreachable: bool = False) -> Observations:
    return {
        resource.ref: Observation(resource.ref, unknown=why, unreachable=unreachable, observed_at=now)
        for resource in members
    }
