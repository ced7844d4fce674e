"""Desired state as the store knows it: generations, owners, what vanished. Called by `engine.desired` after loading."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, delete, func, select, update

from reconciler.model.digest import canonical_json, stored_form
from reconciler.model.record import Record
from reconciler.model.resource import RECORD_OWNER, Lifecycle, Resource, ResourceRef, Source
from reconciler.store.database import Database
from reconciler.store.keys import among
from reconciler.store.tables import resources, statuses

API_OWNER = "api"
_KEY = ("kind", "name")
_COLUMNS = (
    *(column for column in resources.c if column.name not in ("document", "needs", "created_at", "updated_at")),
    statuses.c.applied,
    statuses.c.protected,
    statuses.c.touched,
    statuses.c.ready,
    statuses.c.observed_generation,
    statuses.c.suspend_since,
    statuses.c.suspend_reason,
    statuses.c.requested_at,
    statuses.c.handled_at,
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a source speaks for. owners: prefixes of its owners. broken: owners that could not be read as a whole.

    revision: the commit that was read, recorded as the reason why something vanished. abandoned: owners of others that
    are no more, so that what they owned may be taken over, though not missed.
    """

    owners: tuple[str, ...]
    broken: frozenset[str] = frozenset()
    revision: str = ""
    abandoned: frozenset[str] = frozenset()

    def speaks_for(self, owner: str) -> bool:
        """True when a resource of this owner would have been seen if it still existed."""
        return owner.startswith(self.owners) and owner not in self.broken

    def misses(self, owner: str) -> bool:
        """True when it is certain that nobody names a resource of this owner any more.

        It may have moved into a document that is broken now, so a source with a broken document misses nothing.
        """
        return self.speaks_for(owner) and not self.broken


@dataclass(frozen=True, slots=True)
class Conflict:
    """A resource that two owners want. owner: who has it. wanted_by: who may not have it."""

    ref: ResourceRef
    owner: str
    wanted_by: Source


@dataclass(frozen=True, slots=True)
class Desired:
    """Desired state merged with what the store remembers.

    resources: what is wanted, generations set. records: everything remembered. changed: resources whose digest is not
    the stored one. vanished: resources that their source no longer names.
    """

    resources: dict[ResourceRef, Resource]
    records: dict[ResourceRef, Record]
    changed: frozenset[ResourceRef]
    vanished: Mapping[ResourceRef, str]
    conflicts: tuple[Conflict, ...]


def merge(
    connection: Connection,
    wanted: Mapping[ResourceRef, Resource],
    scope: Scope,
    refs: Collection[ResourceRef] | None = None,
) -> Desired:
    """What `wanted` means beside the stored rows. Reads only; `record` writes what it returns.

    wanted: the resources of one source, or of several with one scope over all. refs: look at just these rows; None: at
    all. A row of another owner is wanted as it is stored.
    """
    desired: dict[ResourceRef, Resource] = {}
    records: dict[ResourceRef, Record] = {}
    changed: set[ResourceRef] = set()
    vanished: dict[ResourceRef, str] = {}
    conflicts: list[Conflict] = []
    for row in _rows(connection, refs):
        ref = ResourceRef(row.kind, row.name)
        resource = wanted.get(ref)
        if resource is not None and _may_own(row, resource, scope):
            moved = row.digest != resource.digest
            desired[ref] = replace(resource, generation=row.generation + moved)
            known = _record(row, desired[ref])
            records[ref] = replace(known, vanished=False, vanished_why="") if known.vanished else known
            if moved or row.vanished_at is not None or row.owner != resource.source.owner:
                changed.add(ref)
            continue
        if resource is not None:
            conflicts.append(Conflict(ref, row.owner, resource.source))
        stored = resource_from_row(row)
        if row.vanished_at is None and resource is None and scope.misses(row.owner):
            vanished[ref] = why = _why_vanished(row.owner, scope.revision)
            records[ref] = replace(_record(row, stored), vanished=True, vanished_why=why)
            continue
        records[ref] = _record(row, stored)
        if row.vanished_at is None:
            desired[ref] = stored
    for ref, resource in wanted.items():
        if ref not in records:
            desired[ref] = replace(resource, generation=1)
            changed.add(ref)
    return Desired(desired, records, frozenset(changed), vanished, tuple(conflicts))


def _why_vanished(owner: str, revision: str) -> str:
    if owner == RECORD_OWNER:
        return "its record is gone"
    return f"{owner.removeprefix('file:')} no longer has it" + (f" ({revision[:12]})" if revision else "")


