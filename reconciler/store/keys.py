"""Selecting rows by `Kind/name` through the primary key. Used by the modules of `store` that keep a row a resource."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import ColumnElement, Table, and_

from reconciler.model.resource import ResourceRef

_AT_ONCE = 5000


def among(table: Table, refs: Collection[ResourceRef]) -> Iterator[ColumnElement[bool]]:
    """Conditions that together select the rows of `refs`, each small enough for one statement.

    A row value in a list, `(kind, name) IN (…)`, would say the same, but SQLite answers it by reading the whole table.
    """
    names: dict[str, list[str]] = {}
    for kind, name in sorted(refs):
        names.setdefault(kind, []).append(name)
    for kind, listed in names.items():
        for start in range(0, len(listed), _AT_ONCE):
            yield and_(table.c.kind == kind, table.c.name.in_(listed[start : start + _AT_ONCE]))
