"""Conditions after the kstatus conventions: what a resource's state means, for people and for machines."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Literal, NamedTuple

ConditionStatus = Literal["True", "False", "Unknown"]
_STORED = itemgetter("type", "status", "reason", "message", "observedGeneration", "lastTransitionTime")
CONDITION_TYPES = ("Ready", "Reconciling", "Stalled", "Suspended", "SpecValid", "Observed", "Applied", "Healthy")


class Condition(NamedTuple):
    """One condition. `last_transition` (seconds since the epoch) moves only when `status` changes.

    A tuple, because a look at ten thousand resources reads and compares fifty thousand of them.
    """

    type: str
    status: ConditionStatus
    reason: str
    message: str
    observed_generation: int
    last_transition: float

    def to_json(self) -> dict[str, Any]:
        """As printed and stored: the field names of Kubernetes, the time in ISO 8601."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "observedGeneration": self.observed_generation,
            "lastTransitionTime": self.last_transition,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Condition:
        """The inverse of `to_json`."""
        return cls._make(_STORED(value))
