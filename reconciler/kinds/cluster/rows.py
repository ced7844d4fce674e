"""The row of a cluster: read, moved on from state to state, failed. Called by the steps and by `observe`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reconciler.errors import TransientError
from reconciler.kind import Context, KnownCluster, Records
from reconciler.kinds.cluster.states import State, path
from reconciler.model.resource import RECORD_OWNER

TABLE = "clusters"
PORT_COLUMNS = {"nodePort": "node_port", "pfPort": "pf_port", "httpPort": "http_port", "httpsPort": "https_port"}
RECORD_ATTEMPTS = 3
_ERROR_LENGTH = 4000

Row = Mapping[str, Any]


def read(records: Records, name: str) -> Row | None:
    """The row of a cluster, or None."""
    return records.get(TABLE, name=name)


def state_of(row: Row | None) -> State:
    """Its `actual_state`; UNKNOWN without a row."""
    return State(row["actual_state"]) if row is not None else State.UNKNOWN


def advance(
    context: Context, name: str, target: State, values: Mapping[str, Any] | None = None, *, through: State | None = None
) -> None:
    """Move the row along allowed edges to `target` and set `values`, in one transaction. Makes the row if need be.

    through: a state to pass on the way even where there is no need to.
    """
    with context.records.transaction() as records:
        way = move(records, (name, context.now()), target, values or {}, through=through)
    if way:
        context.log(f"{name}: {way}\n")


def move(
    records: Records, at: tuple[str, float], target: State, values: Mapping[str, Any], *, through: State | None = None
) -> str:
    """`advance` inside a transaction that is open; the way, for the log. at: the cluster's name and the time."""
    name, now = at
    row = read(records, name)
    first = path(state_of(row), through or state_of(row))
    passed = (*first, *path(through or state_of(row), target))
    stamped = {"updated_at": now} if row is not None else {"updated_at": now, "created_at": now}
    state = {"actual_state": target.value, "status": target.value}
    records.put(TABLE, {"name": name}, {**stamped, **values, **state})
    return " -> ".join((state_of(row), *passed)) if passed else ""


def change(context: Context, name: str, values: Mapping[str, Any]) -> None:
    """Set columns of an existing row; its state stays."""
    with context.records.transaction() as records:
        row = read(records, name)
        if row is None:
            raise TransientError("NoRecord", f"the record of {name} is gone")
        records.put(TABLE, {"name": name}, {**values, "updated_at": context.now()})


def fail(context: Context, name: str, message: str) -> None:
    """The row says `failed` and why. A cluster without a row stays without one."""
    if read(context.records, name) is not None:
        advance(context, name, State.FAILED, {"reconcile_error": message[-_ERROR_LENGTH:]})


def write_surely(context: Context, write: Callable[[], None]) -> None:
    """Call `write` up to three times while the database does not take it; every attempt is logged."""
    for attempt in range(1, RECORD_ATTEMPTS + 1):
        context.log(f"writing the record, attempt {attempt} of {RECORD_ATTEMPTS}\n")
        try:
            write()
            return
        except TransientError as error:
            if attempt == RECORD_ATTEMPTS:
                raise
            context.log(f"attempt {attempt} failed: {error}\n")
            context.sleep(0.5 * attempt)


def recorded_fields(row: Row, wanted: Mapping[str, int], *, allocates: bool) -> dict[str, Any]:
    """What of the desired state only the row can show, in normal form.

    wanted: the ports that the spec names. allocates: the others were given by us, and are no part of the state.
    """
    return {
        "role": row["role"],
        "environment": row["environment"],
        "description": row["description"],
        "ports": _seen_ports(row, wanted, allocates=allocates),
    }


def ports_of(row: Row) -> dict[str, int]:
    """The ports that a cluster has in the records: what was given to it, by the names of the spec."""
    return {name: row[column] for name, column in PORT_COLUMNS.items() if row[column] is not None}


