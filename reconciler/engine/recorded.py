"""What is wanted by a kind's own records where no document says so. Called by the workspace, `desired` and commands.

A kind that keeps such records (`kind.KeepsWishes`) gives a document for each; here they become resources like those of
any other source, owned by `RECORD_OWNER`. What is written somewhere else is left to that document, also after it
vanished: a record never brings back what somebody took out of the specs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.engine.runtime import Runtime
from reconciler.errors import ReconcilerError, SpecError, UsageError
from reconciler.kind import KeepsWishes, TellsFacts, Wanted
from reconciler.kinds import Kinds
from reconciler.model.resource import RECORD_OWNER, Resource, ResourceRef
from reconciler.store import remembered
from reconciler.store.kind_rows import KindRows
from reconciler.store.remembered import Desired, Scope

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reconciler.loading.loader import Problem
    from reconciler.store.database import Database
    from reconciler.store.kind_rows import Keys
    from reconciler.store.reading import Readable


@dataclass(frozen=True, slots=True)
class Wishes:
    """What records want. problems: of records that no resource can be made of.

    complete: False when there are such, so that nothing may be concluded from what is missing.
    """

    resources: Mapping[ResourceRef, Resource]
    problems: tuple[Problem, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every record could be read."""
        return not self.problems


def read_wishes(runtime: Runtime, connection: Readable) -> Wishes:
    """What the records of all kinds want now, without what is written in a document."""
    from reconciler.loading.loader import Problem  # noqa: PLC0415 - pulls in the schema code

    found: dict[ResourceRef, Resource] = {}
    problems: list[Problem] = []
    for name, keeper in runtime.kinds.offering(KeepsWishes).items():
        try:
            documents = list(keeper.recorded(KindRows(runtime.database, runtime.keys.get(name, {}), connection)))
        except ReconcilerError as error:
            problems.append(Problem("records", 0, 0, f"{name}: {error.message}", RECORD_OWNER))
            continue
        for document in documents:
            try:
                resource = _resource(runtime, document)
                found[resource.ref] = resource
            except SpecError as error:
                ref = ResourceRef(name, str(document.get("metadata", {}).get("name", ""))[:63])
                problems.append(Problem("records", 0, 0, f"{ref}: {error.message}", RECORD_OWNER, ref))
    written = remembered.owners_of(connection, found)
    mine = {ref: resource for ref, resource in found.items() if written.get(ref, RECORD_OWNER) == RECORD_OWNER}
    return Wishes(mine, tuple(problems))


def want(runtime: Runtime, connection: Connection, ref: ResourceRef, state: Wanted) -> int:
    """Say in its record what is wanted of a resource, and store what that makes of it; its generation.

    Raises UsageError when no record wants it, and what the kind raises that does not allow it.
    """
    keeper = runtime.kinds.offering(KeepsWishes).get(ref.kind)
    if keeper is None:
        raise UsageError("NoSuchRecord", f"kind {ref.kind} keeps no record of what is wanted")
    from reconciler.store.kind_records import KindRecords  # noqa: PLC0415 - sqlalchemy, only for who writes

    keeper.want(KindRecords(runtime.database, runtime.tables.get(ref.kind, {}), None, connection), ref.name, state)
    resource = read_wishes(runtime, connection).resources.get(ref)
    if resource is None:
        raise UsageError("NoSuchRecord", f"no record wants {ref}")
    merged = remembered.merge(connection, {ref: resource}, Scope(()), [ref])
    _store(runtime, connection, merged)
    return merged.resources[ref].generation


def store_wishes(runtime: Runtime, connection: Connection) -> None:
    """Store as resources what records want, so that it is listed before anybody has planned for it."""
    wanted = read_wishes(runtime, connection).resources
    merged = remembered.merge(connection, wanted, Scope(()), list(wanted))
    _store(runtime, connection, merged)


def facts(
    kinds: Kinds, keys: Mapping[str, Keys], database: Database, connection: Readable
) -> dict[ResourceRef, Mapping[str, Any]]:
    """What records say of each resource, for people."""
    found: dict[ResourceRef, Mapping[str, Any]] = {}
    for name, teller in kinds.offering(TellsFacts).items():
        said = teller.facts(KindRows(database, keys.get(name, {}), connection))
        found |= {ResourceRef(name, one): fact for one, fact in said.items()}
    return found


def _store(runtime: Runtime, connection: Connection, merged: Desired) -> None:
    from reconciler.store import resources  # noqa: PLC0415 - sqlalchemy, only for who writes

    resources.record(runtime.database, connection, merged, runtime.recording())


def _resource(runtime: Runtime, document: Mapping[str, Any]) -> Resource:
    from reconciler.loading.loader import resource_from_document  # noqa: PLC0415 - pulls in the schema code

    return resource_from_document(document, runtime.kinds, runtime.load_options(), RECORD_OWNER)
