"""Carrying out a whole plan: what is needed first, what runs side by side, what is skipped. Called by `reconcile`.

Dependents of a change that did not succeed are skipped, everything else goes on, also what only follows it.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable, Mapping
from concurrent.futures import Future

from reconciler.engine.executor import Executor
from reconciler.engine.pool import DaemonPool
from reconciler.engine.steps import Run
from reconciler.model.plan import Action, Change, Plan
from reconciler.model.resource import ResourceRef
from reconciler.model.result import Result
from reconciler.planning.order import reachable, reverse

SKIPPED = "DependencyFailed"


def execute_plan(executor: Executor, run: Run, plan: Plan, forks: int) -> list[Result]:
    """Make every effective change of a plan, at most `forks` at a time. Results in the order in which they ended."""
    changes = {change.ref: change for change in plan.effective}
    waiting = prerequisites(changes)
    followers = reverse({ref: change.follows for ref, change in changes.items()})
    dependents = reverse(waiting)
    for change in changes.values():
        waiting[change.ref].update(one for one in change.follows if one in changes)
    ended: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()
    results: list[Result] = []
    pool = DaemonPool(max(1, forks), "apply")

    def start(refs: Iterable[ResourceRef]) -> int:
        ready = [ref for ref in refs if ref in waiting and not waiting[ref]]
        for ref in ready:
            del waiting[ref]
            pool.submit(executor.execute, run, changes[ref]).add_done_callback(ended.put)
        return len(ready)

    running = start(list(waiting))
    while running:
        try:
            result = ended.get().result()
        except KeyboardInterrupt:
            if executor.stop():
                continue  # what runs may end its step; a second Ctrl-C ends the program
            raise
        running -= 1
        results.append(result)
        ref = result.change.ref
        over = [ref]
        if result.verdict in ("ok", "changed"):
            for dependent in dependents.get(ref, ()):
                waiting.get(dependent, set()).discard(ref)
        else:
            for skipped in sorted(reachable(dependents, [ref]) & waiting.keys()):
                del waiting[skipped]
                over.append(skipped)
                results.append(_skipped(run, changes[skipped], ref))
        behind = {follower for one in over for follower in followers.get(one, ())}
        for follower in behind:
            waiting.get(follower, set()).difference_update(over)
        running += start({*dependents.get(ref, ()), *behind})
    pool.close()
    return results


def prerequisites(changes: Mapping[ResourceRef, Change]) -> dict[ResourceRef, set[ResourceRef]]:
    """For each change the changes that must end first: what it needs, or for a delete what needs it."""
    waiting: dict[ResourceRef, set[ResourceRef]] = {ref: set() for ref in changes}
    for ref, change in changes.items():
        for need in change.requires:
            other = changes.get(need)
            if other is None or need == ref:
                continue
            if change.action is Action.DELETE:
                waiting[need].add(ref)
            elif other.action is not Action.DELETE:
                waiting[ref].add(need)
    return waiting


def _skipped(run: Run, change: Change, blame: ResourceRef) -> Result:
    result = Result(change, "skipped", SKIPPED, f"skipped: {blame} did not succeed")
    run.listener.change_ended(result)
    return result
