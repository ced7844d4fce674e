"""The attachments: every module here with an `ATTACHMENT`. Each is one thing outside of a cluster that follows it.

A cluster's git branch, its route, its registration: made after the cluster works and before it is called running,
compared at every look, removed before the cluster is. Adding one is adding a module and, beside it, `FIELD.json`: its
part of the spec's schema. `kind`, `looking` and `plan_steps` know no attachment by name. What was made is noted in
`cluster_attachments` (see `made`), so that it can be removed when no spec asks for it any more.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from reconciler.kind import Context, Step
from reconciler.kinds.cluster.providers import Found
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.resource import Resource


@dataclass(frozen=True, slots=True)
class Held:
    """A cluster that is there, as an attachment is shown it.

    row: its row in `clusters`, None while it has none. found: what its provider sees now. made: what the attachment
    noted that it made for it, None for nothing.
    """

    resource: Resource
    spec: ClusterSpec
    row: Mapping[str, Any] | None
    found: Found
    made: Mapping[str, Any] | None


class Attachment(Protocol):
    """One thing outside of a cluster that follows it.

    field: its name in the spec, in the normal form and in the records. rank: they are made in this order and removed in
    the reverse one. needs_cluster: it is made of what the running cluster says (its API, its address), so that it is
    neither looked at nor made while the cluster stands still, and made again whenever the cluster was put in order.

    ensure, remove: their weights are those beside a whole creation's 100. Both are called again after a crash at any
    line. They note what they make, before it can be there, with `made.note`, and `made.forget` it once it is seen to be
    gone. They raise when it could not be done; the wrapping that writes this into the records is not theirs. Neither
    keeps the others from being tried.
    """

    field: str
    rank: int
    needs_cluster: bool
    ensure: Step
    remove: Step

    def wanted(self, resource: Resource) -> Any:
        """The desired value in the shape that `look` reports, None when the spec does not ask for one after all. Pure.

        Called only for a spec that names the field. Plain data, a `Secret` may stand in it. The spec may be in its
        stored form. Raises SpecError.
        """
        ...

    def look(self, held: Held, context: Context) -> Any:
        """What is there: plain data, None for nothing. Reads only.

        Called only when the spec asks for it or something was made. Raises ReconcilerError when it cannot look.
        """
        ...


@cache
def fields() -> tuple[str, ...]:
    """The field of every attachment, without importing one: most clusters have none, and they bring a lot with them."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.json")))


@cache
def attachments() -> Mapping[str, Attachment]:
    """All attachments by field, in the order in which they are made."""
    found: list[Attachment] = []
    for entry in pkgutil.iter_modules(__path__):
        attachment = getattr(importlib.import_module(f"{__name__}.{entry.name}"), "ATTACHMENT", None)
        if attachment is not None:
            found.append(attachment)
    return {one.field: one for one in sorted(found, key=lambda one: (one.rank, one.field))}


def schema_of(field: str) -> dict[str, Any]:
    """The part of the spec's schema that is an attachment's: `FIELD.json` beside its module."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name(f"{field}.json").read_text("utf-8"))
    return schema


def wanted_attachments(resource: Resource) -> dict[str, Any]:
    """By field, what is wanted; None where nothing is, so that whatever is there has to go. Pure. Raises SpecError."""
    if not any(field in resource.spec for field in fields()):
        return dict.fromkeys(fields())
    return {field: one.wanted(resource) if field in resource.spec else None for field, one in attachments().items()}