def wished_ports(row: Row) -> dict[str, int]:
    """The ports that a row wants: what was asked for, as long as what was given for it still stands there."""
    wished: dict[str, int] = {}
    granted = json.loads(row["granted_ports"])
    for name, port in ports_of(row).items():
        asked, given = granted.get(name, (port, port))
        wanted = asked if given == port else port
        if wanted is not None:
            wished[name] = wanted
    return wished


def wish_of(context: Context) -> dict[str, Any]:
    """Columns for what the document of a cluster wants; none for a cluster that its own row wants."""
    assert context.resource is not None
    assert context.change is not None
    if context.resource.source.owner == RECORD_OWNER:
        return {}
    wanted: Mapping[str, Any] = context.change.after
    return {
        "desired_by": "document",
        "desired_state": "stopped" if wanted.get("state") == State.STOPPED else "present",
        "role": wanted.get("role", "business"),
        "environment": wanted.get("environment", ""),
        "description": wanted.get("description", ""),
    }


def made_ports(row: Row | None) -> dict[str, str]:
    """A column for the ports that a cluster has as it was made."""
    return {"made_ports": json.dumps(ports_of(row))} if row is not None else {}


def known_clusters(records: Records, home: Path) -> dict[str, KnownCluster]:
    """Every cluster that has a row, as other kinds need it."""
    return {row["name"]: _known(row, home) for row in records.list(TABLE)}


def _known(row: Row, home: Path) -> KnownCluster:
    """was_verified: the identity of a cluster is recorded when it is verified and struck out when it is made anew; a
    record that we did not make says `running`, and no more, of one that was verified."""
    kubeconfig, context = kubeconfig_of(home, row)
    return KnownCluster(
        name=row["name"],
        kubeconfig=kubeconfig,
        context=context,
        role=row["role"],
        provider=row["provider"],
        environment=row["environment"],
        server=row["server"],
        state=row["actual_state"],
        is_wanted=row["desired_state"] != "absent" and row["actual_state"] != State.DELETING,
        was_verified=bool(row["cluster_uid"]) or row["actual_state"] == State.RUNNING,
        server_ip=row["server_ip"] or "",
        node_port=row["node_port"],
        http_port=row["http_port"],
    )


def _seen_ports(row: Row, wanted: Mapping[str, int], *, allocates: bool) -> dict[str, int]:
    """The ports as they compare with what is wanted.

    A port that was given in place of the wanted one counts as that. What the records hold and what the cluster was made
    with may differ, because the records were changed since: then the one that is not as wanted is seen.
    """
    recorded, granted = ports_of(row), json.loads(row["granted_ports"])
    made = json.loads(row["made_ports"]) if row["made_ports"] else recorded
    seen: dict[str, int] = {} if allocates else dict(recorded)
    for name, port in wanted.items():
        asked, given = granted.get(name, (port, port))
        right = given if asked == port else port
        found = recorded.get(name) if recorded.get(name) != right else made.get(name)
        if found is not None:
            seen[name] = port if found == right else found
        else:
            seen.pop(name, None)
    return seen


def inventory_of(row: Row | None) -> dict[str, str]:
    """What we applied: API path by manifest key, in the order in which it was applied."""
    return {one["key"]: one["path"] for one in json.loads(row["inventory"] or "[]")} if row is not None else {}


def inventory_column(inventory: Mapping[str, str]) -> dict[str, str]:
    """`inventory_of`, the other way round."""
    return {"inventory": json.dumps([{"key": key, "path": place} for key, place in inventory.items()])}


def kubeconfig_path(home: Path, name: str) -> Path:
    """Where the kubeconfig of a cluster that we made lies."""
    return home / "kubeconfigs" / f"{name}.yaml"


def kubeconfig_of(home: Path, row: Row) -> tuple[Path, str]:
    """The kubeconfig to use for a cluster with this row, and the context in it ("" for its current one)."""
    own = kubeconfig_path(home, row["name"])
    return (Path(row["kubeconfig"]) if row["kubeconfig"] else own), row["context"]
