"""The nouns of a write: what it addresses, how it is meant, what came of it. Used by `writes` and its callers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reconciler.sandbox.resource_types import ResourceType


@dataclass(frozen=True, slots=True)
class Target:
    """What a request addresses; name "" for a collection."""

    type: ResourceType
    namespace: str
    name: str = ""
    subresource: str = ""

    @property
    def resource(self) -> str:
        """How messages name the type."""
        return self.type.qualified


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Query parameters of a write. validation: Strict | Warn | Ignore."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False


@dataclass(slots=True)
class Written:
    """The object after a write, whether the write created it, and the warnings that go with the answer."""

    value: dict[str, Any]
    created: bool = False
    warnings: list[str] = field(default_factory=list)
