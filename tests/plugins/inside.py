"""An engine on a place, inside the test's own process: for what a command line cannot show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from place import Place

from reconciler.engine.listener import Listener
from reconciler.engine.reconcile import Looked, PlanRules, Reconciler
from reconciler.engine.wiring import open_runtime, open_workspace
from reconciler.loading.settings import load_settings
from reconciler.model.resource import ResourceRef
from reconciler.model.result import Result
from reconciler.store import statuses
from reconciler.store.journal import RunStart
from reconciler.store.statuses import Status


class Inside:
    """Runtime, reconciler and workspace of one would-be process. values: settings by attribute."""

    def __init__(self, place: Place, *, lease_wait: float = 0.0, kinds: Iterable[Any] = (), **values: Any) -> None:
        settings = load_settings(None, place.environ)
        self.runtime = open_runtime(dataclasses.replace(settings, **values), "test")
        for kind in kinds:
            package = next(iter(self.runtime.kinds.packages.values()))
            self.runtime.kinds.packages[kind.name] = dataclasses.replace(package, kind=kind)
        self.reconciler = Reconciler(self.runtime, lease_wait)
        self.workspace = open_workspace(self.runtime, place.specs)

    def plan(self, *names: str, **rules: Any) -> Looked:
        """Load, and plan for these entries, or for all."""
        self.workspace.load()
        scope = [ResourceRef("Entry", name) for name in names] or self.workspace.scope()
        return self.reconciler.plan(self.workspace, scope, PlanRules(**rules))

    def apply(self, *names: str, listener: Listener | None = None, forks: int = 4, **rules: Any) -> dict[str, Result]:
        """What `reconciler apply` does. Results by name."""
        looked = self.plan(*names, **rules)
        return self.carry_out(looked, listener=listener, forks=forks)

    def carry_out(self, looked: Looked, *, listener: Listener | None = None, forks: int = 4) -> dict[str, Result]:
        """Apply a plan that was made before."""
        self.workspace.record()
        self.reconciler.settle(self.workspace, looked)
        start = RunStart("tester", "apply", summary=looked.plan.summary())
        found = self.reconciler.apply(self.workspace, looked, start, listener or Listener(), forks)[1]
        return {result.change.ref.name: result for result in found}

    def status(self, name: str) -> Status:
        """The stored status of an entry."""
        with self.runtime.database.read() as connection:
            return statuses.load(connection, [ResourceRef("Entry", name)])[ResourceRef("Entry", name)]

    def close(self) -> None:
        """End it as a process would."""
        self.runtime.stopping.set()
        self.reconciler.close()
        self.runtime.database.close()
