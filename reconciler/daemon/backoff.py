"""When a key is due again. Pure; called by `daemon.worker` with the result of its pass."""

from __future__ import annotations

import random
from dataclasses import dataclass

from reconciler.model.plan import Action, Change
from reconciler.model.result import Result

JITTER = 0.1
SHORTEST = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. unsettled: between looks at what is not as desired yet. shortest, longest: bounds of the back-off."""

    unsettled: float = 30.0
    shortest: float = 1.0
    longest: float = 300.0

    def after_look(self, change: Change, jitter: float) -> float:
        """After a pass that ran nothing: the interval when all is well, soon when it could get well by itself.

        jitter: one for all that was looked at together, so that one look goes on serving them all.
        """
        obstacle = change.obstacle
        interval = change.resource.lifecycle.interval
        if obstacle is None and change.action is Action.NOOP:
            return spread(interval, jitter)
        if obstacle is not None and obstacle.kind in ("suspended", "notify", "vanished"):
            return spread(interval, jitter)
        return spread(min(self.unsettled, interval), jitter)

    def after_change(self, result: Result, failures: int) -> float:
        """After steps ran. failures: in a row, this one included."""
        if result.verdict in ("ok", "changed"):
            return spread(result.change.resource.lifecycle.interval, draw_jitter())
        if result.stalled:
            return spread(max(self.unsettled, result.change.resource.lifecycle.interval), draw_jitter())
        if result.retry_after is None:
            return self.back_off(failures)
        if result.retry_after == 0 and failures > 1:  # at once is for once: what never keeps still is no busy loop
            return self.back_off(failures - 1)
        return result.retry_after

    def back_off(self, failures: int) -> float:
        """Doubles from `shortest` to `longest`, with jitter so that what failed together is not retried together."""
        exponent = min(max(failures - 1, 0), 32)
        return min(self.longest, self.shortest * 2.0**exponent) * random.uniform(0.5, 1.0)  # noqa: S311 - spreading load


def draw_jitter() -> float:
    """A factor of one, plus or minus a tenth, so that targets loaded together are not looked at together for ever."""
    return random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreading load


def spread(seconds: float, jitter: float) -> float:
    """`seconds` times the factor. Never less than SHORTEST: a document must not turn the daemon into a busy loop."""
    return max(seconds, SHORTEST) * jitter