@dataclass(frozen=True, slots=True)
class Recording:
    """How resources are written. key: the home's digest key. needs_of: everything that a resource needs first."""

    key: bytes
    needs_of: Callable[[Resource], Iterable[ResourceRef]]


def record(database: Database, connection: Connection, merged: Desired, recording: Recording) -> None:
    """Write what `merge` found: new generations and what vanished."""
    now = database.now(connection)
    rows = [_to_row(merged.resources[ref], recording, now) for ref in sorted(merged.changed)]
    database.upsert_many(connection, resources, _KEY, rows, keep=("created_at",))
    created = [{"kind": ref.kind, "name": ref.name} for ref in merged.changed if ref not in merged.records]
    if created:
        database.upsert_many(connection, statuses, ("kind", "name"), [_blank_status(row) for row in created])
    for ref, why in merged.vanished.items():
        statement = update(resources).where(resources.c.kind == ref.kind, resources.c.name == ref.name)
        connection.execute(statement.values(vanished_at=now, vanished_why=why[:512]))


def put_document(
    database: Database, connection: Connection, resource: Resource, document: Mapping[str, Any], recording: Recording
) -> int:
    """Keep a resource that the API or the CLI owns, with the document it came from. Returns its generation."""
    row = connection.execute(select(resources).where(_is(resource.ref))).one_or_none()
    generation = 1 if row is None else row.generation + (row.digest != resource.digest)
    now = database.now(connection)
    values = _to_row(replace(resource, generation=generation), recording, now)
    values["document"] = json.dumps(document)
    database.upsert_many(connection, resources, _KEY, [values], keep=("created_at",))
    if row is None:
        database.upsert_many(connection, statuses, ("kind", "name"), [_blank_status(resource.ref._asdict())])
    return generation


def documents(connection: Connection) -> dict[ResourceRef, dict[str, Any]]:
    """The documents of every resource that the API or the CLI owns and that nobody deleted."""
    chosen = select(resources.c.kind, resources.c.name, resources.c.document)
    found = connection.execute(chosen.where(resources.c.owner == API_OWNER, resources.c.vanished_at.is_(None)))
    return {ResourceRef(row.kind, row.name): json.loads(row.document) for row in found if row.document}


def document_of(connection: Connection, ref: ResourceRef) -> dict[str, Any] | None:
    """The document of a resource that the API or the CLI owns; None for one that is written elsewhere, or is not."""
    chosen = select(resources.c.document).where(_is(ref), resources.c.owner == API_OWNER)
    text = connection.execute(chosen.where(resources.c.vanished_at.is_(None))).scalar_one_or_none()
    return dict(json.loads(text)) if text else None


def living(connection: Connection) -> list[ResourceRef]:
    """Every resource that somebody still wants."""
    rows = connection.execute(select(resources.c.kind, resources.c.name).where(resources.c.vanished_at.is_(None)))
    return [ResourceRef(row.kind, row.name) for row in rows]


class Waiting(NamedTuple):
    """How many resources are due to be deleted: because they vanished (with prune), or say `state: absent`."""

    vanished: int
    absent: int


def pending_destroys(connection: Connection) -> Waiting:
    """All that wait, so that planning a few at a time cannot slip under the brake."""
    same = and_(resources.c.kind == statuses.c.kind, resources.c.name == statuses.c.name)
    counted = select(func.count()).select_from(resources.join(statuses, same))
    gone = resources.c.vanished_at.is_not(None)
    absent = and_(
        resources.c.vanished_at.is_(None), resources.c.lifecycle.contains('"state":"absent"', autoescape=True)
    )
    return Waiting(
        connection.execute(counted.where(gone, statuses.c.protected == 0)).scalar_one(),
        connection.execute(counted.where(absent, statuses.c.touched == 1, statuses.c.protected == 0)).scalar_one(),
    )


def owner_of(connection: Connection, ref: ResourceRef) -> str | None:
    """Who owns a resource now; None when nobody does (never seen, or vanished)."""
    chosen = select(resources.c.owner).where(_is(ref), resources.c.vanished_at.is_(None))
    return connection.execute(chosen).scalar_one_or_none()


def owners_of(connection: Connection, refs: Collection[ResourceRef]) -> dict[ResourceRef, str]:
    """Who has, or had, each of these resources; those that were never seen are left out."""
    chosen = select(resources.c.kind, resources.c.name, resources.c.owner)
    rows = (row for part in among(resources, refs) for row in connection.execute(chosen.where(part)))
    return {ResourceRef(row.kind, row.name): row.owner for row in rows}


