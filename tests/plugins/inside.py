"""An engine on a place, inside the test's own process: for what a command line cannot show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from place import Place

from reconciler.engine.dry_run import Looked, PlanRules
from reconciler.engine.listener import Listener
from reconciler.engine.reconcile import Reconciler
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
            self.runtime.kinds.packages[kind.name] = dataclasses.replace(package, kind=kind, own=kind)
        self.reconciler = Reconciler(self.runtime, lease_wait, long_lived=True)
        self.workspace = open_workspace(self.runtime, place.specs)

    def plan(self, *refs: str, **rules: Any) -> Looked:
        """Load, and plan for these resources (`Kind/name`), or for all."""
        self.workspace.load()
        scope = [ResourceRef.parse(text) for text in refs] or self.workspace.scope()
        return self.reconciler.plan(self.workspace, scope, PlanRules(**rules))

    def apply(self, *refs: str, listener: Listener | None = None, forks: int = 4, **rules: Any) -> dict[str, Result]:
        """What `reconciler apply` does. Results by name."""
        looked = self.plan(*refs, **rules)
        return self.carry_out(looked, listener=listener, forks=forks)

    def carry_out(
        self, looked: Looked, *, listener: Listener | None = None, forks: int = 4, record: bool = True
    ) -> dict[str, Result]:
        """Apply a plan that was made before."""
        if record:
            self.workspace.record()
        self.reconciler.settle(self.workspace, looked)
        start = RunStart(self.runtime.owner, "apply", summary=looked.plan.summary())
        found = self.reconciler.apply(self.workspace, looked, start, listener or Listener(), forks)[1]
        return {result.change.ref.name: result for result in found}

    def status(self, text: str) -> Status:
        """The stored status of a resource (`Kind/name`)."""
        ref = ResourceRef.parse(text)
        with self.runtime.database.read() as connection:
            return statuses.load(connection, [ref])[ref]

    def close(self) -> None:
        """End it as a process would."""
        self.runtime.stopping.set()
        self.reconciler.close()
        self.runtime.database.close()
