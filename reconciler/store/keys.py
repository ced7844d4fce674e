"""Selecting rows by `Kind/name` through the primary key. Used by the modules of `store` that keep a row a resource."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import ColumnElement, Table, and_

from reconciler.model.resource import ResourceRef
from reconciler.store.reading import by_kind

_AT_ONCE = 5000


def among(table: Table, refs: Collection[ResourceRef]) -> Iterator[ColumnElement[bool]]:
    """Conditions that together select the rows of `refs`, each small enough for one statement."""
    for kind, names in by_kind(refs, _AT_ONCE):
        yield and_(table.c.kind == kind, table.c.name.in_(names))
