"""Desired state as it is written to the store: generations, owners, what vanished. `remembered` reads it.

Called by `engine.workspace` after loading, and by `engine.desired` for what the API and the CLI own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, delete, select, update

from reconciler.model.digest import canonical_json, stored_form
from reconciler.model.resource import Resource, ResourceRef
from reconciler.store.database import Database
from reconciler.store.remembered import API_OWNER, Desired
from reconciler.store.tables import resources, statuses

_KEY = ("kind", "name")


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


def document_of(connection: Connection, ref: ResourceRef) -> dict[str, Any] | None:
    """The document of a resource that the API or the CLI owns; None for one that is written elsewhere, or is not."""
    chosen = select(resources.c.document).where(_is(ref), resources.c.owner == API_OWNER)
    text = connection.execute(chosen.where(resources.c.vanished_at.is_(None))).scalar_one_or_none()
    return dict(json.loads(text)) if text else None


def owner_of(connection: Connection, ref: ResourceRef) -> str | None:
    """Who owns a resource now; None when nobody does (never seen, or vanished)."""
    chosen = select(resources.c.owner).where(_is(ref), resources.c.vanished_at.is_(None))
    return connection.execute(chosen).scalar_one_or_none()


def withdraw(database: Database, connection: Connection, ref: ResourceRef, why: str) -> None:
    """Say that nobody wants a resource any more: what an owner that is no file does instead of deleting a document."""
    statement = update(resources).where(_is(ref))
    connection.execute(statement.values(vanished_at=database.now(connection), vanished_why=why[:512]))


def forget(connection: Connection, ref: ResourceRef) -> None:
    """Drop a resource and its status: after its deletion was verified. History and events stay."""
    connection.execute(delete(resources).where(_is(ref)))
    connection.execute(delete(statuses).where(statuses.c.kind == ref.kind, statuses.c.name == ref.name))


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
