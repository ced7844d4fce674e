"""What the store remembers of resources, and what desired state means beside it. Reads only, in plain SQL.

Called by `engine.workspace` after loading, by a dry run, and by whoever needs a record; `resources` writes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.model.record import Record
from reconciler.model.resource import RECORD_OWNER, Lifecycle, Resource, ResourceRef, Source
from reconciler.store.reading import Row, by_kind, listed, rows

if TYPE_CHECKING:
    from reconciler.store.reading import Readable

API_OWNER = "api"
_AT_ONCE = 512  # SQLite looks for the place of each named value among all names
_STORED = """
    SELECT resources.kind, resources.name, resources.owner, resources.line, resources.column, resources.revision,
        resources.labels, resources.lifecycle, resources.spec, resources.digest, resources.generation,
        resources.vanished_at, resources.vanished_why, statuses.applied, statuses.protected, statuses.touched,
        statuses.ready, statuses.observed_generation, statuses.suspend_since, statuses.suspend_reason,
        statuses.requested_at, statuses.handled_at
    FROM resources LEFT JOIN statuses ON resources.kind = statuses.kind AND resources.name = statuses.name
"""
_PENDING = """
    SELECT SUM(resources.vanished_at IS NOT NULL) AS vanished,
        SUM(resources.vanished_at IS NULL AND resources.lifecycle LIKE :absent AND statuses.touched = 1) AS absent
    FROM resources JOIN statuses ON resources.kind = statuses.kind AND resources.name = statuses.name
    WHERE statuses.protected = 0
"""


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
    connection: Readable,
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
        ref = ResourceRef(row["kind"], row["name"])
        resource = wanted.get(ref)
        if resource is not None and _may_own(row, resource, scope):
            moved = row["digest"] != resource.digest
            desired[ref] = replace(resource, generation=row["generation"] + moved)
            known = _record(row, desired[ref])
            records[ref] = replace(known, vanished=False, vanished_why="") if known.vanished else known
            if moved or row["vanished_at"] is not None or row["owner"] != resource.source.owner:
                changed.add(ref)
            continue
        if resource is not None:
            conflicts.append(Conflict(ref, row["owner"], resource.source))
        stored = resource_from_row(row)
        if row["vanished_at"] is None and resource is None and scope.misses(row["owner"]):
            vanished[ref] = why = _why_vanished(row["owner"], scope.revision)
            records[ref] = replace(_record(row, stored), vanished=True, vanished_why=why)
            continue
        records[ref] = _record(row, stored)
        if row["vanished_at"] is None:
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


def documents(connection: Readable) -> dict[ResourceRef, dict[str, Any]]:
    """The documents of every resource that the API or the CLI owns and that nobody deleted."""
    chosen = "SELECT kind, name, document FROM resources WHERE owner = :owner AND vanished_at IS NULL"
    found = rows(connection, chosen, owner=API_OWNER)
    return {ResourceRef(row["kind"], row["name"]): json.loads(row["document"]) for row in found if row["document"]}


def living(connection: Readable) -> list[ResourceRef]:
    """Every resource that somebody still wants."""
    found = rows(connection, "SELECT kind, name FROM resources WHERE vanished_at IS NULL")
    return [ResourceRef(row["kind"], row["name"]) for row in found]


def labels_of(connection: Readable, kind: str) -> dict[str, Mapping[str, str]]:
    """The labels of every resource of a kind, by name."""
    found = rows(connection, "SELECT name, labels FROM resources WHERE kind = :kind", kind=kind)
    return {row["name"]: json.loads(row["labels"]) for row in found}


def approved(connection: Readable) -> frozenset[tuple[ResourceRef, str]]:
    """Every approval that was not used yet, with the fingerprint of the change that it allows."""
    found = rows(connection, "SELECT kind, name, fingerprint FROM approvals")
    return frozenset((ResourceRef(row["kind"], row["name"]), row["fingerprint"]) for row in found)


class Waiting(NamedTuple):
    """How many resources are due to be deleted: because they vanished (with prune), or say `state: absent`."""

    vanished: int
    absent: int


def pending_destroys(connection: Readable) -> Waiting:
    """All that wait, so that planning a few at a time cannot slip under the brake."""
    (row,) = rows(connection, _PENDING, absent='%"state":"absent"%')
    return Waiting(int(row["vanished"] or 0), int(row["absent"] or 0))


def owners_of(connection: Readable, refs: Collection[ResourceRef]) -> dict[ResourceRef, str]:
    """Who has, or had, each of these resources; those that were never seen are left out."""
    found = _among(connection, "SELECT kind, name, owner FROM resources", refs)
    return {ResourceRef(row["kind"], row["name"]): row["owner"] for row in found}


def load_records(
    connection: Readable,
    refs: Collection[ResourceRef] | None = None,
    loaded: Mapping[ResourceRef, Resource] | None = None,
) -> dict[ResourceRef, Record]:
    """The records of some resources, or of all.

    loaded: what sources say now; it takes the place of a stored resource that did not vanish, because it knows its
    files and secrets.
    """
    found: dict[ResourceRef, Record] = {}
    for row in _rows(connection, refs):
        ref = ResourceRef(row["kind"], row["name"])
        resource = loaded.get(ref) if loaded is not None and row["vanished_at"] is None else None
        found[ref] = _record(row, resource_from_row(row) if resource is None else resource)
    return found


def resource_from_row(row: Row) -> Resource:
    """A resource as it was stored: secrets are `{"secret": digest}`, files `{"file", "digest"}`."""
    return Resource(
        ref=ResourceRef(row["kind"], row["name"]),
        spec=json.loads(row["spec"]),
        labels=json.loads(row["labels"]),
        lifecycle=Lifecycle.from_document(json.loads(row["lifecycle"])),
        source=Source(row["owner"], row["line"], row["column"], row["revision"]),
        generation=row["generation"],
        digest=row["digest"],
    )


def _rows(connection: Readable, refs: Collection[ResourceRef] | None) -> Iterable[Row]:
    return rows(connection, _STORED) if refs is None else _among(connection, _STORED, refs)


def _among(connection: Readable, statement: str, refs: Collection[ResourceRef]) -> Iterator[Row]:
    """The rows of `resources` for `refs`, in statements that are not too long."""
    for kind, names in by_kind(refs, _AT_ONCE):
        among, bound = listed("name", names)
        where = f"{statement} WHERE resources.kind = :kind AND resources.name IN ({among})"
        yield from rows(connection, where, kind=kind, **bound)


def _record(row: Row, resource: Resource) -> Record:
    return Record(
        ref=resource.ref,
        resource=resource,
        applied=json.loads(row["applied"]) if row["applied"] else None,
        protected=bool(row["protected"]),
        vanished=row["vanished_at"] is not None,
        vanished_why=row["vanished_why"],
        suspended=(row["suspend_reason"] or "suspended by hand") if row["suspend_since"] is not None else "",
        ready=row["ready"] == "True",
        touched=bool(row["touched"]),
        observed_generation=row["observed_generation"] or 0,
        requested=(row["requested_at"] or "") if row["requested_at"] != row["handled_at"] else "",
    )


def _may_own(row: Row, resource: Resource, scope: Scope) -> bool:
    """Another owner may take over what vanished, and what its own source no longer has at the old place."""
    if row["owner"] == resource.source.owner or row["vanished_at"] is not None:
        return True
    return scope.speaks_for(row["owner"]) or row["owner"] in scope.abandoned
