"""THE main path: load, record, observe, plan, execute, record, requeue. CLI, daemon and API all walk it.

A dry run ends after `plan`; nothing before `apply` writes to the store or to a live system.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.engine.executor import Executor
from reconciler.engine.followers import claims_of, leaders_of
from reconciler.engine.keeper import LeaseKeeper
from reconciler.engine.listener import Listener
from reconciler.engine.observer import Observer
from reconciler.engine.record import record_outcomes
from reconciler.engine.runtime import Runtime
from reconciler.engine.schedule import SKIPPED, execute_plan
from reconciler.engine.status import Outcome
from reconciler.engine.steps import Run
from reconciler.engine.workspace import Workspace
from reconciler.model.observation import Observation
from reconciler.model.plan import Plan
from reconciler.model.record import Record
from reconciler.model.resource import Resource, ResourceRef
from reconciler.model.result import Result
from reconciler.planning.planner import PlanOptions, World, make_plan, needs_of
from reconciler.store import journal, resources, statuses

if TYPE_CHECKING:
    from sqlalchemy import Connection


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


class Reconciler:
    """The engine of one process. Close it at the end.

    lease_wait: seconds that a change waits for a lease that somebody else holds. long_lived: the workspace outlives one
    plan, so that what the store remembers has to be read again for each.
    """

    def __init__(self, runtime: Runtime, lease_wait: float = 0.0, *, long_lived: bool = False) -> None:
        self.runtime = runtime
        self._long_lived = long_lived
        self._lease_wait = lease_wait
        self.observer = Observer(runtime)
        self.keeper = LeaseKeeper(runtime.settings.lease_ttl)
        self.executor = Executor(runtime, self.observer, self.keeper)

    def plan(self, workspace: Workspace, scope: Collection[ResourceRef], rules: PlanRules) -> Looked:
        """Look at `scope` and decide. Writes nothing."""
        with self.runtime.database.read() as connection:
            interrupted = self._interrupted(connection, workspace, scope)
            records = {**self._records(connection, workspace, scope), **interrupted}
            approvals = statuses.approved(connection)
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

    def recover(self) -> None:
        """Close what processes that died left open in the journal, and end what they left running."""
        self.executor.recover()
        journal.close_runs_of_the_dead(self.runtime.database)

    def settle(self, workspace: Workspace, looked: Looked) -> None:
        """Store what a plan found about everything for which no step is to run."""
        seen, requests = looked.observations, looked.requests
        record_outcomes(
            self.runtime,
            (
                Outcome(
                    change,
                    problem=workspace.problem_of(change.ref),
                    unhealthy=seen[change.ref].unhealthy if change.ref in seen else "",
                    answered=requests.get(change.ref, ""),
                    seen=seen.get(change.ref),
                )
                for change in looked.plan.changes
                if not change.is_effective
            ),
        )

    def apply(
        self, workspace: Workspace, looked: Looked, start: journal.RunStart, listener: Listener, forks: int
    ) -> tuple[int, list[Result]]:
        """Carry out a plan as one run. Returns the run's id and a result for every change that was to run."""
        run_id = self.start_run(start)
        state = "interrupted"
        try:
            run = self.run_of(run_id, workspace, looked.options, listener)
            results = execute_plan(self.executor, run, looked.plan, forks)
            state = _run_state(results)
            skipped = (result for result in results if result.reason == SKIPPED)
            record_outcomes(self.runtime, (Outcome(one.change, one, run.problem_of(one.change.ref)) for one in skipped))
        finally:
            self.end_run(run_id, state)
        return run_id, results

    def start_run(self, start: journal.RunStart) -> int:
        """Open a run; its id."""
        with self.runtime.writing() as connection:
            return journal.start_run(self.runtime.database, connection, start)

    def end_run(self, run_id: int, state: str) -> None:
        """Close a run."""
        with self.runtime.writing() as connection:
            journal.end_run(self.runtime.database, connection, run_id, state)

    def run_of(self, run_id: int, workspace: Workspace, options: PlanOptions, listener: Listener) -> Run:
        """The run that changes of a plan belong to."""
        return Run(
            run_id,
            prune=options.prune,
            approvals=options.approvals,
            newest=lambda ref: workspace.desired.get(ref),
            problem_of=workspace.problem_of,
            listener=listener,
            lease_wait=self._lease_wait,
        )

    def close(self) -> None:
        """Give back what is held. Hung looks are left behind."""
        self.keeper.close()
        self.observer.close()
        self.runtime.kubes.close()
        self.runtime.hosts.close()

    def _records(
        self, connection: Connection, workspace: Workspace, scope: Collection[ResourceRef]
    ) -> Mapping[ResourceRef, Record]:
        """What the store remembers: as it was loaded just now, or read again where the workspace lives long."""
        if not self._long_lived:
            return workspace.records
        relevant = self._relevant(workspace, scope)
        records = dict(workspace.records)
        for ref in relevant:
            records.pop(ref, None)
        return records | resources.load_records(connection, relevant, workspace.desired)

    def _interrupted(
        self, connection: Connection, workspace: Workspace, scope: Collection[ResourceRef]
    ) -> dict[ResourceRef, Record]:
        """The records of those of the scope whose change is to be gone on with."""
        standing = journal.waiting_to_go_on(connection)
        refs = [ref for ref in standing if ref in scope]
        records = resources.load_records(connection, refs, workspace.desired) if refs else {}
        return {ref: replace(record, interrupted=standing[ref]) for ref, record in records.items()}

    def _widened(self, workspace: Workspace, world: World, options: PlanOptions) -> tuple[World, PlanOptions]:
        """With all that a delete depends on: who still needs what goes, and how many deletes wait in all.

        Both are asked of the whole store, so only for a plan that would destroy something.
        """
        with self.runtime.database.read() as connection:
            waiting = resources.pending_destroys(connection)
            if self._long_lived:
                world = replace(world, records=resources.load_records(connection, None, workspace.desired))
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


def _run_state(results: Iterable[Result]) -> str:
    verdicts = [result.verdict in ("ok", "changed") for result in results]
    if all(verdicts):
        return "succeeded"
    return "partial" if any(verdicts) else "failed"
