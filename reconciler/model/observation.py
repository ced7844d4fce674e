"""What is there: the answer of a kind that looked. Made by kinds and the observer, read by the planner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.model.resource import ResourceRef, State


@dataclass(frozen=True, slots=True)
class Observation:
    """Exactly one of three answers, so that "could not look" is never mistaken for "absent".

    state: what was seen, None when it is known to be absent. unknown: why nothing is known, "" when something is.
    unreachable: the target did not answer (counted apart). pending: the resource of the same plan inside which this one
    will live, so that it cannot be looked at yet. unhealthy: why what is there does not work, "" when it does or when
    health means nothing here. note: what people should know before it is made or changed, "" for nothing; no part of
    the state. facts: plain values beside the compared state, for the kind's own records (`kind.KeepsSeen`).
    observed_at: seconds since the epoch.
    """

    ref: ResourceRef
    state: State = None
    unknown: str = ""
    unreachable: bool = False
    pending: ResourceRef | None = None
    unhealthy: str = ""
    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    observed_at: float = 0.0

    @property
    def is_known(self) -> bool:
        """True when `state` says something, be it None for absent."""
        return not self.unknown and self.pending is None
