"""What planning asks of a kind: its pure half. `kind.Kind` has all of this and more; planning may not know the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from reconciler.model.plan import Change, Preview
from reconciler.model.resource import Resource, ResourceRef, State


class StepShape(Protocol):
    """A step as far as a plan shows it."""

    @property
    def name(self) -> str:
        """Stable name."""
        ...

    @property
    def title(self) -> str:
        """For people."""
        ...

    @property
    def weight(self) -> int:
        """Share of the change's progress."""
        ...

    @property
    def preview(self) -> Preview:
        """What the plan can promise of it."""
        ...

    @property
    def command(self) -> str:
        """The external command that it is about; "" for none."""
        ...


class KindRules(Protocol):
    """The pure half of a kind; see `kind.Kind` for what each member means."""

    @property
    def name(self) -> str:
        """The `kind:` of documents."""
        ...

    @property
    def schema(self) -> Mapping[str, Any]:
        """JSON Schema of `spec`."""
        ...

    @property
    def steps_version(self) -> int:
        """Raised when the meaning of a step changes."""
        ...

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        """What this resource needs first."""
        ...

    def target(self, resource: Resource) -> str:
        """The system it talks to."""
        ...

    def normalize(self, resource: Resource) -> State:
        """The desired state in the shape that is observed."""
        ...

    def steps(self, change: Change) -> Sequence[StepShape]:
        """The steps of a change."""
        ...
