"""Reserving a cluster's name and ports: one transaction, in which its row is written. Called by `steps` and `looking`.

What a cluster has, it keeps: its ports go with its row. Whoever asks for a port that somebody else has is given the
next free one, and the plan, the log and the records say so; with `ports.strict` that is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.errors import ReconcilerError, TransientError
from reconciler.kind import Context, Outputs, Records
from reconciler.kinds.cluster import rows
from reconciler.kinds.cluster.host_ports import is_free
from reconciler.kinds.cluster.ports import HOST_PORTS, Grant, Wish, columns_of, grant, grants_of, notes, ranges_of
from reconciler.kinds.cluster.providers import provider_named
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.kinds.cluster.states import State
from reconciler.model.plan import Action


@dataclass(frozen=True, slots=True)
class _Reserved:
    """The port columns of a row, and what people should know of them."""

    columns: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def reserve(context: Context) -> Outputs | None:
    """The row exists, holds its ports and says `creating`. An interrupted attempt is failed first, to show in the log.

    Raises TerminalError, and leaves no row that was not there, when there is no port left or a strict one is taken.
    """
    spec = _spec(context)
    with context.records.transaction() as records:
        row = rows.read(records, spec.name)
        interrupted = rows.state_of(row) is State.CREATING
        reserved = _reserved(context, records, spec, row)
        values = {
            **rows.wish_of(context),
            **reserved.columns,
            "provider": spec.provider,
            "version": spec.version,
            "servers": spec.servers,
            "agents": spec.agents,
            "reconcile_error": None,
        }
        through = State.FAILED if interrupted else None
        way = rows.move(records, (spec.name, context.now()), State.CREATING, values, through=through)
    if interrupted:
        context.log(f"{spec.name} was being created when its process ended; trying again\n")
    context.log(f"{spec.name}: {way}\n")
    return _told(context, reserved)


def reserve_ports(context: Context) -> Outputs | None:
    """The row of a cluster that is there holds the ports of its spec."""
    spec = _spec(context)
    with context.records.transaction() as records:
        row = rows.read(records, spec.name)
        if row is None:
            raise TransientError("NoRecord", f"the record of {spec.name} is gone")
        reserved = _reserved(context, records, spec, row)
        values = {**rows.wish_of(context), **reserved.columns, "updated_at": context.now()}
        records.put(rows.TABLE, {"name": spec.name}, values)
    return _told(context, reserved)


def forget(context: Context) -> Outputs | None:
    """Delete the row, and with it its claim to name and ports.

    Of a cluster that only its row wants and that is to be made again, what is wanted stays.
    """
    assert context.change is not None
    name = context.change.ref.name
    with context.records.transaction() as records:
        row = rows.read(records, name)
        records.delete(rows.TABLE, name=name)
        if row is not None and row["desired_by"] == "row" and context.change.action is Action.REPLACE:
            records.put(rows.TABLE, {"name": name}, {column: row[column] for column in _WISH})
    return None


def foresee(spec: ClusterSpec, context: Context) -> str:
    """What would be said of its ports if a cluster were created now, for its plan. Reads only."""
    if not provider_named(spec.provider).allocates_ports:
        return ""
    row = rows.read(context.records, spec.name)
    try:
        given = _grant(context, context.records, spec, row, creating=True)
    except ReconcilerError as error:
        return error.message
    return "; ".join(notes(given))


def claims(spec: ClusterSpec) -> dict[str, str]:
    """The ports of this host that a spec names, each with what becomes of the cluster when another one has it first."""
    if not provider_named(spec.provider).allocates_ports:
        return {}
    otherwise = "fails" if spec.strict_ports else "gets the next free one"
    return {f"port {port} of this host": otherwise for name, port in spec.ports.items() if name in HOST_PORTS}


def check(context: Context) -> None:
    """Raise what `reserve` would raise now, before anything else is done for a creation."""
    spec = _spec(context)
    if provider_named(spec.provider).allocates_ports:
        _grant(context, context.records, spec, rows.read(context.records, spec.name), creating=True)


_WISH = (
    "id",
    "provider",
    "subnet",
    *rows.PORT_COLUMNS.values(),
    "desired_state",
    "desired_by",
    "role",
    "environment",
    "description",
    "register_portainer",
    "haproxy_route",
    "created_at",
    "updated_at",
)


def _reserved(context: Context, records: Records, spec: ClusterSpec, row: rows.Row | None) -> _Reserved:
    """The ports of a cluster. One that is there already has those that it was made with: they are only recorded."""
    assert context.change is not None
    if not provider_named(spec.provider).allocates_ports:
        return _Reserved({column: spec.ports.get(name) for name, column in rows.PORT_COLUMNS.items()})
    creating = context.change.action in (Action.CREATE, Action.REPLACE)
    given = _grant(context, records, spec, row, creating=creating)
    columns = {rows.PORT_COLUMNS[name]: one.given for name, one in given.items()}
    return _Reserved({**columns, "granted_ports": json.dumps(columns_of(given))}, tuple(notes(given)))


def _grant(
    context: Context, records: Records, spec: ClusterSpec, row: rows.Row | None, *, creating: bool
) -> dict[str, Grant]:
    held = grants_of(json.loads(row["granted_ports"])) if row is not None else {}
    if row is not None:
        held = {name: Grant(None, port) for name, port in rows.ports_of(row).items()} | held
    ranges = ranges_of(context.settings)
    wish = Wish(
        asked=spec.ports,
        held=held,
        ranges=ranges if creating else {name: ranges[name] for name in HOST_PORTS if name in held},
        strict=spec.strict_ports,
    )
    others = [other for other in records.list(rows.TABLE) if other["name"] != spec.name]

    def holder_of(name: str, port: int) -> str:
        for other in others:
            if name in HOST_PORTS:
                columns = [rows.PORT_COLUMNS[one] for one in HOST_PORTS]
            else:
                same_node = row is not None and row["server_ip"] and row["server_ip"] == other["server_ip"]
                columns = [rows.PORT_COLUMNS[name]] if same_node else []
            if any(other[column] == port for column in columns):
                return f"Cluster/{other['name']}"
        is_taken = creating and name in HOST_PORTS and not is_free(port)
        return "another program on this host" if is_taken else ""

    return grant(wish, holder_of)


def _told(context: Context, reserved: _Reserved) -> Outputs:
    for note in reserved.notes:
        context.log(f"{note}\n")
    given = {name: reserved.columns[column] for name, column in rows.PORT_COLUMNS.items() if column in reserved.columns}
    return {"ports": {name: port for name, port in given.items() if port is not None}}


def _spec(context: Context) -> ClusterSpec:
    assert context.resource is not None
    return ClusterSpec.of(context.resource)
