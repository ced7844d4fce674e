"""The first half of the main path: record, observe, plan. Nothing here writes, and nothing that does is imported.

`engine.reconcile` goes on from it; a dry run ends here. Called by `plan` and `diff`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.engine.followers import claims_of, leaders_of
from reconciler.engine.observer import Observer
from reconciler.engine.runtime import Runtime
from reconciler.engine.workspace import Workspace
from reconciler.model.observation import Observation
from reconciler.model.plan import Plan
from reconciler.model.record import Record
from reconciler.model.resource import Resource, ResourceRef
from reconciler.planning.planner import PlanOptions, World, make_plan, needs_of
from reconciler.store import remembered
from reconciler.store.unfinished import waiting_to_go_on

if TYPE_CHECKING:
    from reconciler.store.reading import Readable


@dataclass(frozen=True, slots=True)
class PlanRules:
    """What a plan may do, as asked for. None: as the settings say."""

    prune: bool | None = None
    max_deletes: int | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """A plan and the observations that it was computed from. requests: tokens that waited before it began."""

    plan: Plan
    observations: Mapping[ResourceRef, Observation]
    options: PlanOptions
    requests: Mapping[ResourceRef, str] = field(default_factory=dict)


class DryRun:
    """Looks and decides. Close it at the end.

    long_lived: the workspace outlives one plan, so that what the store remembers has to be read again for each.
    """

    def __init__(self, runtime: Runtime, *, long_lived: bool = False) -> None:
        self.runtime = runtime
        self._long_lived = long_lived
        self.observer = Observer(runtime)

    def plan(self, workspace: Workspace, scope: Collection[ResourceRef], rules: PlanRules) -> Looked:
        """Look at `scope` and decide. Writes nothing."""
        with self.runtime.database.reading() as connection:
            interrupted = self._interrupted(connection, workspace, scope)
            records = {**self._records(connection, workspace, scope), **interrupted}
            approvals = remembered.approved(connection)
        looked_at = [one for ref in scope if (one := _look_at(workspace, records, ref)) is not None]
        observations = self.observer.observe(looked_at)
        settings = self.runtime.settings
        prune = settings.prune if rules.prune is None else rules.prune
        options = PlanOptions(
            prune=prune,
            max_deletes=settings.max_deletes if rules.max_deletes is None else rules.max_deletes,
            unsure=workspace.unsure(),
            approvals=approvals,
            key=self.runtime.key,
            now=time.time(),
            revision=workspace.revision,
        )
        kinds, desired = self.runtime.kinds, workspace.desired
        leaders, claims = leaders_of(kinds, desired, scope), claims_of(kinds, desired, scope)
        world = World(kinds, desired, records, observations, scope, workspace.frozen, leaders, claims)
        plan = make_plan(world, options)
        if any(change.action.destroys for change in plan.changes):
            world, options = self._widened(workspace, world, options)
            plan = make_plan(world, options)
        requests = {ref: records[ref].requested for ref in scope if ref in records and records[ref].requested}
        return Looked(plan, observations, options, requests)

    def close(self) -> None:
        """Give back what is held. Hung looks are left behind."""
        self.observer.close()
        self.runtime.kubes.close()
        self.runtime.hosts.close()

    def _records(
        self, connection: Readable, workspace: Workspace, scope: Collection[ResourceRef]
    ) -> Mapping[ResourceRef, Record]:
        """What the store remembers: as it was loaded just now, or read again where the workspace lives long."""
        if not self._long_lived:
            return workspace.records
        relevant = self._relevant(workspace, scope)
        records = dict(workspace.records)
        for ref in relevant:
            records.pop(ref, None)
        return records | remembered.load_records(connection, relevant, workspace.desired)

    def _interrupted(
        self, connection: Readable, workspace: Workspace, scope: Collection[ResourceRef]
    ) -> dict[ResourceRef, Record]:
        """The records of those of the scope whose change is to be gone on with."""
        standing = waiting_to_go_on(connection)
        refs = [ref for ref in standing if ref in scope]
        records = remembered.load_records(connection, refs, workspace.desired) if refs else {}
        return {ref: replace(record, interrupted=standing[ref]) for ref, record in records.items()}

    def _widened(self, workspace: Workspace, world: World, options: PlanOptions) -> tuple[World, PlanOptions]:
        """With all that a delete depends on: who still needs what goes, and how many deletes wait in all.

        Both are asked of the whole store, so only for a plan that would destroy something.
        """
        with self.runtime.database.reading() as connection:
            waiting = remembered.pending_destroys(connection)
            if self._long_lived:
                world = replace(world, records=remembered.load_records(connection, None, workspace.desired))
        count = waiting.absent + (waiting.vanished if options.prune else 0)
        return world, replace(options, pending_destroys=count)

    def _relevant(self, workspace: Workspace, scope: Collection[ResourceRef]) -> set[ResourceRef]:
        """The scope and what it needs directly."""
        relevant = set(scope)
        for ref in scope:
            resource = workspace.desired.get(ref)
            if resource is not None:
                relevant.update(needs_of(self.runtime.kinds, resource))
        return relevant


def _look_at(workspace: Workspace, records: Mapping[ResourceRef, Record], ref: ResourceRef) -> Resource | None:
    """What to observe for a ref: suspended and frozen resources are left alone."""
    record = records.get(ref)
    resource = workspace.desired.get(ref) or (record.resource if record is not None else None)
    if resource is None or ref in workspace.frozen or resource.lifecycle.suspend:
        return None
    return None if record is not None and record.suspended else resource
