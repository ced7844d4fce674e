"""Routes in the HAProxy files against the records, and removing those of clusters that nobody knows.

Called by `reconciler cluster routes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reconciler.errors import BlockedError, UsageError
from reconciler.kind import Context, Records
from reconciler.kinds.cluster import made, rows
from reconciler.kinds.cluster.attachments.route import FIELD
from reconciler.kinds.cluster.haproxy.gateway import Gateway, gateways
from reconciler.kinds.cluster.haproxy.installing import install, read
from reconciler.kinds.cluster.haproxy.routes import NEVER_ROUTED, Configuration


@dataclass(frozen=True, slots=True)
class Listed:
    """A route. backend: ADDRESS:PORT as the file has it, "" where it has none.

    standing: `routed`; `changed` since HAProxy was last seen to load it; `missing` in the file; `foreign`: of a cluster
    that we know, and not made by us; `ghost`: of no business cluster that we know.
    """

    name: str
    gateway: Gateway
    backend: str
    standing: Literal["routed", "changed", "missing", "foreign", "ghost"]


def listed(context: Context) -> list[Listed]:
    """Every route of every HAProxy of the settings, by file and name.

    Raises UsageError when there is no HAProxy, and ReconcilerError when a file or the records cannot be read.
    """
    known = gateways(context.settings)
    if not known:
        raise UsageError("NoHaproxy", "the settings name no HAProxy: set kinds.Cluster.haproxy")
    clusters, noted = business_clusters(context.records), made.of_field(context.records, FIELD)
    return [route for gateway in known for route in _routes_of(gateway, clusters, noted)]


def business_clusters(records: Records) -> set[str]:
    """The names of the clusters that may have routes."""
    return {row["name"] for row in records.list(rows.TABLE) if row["role"] != "management"} - NEVER_ROUTED


def require_business_cluster(context: Context) -> None:
    """Raise BlockedError where there is none: more likely the records are the wrong ones than all clusters gone."""
    if not business_clusters(context.records):
        raise BlockedError("NoClusters", "the records have no business cluster; no route is removed")


def prune(ghost: Listed, context: Context) -> bool:
    """Remove the route of a cluster that nobody knows, and have HAProxy run without it.

    Whether there was one: who has its cluster recorded meanwhile keeps it. Raises ReconcilerError.
    """
    name, gateway = ghost.name, ghost.gateway
    known = made.read(context.records, name, FIELD) or {}

    def change(before: Configuration) -> Configuration:
        require_business_cluster(context)
        return before if name in business_clusters(context.records) else before.without([name])

    def note() -> None:
        fallback = {"haproxy": gateway.name, "host": "", "backend": ghost.backend}
        made.note(context, name, FIELD, {**fallback, **known, "file": str(gateway.file), "loaded": ""})

    after = install(gateway, context, change, lambda _: False, note)
    if name in after.names():
        return False
    made.forget(context, name, FIELD)
    return True


def _routes_of(gateway: Gateway, clusters: set[str], noted: Mapping[str, made.Made]) -> Iterator[Listed]:
    configuration = read(gateway)
    own = {name: note for name, note in noted.items() if note["file"] == str(gateway.file)}
    for name in sorted({*configuration.names(), *own}):
        digest = configuration.digest_of(name)
        yield Listed(name, gateway, configuration.backend_of(name), _standing(name, digest, clusters, own.get(name)))


def _standing(name: str, digest: str, clusters: set[str], note: Mapping[str, Any] | None) -> Any:
    if name not in clusters:
        return "ghost"
    if note is None:
        return "foreign"
    if not digest:
        return "missing"
    return "routed" if note["loaded"] == digest else "changed"
