"""What somebody wants: references, life cycles, resources. Made by the loader and the store, read by everybody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from reconciler.errors import SpecError
from reconciler.model.duration import parse_duration

API_VERSION = "reconciler.dev/v1"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
KIND_PATTERN = r"^[A-Z][A-Za-z0-9]{0,62}$"
DEFAULT_INTERVAL = 300.0
RECORD_OWNER = "row"
"""The owner of what no document wants, but a record of its kind (see `kind.Recorded`)."""

State = Any
"""Plain JSON data as a kind reports or wants it; None means absent."""


class ResourceRef(NamedTuple):
    """The key of a resource everywhere: `Kind/name`. A tuple, because tens of thousands are hashed and sorted."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> ResourceRef:
        """From `Kind/name`. Raises SpecError naming the text."""
        kind, slash, name = text.partition("/")
        if not slash or not re.fullmatch(KIND_PATTERN, kind) or not re.fullmatch(NAME_PATTERN, name):
            message = f"{text[:200]!r} is not a reference: write Kind/name, for example Cluster/dev"
            raise SpecError("InvalidReference", message)
        return cls(kind, name)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How a resource is looked after; the same for every kind. Fields as in the document, `interval` in seconds."""

    state: Literal["present", "absent"] = "present"
    depends_on: tuple[ResourceRef, ...] = ()
    suspend: bool = False
    approval: Literal["auto", "manual"] = "auto"
    deletion: Literal["delete", "orphan", "protect"] = "delete"
    replace: Literal["forbid", "allow"] = "forbid"
    mode: Literal["enforce", "notify", "observe"] = "enforce"
    ignore: tuple[str, ...] = ()
    interval: float = DEFAULT_INTERVAL

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Lifecycle:
        """From the `lifecycle` mapping of a document that passed its schema. Raises SpecError for a bad reference."""
        defaults = cls()
        return cls(
            state=document.get("state", defaults.state),
            depends_on=tuple(ResourceRef.parse(text) for text in document.get("dependsOn", ())),
            suspend=document.get("suspend", defaults.suspend),
            approval=document.get("approval", defaults.approval),
            deletion=document.get("deletion", defaults.deletion),
            replace=document.get("replace", defaults.replace),
            mode=document.get("mode", defaults.mode),
            ignore=tuple(document.get("ignore", ())),
            interval=parse_duration(document.get("interval", defaults.interval)),
        )

    def to_document(self) -> dict[str, Any]:
        """The `lifecycle` mapping with every field, as documents spell it."""
        return {
            "state": self.state,
            "dependsOn": [str(ref) for ref in self.depends_on],
            "suspend": self.suspend,
            "approval": self.approval,
            "deletion": self.deletion,
            "replace": self.replace,
            "mode": self.mode,
            "ignore": list(self.ignore),
            "interval": self.interval,
        }


@dataclass(frozen=True, slots=True)
class Source:
    """Where a resource is written, and who owns it.

    owner: what may change it: `file:PATH`, `git:URL//PATH`, `api` or `row`. line and column: of its first key, from 1;
    0 where there is no text. revision: the commit it was read from, or "".
    """

    owner: str
    line: int = 0
    column: int = 0
    revision: str = ""

    def __str__(self) -> str:
        place = self.owner.removeprefix("file:")
        return f"{place}:{self.line}:{self.column}" if self.line else place


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that somebody wants.

    spec: plain JSON data beside Secret and SpecFile values. digest: SHA-256 over labels, life cycle and the stored form
    of the spec (secrets keyed, files by content). generation: how often that digest changed, from 1; 0 before the store
    has seen it.
    """

    ref: ResourceRef
    spec: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    source: Source = field(default_factory=lambda: Source("api"))
    generation: int = 0
    digest: str = ""
