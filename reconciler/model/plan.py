"""What would be done: actions, differences, steps, changes, plans. Made by the planner; everything in it is data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from reconciler.model.resource import Resource, ResourceRef, State

Preview = Literal["exact", "conditional", "opaque"]
"""exact: the step does just what the plan shows. conditional: it does that or nothing. opaque: a command decides."""


class Action(StrEnum):
    """What a change does to its resource."""

    NOOP = "noop"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"

    @property
    def destroys(self) -> bool:
        """True for what removes a live thing: the same brake, protection and audit hold for both."""
        return self in (Action.REPLACE, Action.DELETE)


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One field that differs. path: dotted, list members as `[2]`. A secret's before and after are `***`."""

    path: str
    before: Any
    after: Any
    secret: bool = False


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step as the plan shows it and the journal checks it. command: the external command that it is about, or ""."""

    name: str
    title: str
    weight: int
    preview: Preview
    command: str = ""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a change will not be carried out now.

    kind: `blocked` (a guard refused; somebody has to act), `unknown` (could not look), `waiting` (a dependency is not
    ready), `suspended`, `notify` (drift is only reported), `vanished` (no longer in the specs, not to be pruned).
    """

    kind: Literal["blocked", "unknown", "waiting", "suspended", "notify", "vanished"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done to one resource.

    resource: as desired, or as last recorded for one that vanished. before, after: observed and desired state in the
    kind's normal form (None absent). requires: what has to be there first. follows: what changes before it, though it
    is made also where that fails. conditional: what it is to be is known only after others of this plan were changed.
    orphan: only the record goes, the live thing stays. fingerprint: SHA-256 of what this change was computed from, ""
    where nobody needs it. target: the system that it talks to.
    """

    ref: ResourceRef
    action: Action
    resource: Resource
    why: str
    diffs: tuple[FieldDiff, ...] = ()
    steps: tuple[PlannedStep, ...] = ()
    before: State = None
    after: State = None
    obstacle: Obstacle | None = None
    requires: tuple[ResourceRef, ...] = ()
    follows: tuple[ResourceRef, ...] = ()
    conditional: bool = False
    orphan: bool = False
    fingerprint: str = ""
    target: str = ""

    @property
    def is_effective(self) -> bool:
        """True when carrying out the plan runs steps for it."""
        return self.action is not Action.NOOP and self.obstacle is None


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes in execution order, one for every resource that was looked at, NOOP included."""

    changes: tuple[Change, ...]
    revision: str = ""
    created_at: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def effective(self) -> tuple[Change, ...]:
        """The changes that run steps."""
        return tuple(change for change in self.changes if change.is_effective)

    def count(self, action: Action) -> int:
        """How many changes have this action, blocked ones included."""
        return sum(1 for change in self.changes if change.action is action)

    def summary(self) -> str:
        """The one line that people look for."""
        return (
            f"Plan: {self.count(Action.CREATE)} to create, {self.count(Action.UPDATE)} to update, "
            f"{self.count(Action.REPLACE)} to replace, {self.count(Action.DELETE)} to delete, "
            f"{self.count(Action.NOOP)} unchanged"
        )
