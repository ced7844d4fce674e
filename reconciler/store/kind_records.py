"""A kind's own tables, as its `Context.records` writes them. Built by `engine.context`, bound to a lease."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Connection,
    Insert,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    insert,
    literal,
    select,
    true,
    update,
)

from reconciler.errors import TerminalError
from reconciler.store.database import Database
from reconciler.store.kind_rows import KindRows
from reconciler.store.leases import Lease

_PREFIX = "where_"

Shape = tuple[tuple[str, bool], ...]
"""Which columns a statement compares, each with whether it is to be NULL: statements are made once a shape."""


class KindRecords(KindRows):
    """Rows of a kind's tables as plain dicts, to be read and written.

    lease: under which writes are fenced. connection: an open transaction to read and write in, instead of one of its
    own; without a lease, it is the only one.
    """

    def __init__(
        self,
        database: Database,
        tables: Mapping[str, Table],
        lease: Lease | None,
        connection: Connection | None = None,
    ) -> None:
        super().__init__(database, {}, connection)
        self._tables = tables
        self._lease = lease
        self._writer = connection

    @contextmanager
    def transaction(self) -> Iterator[KindRecords]:
        """Everything inside is written together or not at all; other writers wait."""
        if self._writer is not None:
            yield self
            return
        with self._writing().fenced() as connection:
            yield KindRecords(self._database, self._tables, self._lease, connection)

    def put(self, table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Insert the row `key` + `values`, or change just `values` of the row with this unique key."""
        with self.transaction() as inner:
            assert inner._writer is not None
            source = self._table(table)
            # not an upsert: SQLite would check the NOT NULL columns of the insert first, which a change may leave out
            there = inner._writer.execute(_presence(source, _shape(key)), _bound(key)).first()
            if there is None:
                inner._writer.execute(_insertion(source), {**key, **values})
            elif values:
                inner._writer.execute(_alteration(source, _shape(key)), {**_bound(key), **values})

    def delete(self, table: str, **key: Any) -> None:
        """Delete the rows with these column values; without any, nothing is deleted."""
        source = self._table(table)
        if not key:
            raise TerminalError("NoKey", f"refusing to delete every row of {table}")
        with self.transaction() as inner:
            assert inner._writer is not None
            inner._writer.execute(delete(source).where(_matches(source, _shape(key))), _bound(key))

    def allocate(self, table: str, column: str, candidates: Iterable[int], **scope: Any) -> int:
        """The first candidate that no row of `scope` holds in `column`; call it inside `transaction()`."""
        source = self._table(table)
        if self._writer is None:
            raise TerminalError("NoTransaction", "allocate needs the transaction that records what it allocates")
        chosen = select(source.c[column]).where(_matches(source, _shape(scope)))
        taken = set(self._writer.execute(chosen, _bound(scope)).scalars())
        for candidate in candidates:
            if candidate not in taken:
                return candidate
        raise TerminalError("Exhausted", f"every candidate for {table}.{column} is taken")

    def _table(self, name: str) -> Table:
        try:
            return self._tables[name]
        except KeyError:
            raise TerminalError("UnknownTable", f"this kind declares no table {name}") from None

    def _writing(self) -> Lease:
        if self._lease is None:
            raise TerminalError("ReadOnly", "observe may not write records")
        return self._lease

    def _key_of(self, table: str) -> Sequence[str]:
        return [column.name for column in self._table(table).primary_key.columns]


def _shape(where: Mapping[str, Any]) -> Shape:
    return tuple((name, value is None) for name, value in where.items())


def _bound(where: Mapping[str, Any]) -> dict[str, Any]:
    """The values under the names that `_matches` gives them, which no column has."""
    return {f"{_PREFIX}{name}": value for name, value in where.items() if value is not None}


def _matches(table: Table, shape: Shape) -> Any:
    compared = (
        table.c[name].is_(None) if is_null else table.c[name] == bindparam(f"{_PREFIX}{name}")
        for name, is_null in shape
    )
    return and_(true(), *compared)


@lru_cache(maxsize=1024)
def _presence(table: Table, shape: Shape) -> Select[Any]:
    return select(literal(1)).select_from(table).where(_matches(table, shape))


@lru_cache(maxsize=256)
def _insertion(table: Table) -> Insert:
    return insert(table)


@lru_cache(maxsize=1024)
def _alteration(table: Table, shape: Shape) -> Update:
    return update(table).where(_matches(table, shape))