def withdraw(database: Database, connection: Connection, ref: ResourceRef, why: str) -> None:
    """Say that nobody wants a resource any more: what an owner that is no file does instead of deleting a document."""
    statement = update(resources).where(_is(ref))
    connection.execute(statement.values(vanished_at=database.now(connection), vanished_why=why[:512]))


def forget(connection: Connection, ref: ResourceRef) -> None:
    """Drop a resource and its status: after its deletion was verified. History and events stay."""
    connection.execute(delete(resources).where(_is(ref)))
    connection.execute(delete(statuses).where(statuses.c.kind == ref.kind, statuses.c.name == ref.name))


def load_records(
    connection: Connection,
    refs: Collection[ResourceRef] | None = None,
    loaded: Mapping[ResourceRef, Resource] | None = None,
) -> dict[ResourceRef, Record]:
    """The records of some resources, or of all.

    loaded: what sources say now; it takes the place of a stored resource that did not vanish, because it knows its
    files and secrets.
    """
    found: dict[ResourceRef, Record] = {}
    for row in _rows(connection, refs):
        ref = ResourceRef(row.kind, row.name)
        resource = loaded.get(ref) if loaded is not None and row.vanished_at is None else None
        found[ref] = _record(row, resource_from_row(row) if resource is None else resource)
    return found


def resource_from_row(row: Row[Any]) -> Resource:
    """A resource as it was stored: secrets are `{"secret": digest}`, files `{"file", "digest"}`."""
    return Resource(
        ref=ResourceRef(row.kind, row.name),
        spec=json.loads(row.spec),
        labels=json.loads(row.labels),
        lifecycle=Lifecycle.from_document(json.loads(row.lifecycle)),
        source=Source(row.owner, row.line, row.column, row.revision),
        generation=row.generation,
        digest=row.digest,
    )


def _rows(connection: Connection, refs: Collection[ResourceRef] | None = None) -> Iterable[Row[Any]]:
    same = and_(resources.c.kind == statuses.c.kind, resources.c.name == statuses.c.name)
    chosen = select(*_COLUMNS).select_from(resources.outerjoin(statuses, same))
    if refs is None:
        yield from connection.execute(chosen).all()
        return
    for part in among(resources, refs):
        yield from connection.execute(chosen.where(part)).all()


def _record(row: Row[Any], resource: Resource) -> Record:
    return Record(
        ref=resource.ref,
        resource=resource,
        applied=json.loads(row.applied) if row.applied else None,
        protected=bool(row.protected),
        vanished=row.vanished_at is not None,
        vanished_why=row.vanished_why,
        suspended=(row.suspend_reason or "suspended by hand") if row.suspend_since is not None else "",
        ready=row.ready == "True",
        touched=bool(row.touched),
        observed_generation=row.observed_generation or 0,
        requested=(row.requested_at or "") if row.requested_at != row.handled_at else "",
    )


def _may_own(row: Row[Any], resource: Resource, scope: Scope) -> bool:
    """Another owner may take over what vanished, and what its own source no longer has at the old place."""
    if row.owner == resource.source.owner or row.vanished_at is not None:
        return True
    return scope.speaks_for(row.owner) or row.owner in scope.abandoned


def _to_row(resource: Resource, recording: Recording, now: float) -> dict[str, Any]:
    return {
        "kind": resource.ref.kind,
        "name": resource.ref.name,
        "owner": resource.source.owner,
        "line": resource.source.line,
        "column": resource.source.column,
        "revision": resource.source.revision,
        "labels": canonical_json(dict(resource.labels)),
        "lifecycle": canonical_json(resource.lifecycle.to_document()),
        "spec": canonical_json(stored_form(resource.spec, recording.key)),
        "needs": json.dumps([str(need) for need in recording.needs_of(resource)]),
        "digest": resource.digest,
        "generation": resource.generation,
        "vanished_at": None,
        "vanished_why": "",
        "created_at": now,
        "updated_at": now,
    }


def _blank_status(ref: Mapping[str, str]) -> dict[str, Any]:
    return {"kind": ref["kind"], "name": ref["name"], "message": "", "conditions": "[]", "drift": "[]"}


def _is(ref: ResourceRef) -> Any:
    return and_(resources.c.kind == ref.kind, resources.c.name == ref.name)
