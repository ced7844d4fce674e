"""Taking in rows that were read from somewhere else: new ones are written, others brought up to date, none deleted.

Called by `cli.import_commands`, in one transaction. What was seen of a cluster or given to it is not touched, nor what
is wanted of it (`desired_state`): importing a row again brings nothing back that is being deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.errors import SpecError
from reconciler.kind import Records
from reconciler.kinds.cluster import rows
from reconciler.kinds.cluster.ports import HOST_PORTS

_HOST_COLUMNS = tuple(rows.PORT_COLUMNS[name] for name in HOST_PORTS)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one row. is_new: it was not there. changed: before and after by column."""

    name: str
    is_new: bool
    changed: Mapping[str, tuple[Any, Any]]


def compare(records: Records, wanted: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Taken]:
    """What would become of rows, given as name and columns. Reads.

    Raises SpecError, a line for each host port that another cluster has.
    """
    there = {row["name"]: row for row in records.list(rows.TABLE)}
    taken = [_taken(name, there.get(name), values) for name, values in wanted]
    if conflicts := list(_conflicts(there, taken)):
        raise SpecError("PortTaken", "\n".join(conflicts))
    return taken


def write(records: Records, taken: Iterable[Taken], now: float) -> None:
    """Carry out what `compare` found, in the same transaction."""
    for one in taken:
        values = {column: after for column, (_, after) in one.changed.items()}
        if one.is_new:
            records.put(rows.TABLE, {"name": one.name}, {**values, "created_at": now, "updated_at": now})
        elif values:
            records.put(rows.TABLE, {"name": one.name}, {**values, "updated_at": now})


def _taken(name: str, row: rows.Row | None, values: Mapping[str, Any]) -> Taken:
    """A port that was given in place of the wanted one is no difference."""
    if row is None:
        return Taken(name, True, {column: (None, value) for column, value in values.items()})
    wished = rows.wished_ports(row)
    before = {**row, **{column: wished.get(port) for port, column in rows.PORT_COLUMNS.items()}}
    changed = {column: (before[column], value) for column, value in values.items() if before[column] != value}
    return Taken(name, False, changed)


def _conflicts(there: Mapping[str, rows.Row], taken: Sequence[Taken]) -> Iterator[str]:
    """Host ports that are new for a cluster, and that one which is not among the rows has."""
    names = {one.name for one in taken}
    held = {row[column]: name for name, row in there.items() if name not in names for column in _HOST_COLUMNS}
    for one in taken:
        for column in _HOST_COLUMNS:
            port = one.changed.get(column, (None, None))[1]
            if port is not None and port in held:
                yield f"{one.name}: {column} {port} is held by Cluster/{held[port]}"
