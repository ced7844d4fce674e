"""The arithmetic of a rolling update: how large the new and the old ReplicaSets may be next. Pure; called by
`deployments` and `daemon_sets`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Size:
    """What a ReplicaSet wants, and how many of these are available."""

    replicas: int
    available: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many Pods may be there beyond the wanted number, and how many may be missing."""

    surge: int
    unavailable: int


def read_bounds(rolling_update: Mapping[str, Any], wanted: int) -> Bounds:
    """maxSurge (rounded up) and maxUnavailable (rounded down) for `wanted` Pods; never both zero."""
    surge = share(rolling_update.get("maxSurge", 0), wanted, up=True)
    unavailable = share(rolling_update.get("maxUnavailable", 0), wanted, up=False)
    return Bounds(surge, min(unavailable, wanted) if surge or unavailable else 1)


def share(written: Any, wanted: int, *, up: bool) -> int:
    """A number, or a percentage (`25%`) of `wanted`; 0 when it is neither."""
    text = str(written)
    if text.isascii() and text.isdigit():
        return int(text[:9])
    if not text.endswith("%") or not text[:-1].isascii() or not text[:-1].isdigit():
        return 0
    part = int(text[:-1][:9]) * wanted
    return math.ceil(part / 100) if up else part // 100


def plan_rollout(wanted: int, bounds: Bounds, current: Size, older: Sequence[Size]) -> tuple[int, list[int]]:
    """The next replicas of the current set and of each older one, oldest first.

    There are never more than wanted + surge Pods, and by our doing never fewer available ones than wanted -
    unavailable.
    """
    total = current.replicas + sum(one.replicas for one in older)
    room = max(wanted + bounds.surge - total, 0)
    planned = min(wanted, current.replicas + room)
    total += planned - current.replicas
    least = wanted - bounds.unavailable
    budget = max(total - least - max(planned - min(current.available, planned), 0), 0)
    sizes = [one.replicas for one in older]
    for index, one in enumerate(older):  # what is not available anyway goes first
        drop = min(max(one.replicas - one.available, 0), budget)
        sizes[index] -= drop
        budget -= drop
    available = min(current.available, planned) + sum(one.available for one in older)
    spare = max(available - least, 0)
    for index, one in enumerate(older):
        drop = min(sizes[index], one.available, spare)
        sizes[index] -= drop
        spare -= drop
    return planned, sizes
