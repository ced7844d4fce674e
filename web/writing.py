"""What the write API does with what it was asked: desired state and a task, in one transaction. Used by API and forms.

It decides and creates nothing: it writes through the functions that the command line calls too, and the daemon acts on
what is written. Who asked, for what and when is an event in the same transaction; that it was refused is one as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.engine import desired, requests
from reconciler.engine.runtime import Runtime
from reconciler.errors import BlockedError, StalePlanError
from reconciler.loading.documents import FindingsError
from reconciler.loading.remote import file_findings
from reconciler.model.resource import API_VERSION, ResourceRef
from reconciler.store import events, tasks

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was written down. task: its id."""

    ref: ResourceRef
    task: int
    message: str


class Writer:
    """Writes for one daemon. Safe between threads. Every method names who asks as `actor`."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def create(self, document: Mapping[str, Any], actor: str) -> Accepted:
        """Keep a new resource. Raises FindingsError for a wrong document, BlockedError("AlreadyExists")."""
        whole = {"apiVersion": API_VERSION, **document}
        if named := file_findings(whole, self.runtime.kinds):
            raise FindingsError(named, None)
        draft = desired.drafted(self.runtime, whole)
        ref = draft.resource.ref
        with self._writing(ref, "create", actor) as connection:
            generation = desired.create(self.runtime, connection, draft, actor)
            return self._task(connection, ref, ("create", generation), actor)

    def delete(self, ref: ResourceRef, actor: str) -> Accepted:
        """Say that a resource of the store shall be absent. Raises what `desired.withdraw` raises."""
        with self._writing(ref, "delete", actor) as connection:
            generation = desired.withdraw(self.runtime, connection, ref, actor)
            return self._task(connection, ref, ("delete", generation), actor)

    def run(self, ref: ResourceRef, running: bool, actor: str) -> Accepted:
        """Say whether a resource shall run. Raises what `desired.set_running` raises."""
        action = "start" if running else "stop"
        with self._writing(ref, action, actor) as connection:
            generation = desired.set_running(self.runtime, connection, ref, running, actor)
            return self._task(connection, ref, (action, generation), actor)

    def approve(self, ref: ResourceRef, seen: str, actor: str) -> Accepted:
        """Allow the change that waits. seen: the fingerprint that was looked at, or "". Raises StalePlanError."""
        with self._writing(ref, "approve", actor) as connection:
            fingerprint = requests.pending_change(connection, ref, seen)
            token = requests.approve(self.runtime.database, connection, ref, fingerprint, actor)
            return self._task(connection, ref, ("approve", 0), actor, token)

    def suspend(self, ref: ResourceRef, reason: str, until: str, actor: str) -> Accepted:
        """Leave a resource alone. until: a duration or a time, "" for none."""
        database = self.runtime.database
        with self._writing(ref, "suspend", actor) as connection:
            end = requests.moment(until, database.now(connection)) if until else None
            token = requests.suspend(database, connection, ref, actor, (reason, end))
            return self._task(connection, ref, ("suspend", 0), actor, token)

    def resume(self, ref: ResourceRef, actor: str) -> Accepted:
        """End a suspension by hand."""
        with self._writing(ref, "resume", actor) as connection:
            token = requests.resume(self.runtime.database, connection, ref, actor)
            return self._task(connection, ref, ("resume", 0), actor, token)

    def reconcile(self, ref: ResourceRef, actor: str) -> Accepted:
        """Ask for a look now."""
        with self._writing(ref, "reconcile", actor) as connection:
            token = requests.look(connection, ref)
            return self._task(connection, ref, ("reconcile", 0), actor, token)

    def _task(
        self, connection: Connection, ref: ResourceRef, wanted: tuple[str, int], actor: str, token: str = ""
    ) -> Accepted:
        task_id = tasks.add(self.runtime.database, connection, ref, wanted, token=token, actor=actor)
        return Accepted(ref, task_id, f"{wanted[0]} {ref}: written down, the daemon carries it out")

    @contextmanager
    def _writing(self, ref: ResourceRef, action: str, actor: str) -> Iterator[Connection]:
        """A write transaction; when a guard refuses, nothing of it is stored but that it was refused."""
        database = self.runtime.database
        try:
            with database.write() as connection:
                yield connection
        except (BlockedError, StalePlanError) as error:
            event = events.Event("warning", f"{action.capitalize()}Refused", error.message, ref, actor[:128])
            with database.write() as connection:
                events.add(connection, database.now(connection), [event])
            raise
