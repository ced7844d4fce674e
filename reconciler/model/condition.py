"""Conditions after the kstatus conventions: what a resource's state means, for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

ConditionStatus = Literal["True", "False", "Unknown"]
CONDITION_TYPES = ("Ready", "Reconciling", "Stalled", "Suspended", "SpecValid", "Observed", "Applied", "Healthy")


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `last_transition` (seconds since the epoch) moves only when `status` changes."""

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
        return cls(
            value["type"],
            value["status"],
            value["reason"],
            value["message"],
            value["observedGeneration"],
            value["lastTransitionTime"],
        )
