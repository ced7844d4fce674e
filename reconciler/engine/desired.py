"""Changing desired state that the store owns: create, withdraw, start, stop. Called by the CLI and by `web.writing`.

Each function writes in the caller's transaction and changes nothing but what is wanted: the engine acts on it. So of
any number of processes that ask for the same name at once, exactly one gets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.engine import recorded
from reconciler.engine.runtime import Runtime
from reconciler.errors import BlockedError, UsageError
from reconciler.kind import Wanted
from reconciler.model.record import Record
from reconciler.model.resource import RECORD_OWNER, Resource, ResourceRef
from reconciler.store import events, leases, resources
from reconciler.store.remembered import API_OWNER, load_records

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Draft:
    """A valid document that is to be kept, and the resource that it describes."""

    document: Mapping[str, Any]
    resource: Resource


def drafted(runtime: Runtime, document: Mapping[str, Any]) -> Draft:
    """The draft of a document. Raises SpecError, with a line for each field that is wrong."""
    from reconciler.loading.loader import resource_from_document  # noqa: PLC0415 - the loader, only when called

    options = runtime.load_options()
    return Draft(document, resource_from_document(document, runtime.kinds, options, API_OWNER))


def create(runtime: Runtime, connection: Connection, draft: Draft, actor: str) -> int:
    """Keep a new resource; its generation. Raises BlockedError("AlreadyExists") naming who has it.

    What was withdrawn before anything of it was made is free again.
    """
    ref = draft.resource.ref
    record = load_records(connection, [ref]).get(ref)
    if record is not None and not record.vanished and not _is_free(record):
        raise BlockedError("AlreadyExists", _why_taken(connection, record))
    return _keep(runtime, connection, draft, actor, "CreateRequested")


def withdraw(runtime: Runtime, connection: Connection, ref: ResourceRef, actor: str) -> int:
    """Say that a resource of the store shall be absent; its generation. Raises what `check_deletable` raises.

    Raises BlockedError("Vanished") for one that nobody names any more: that is deleted by pruning.
    """
    if not check_deletable(runtime, connection, ref):
        raise BlockedError("Vanished", f"no document names {ref} any more: `reconciler delete {ref}` prunes it")
    document = resources.document_of(connection, ref)
    if document is None:
        return _want(runtime, connection, ref, "absent", (actor, "DeleteRequested"))
    wanted = {**document, "lifecycle": {**document.get("lifecycle", {}), "state": "absent"}}
    return _keep(runtime, connection, drafted(runtime, wanted), actor, "DeleteRequested")


def check_deletable(runtime: Runtime, connection: Connection, ref: ResourceRef) -> bool:
    """Whether a resource can be withdrawn; False for one that vanished from its source, and only waits to be pruned.

    Raises UsageError("NoSuchResource"), and BlockedError for what is protected or written in a file.
    """
    record = _record(connection, ref)
    if record.protected or record.resource.lifecycle.deletion == "protect":
        raise BlockedError("Protected", f"{ref} is protected: set lifecycle.deletion to delete and apply that first")
    if protecting := protecting_field(runtime, record.resource):
        raise BlockedError("Protected", f"{ref} is protected by its {protecting}: change that and apply it first")
    if record.vanished:
        return False
    if not is_stored(record):
        owner = record.resource.source
        raise BlockedError(
            "OwnedByFile", f"{ref} is written in {owner}: delete it there, or set lifecycle.state: absent"
        )
    return True


def set_running(runtime: Runtime, connection: Connection, ref: ResourceRef, running: bool, actor: str) -> int:
    """Say whether a resource of the store shall run; its generation.

    Raises UsageError("NoSuchResource"), BlockedError for one that is written in a file or on its way out, and SpecError
    where its kind knows no such thing as running.
    """
    record = _record(connection, ref)
    if record.vanished or not is_stored(record):
        owner, word = record.resource.source, str(running).lower()
        raise BlockedError("OwnedByFile", f"{ref} is written in {owner}: set spec.running: {word} there")
    if record.resource.lifecycle.state == "absent":
        raise BlockedError("BeingDeleted", f"{ref} is being deleted")
    reason = "StartRequested" if running else "StopRequested"
    document = resources.document_of(connection, ref)
    if document is None:
        return _want(runtime, connection, ref, "present" if running else "stopped", (actor, reason))
    wanted = {**document, "spec": {**document.get("spec", {}), "running": running}}
    return _keep(runtime, connection, drafted(runtime, wanted), actor, reason)


def is_stored(record: Record) -> bool:
    """Whether the store itself says what is wanted of a resource: by a document that it keeps, or by a record."""
    return record.resource.source.owner in (API_OWNER, RECORD_OWNER)


def protecting_field(runtime: Runtime, resource: Resource) -> str:
    """The field by whose value a kind keeps its resources from being deleted, as `spec.field: value`; "" for none.

    A kind's schema says so with `x-protects: value` at a field of `spec`.
    """
    kind = runtime.kinds.get(resource.ref.kind)
    properties = kind.schema.get("properties", {}) if kind is not None else {}
    for name, described in properties.items():
        value = described.get("x-protects") if isinstance(described, Mapping) else None
        if value is not None and resource.spec.get(name, described.get("default")) == value:
            return f"spec.{name}: {value}"
    return ""


def _record(connection: Connection, ref: ResourceRef) -> Record:
    record = load_records(connection, [ref]).get(ref)
    if record is None:
        raise UsageError("NoSuchResource", f"there is no {ref}")
    return record


def _is_free(record: Record) -> bool:
    """Withdrawn, and nothing was ever made of it."""
    is_ours = record.resource.source.owner == API_OWNER
    return is_ours and record.resource.lifecycle.state == "absent" and not record.touched


def _why_taken(connection: Connection, record: Record) -> str:
    holder = leases.holder_of(connection, str(record.ref))
    by = f" by {holder}" if holder else ""
    if record.resource.lifecycle.state == "absent":
        return f"{record.ref} is being deleted{by}"
    if record.applied is None and record.resource.source.owner == API_OWNER:
        return f"{record.ref} exists already: it is being created{by}"
    return f"{record.ref} exists already, owned by {record.resource.source.owner}"


def _want(runtime: Runtime, connection: Connection, ref: ResourceRef, state: Wanted, by: tuple[str, str]) -> int:
    generation = recorded.want(runtime, connection, ref, state)
    _tell(runtime, connection, ref, generation, by)
    return generation


def _keep(runtime: Runtime, connection: Connection, draft: Draft, actor: str, reason: str) -> int:
    database, ref = runtime.database, draft.resource.ref
    generation = resources.put_document(database, connection, draft.resource, draft.document, runtime.recording())
    _tell(runtime, connection, ref, generation, (actor, reason))
    return generation


def _tell(runtime: Runtime, connection: Connection, ref: ResourceRef, generation: int, by: tuple[str, str]) -> None:
    """Who asked for what, as an event. by: the actor and the reason."""
    message = f"desired state written, generation {generation}"
    event = events.Event("normal", by[1], message, ref, by[0][:128])
    events.add(connection, runtime.database.now(connection), [event])
