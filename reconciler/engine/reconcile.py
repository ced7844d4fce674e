"""THE main path: load, record, observe, plan, execute, record, requeue. CLI, daemon and API all walk it.

A dry run ends after `plan`, which is all of `engine.dry_run`; nothing before `apply` writes to the store or to a live
system.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.engine.dry_run import DryRun, Looked
from reconciler.engine.executor import Executor
from reconciler.engine.keeper import LeaseKeeper
from reconciler.engine.listener import Listener
from reconciler.engine.record import record_outcomes
from reconciler.engine.runtime import Runtime
from reconciler.engine.schedule import SKIPPED, execute_plan
from reconciler.engine.status import Outcome
from reconciler.engine.steps import Run
from reconciler.engine.workspace import Workspace
from reconciler.model.result import Result
from reconciler.planning.planner import PlanOptions
from reconciler.store import journal


class Reconciler(DryRun):
    """The engine of one process. Close it at the end.

    lease_wait: seconds that a change waits for a lease that somebody else holds. long_lived: see `DryRun`.
    """

    def __init__(self, runtime: Runtime, lease_wait: float = 0.0, *, long_lived: bool = False) -> None:
        super().__init__(runtime, long_lived=long_lived)
        self._lease_wait = lease_wait
        self.keeper = LeaseKeeper(runtime.settings.lease_ttl)
        self.executor = Executor(runtime, self.observer, self.keeper)

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
        super().close()


def _run_state(results: Iterable[Result]) -> str:
    verdicts = [result.verdict in ("ok", "changed") for result in results]
    if all(verdicts):
        return "succeeded"
    return "partial" if any(verdicts) else "failed"
