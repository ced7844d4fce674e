"""The clusters that are recorded, for kinds that work in them. Called by `engine.context`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from reconciler.errors import TransientError
from reconciler.kind import KnownCluster, RecordsClusters
from reconciler.store import tables
from reconciler.store.kind_records import KindRecords
from reconciler.transports.kubeconfig import KubeconfigPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from reconciler.engine.runtime import Runtime
    from reconciler.transports.kube import KubeTransport


def known_clusters(runtime: Runtime) -> dict[str, KnownCluster]:
    """Every recorded cluster by name, sorted, with the labels of its document, as one transaction sees them."""
    found: dict[str, KnownCluster] = {}
    with runtime.database.read() as connection:
        for kind, recorder in runtime.kinds.offering(RecordsClusters).items():
            records = KindRecords(runtime.database, runtime.tables.get(kind, {}), None, connection)
            recorded = recorder.clusters(records, runtime.home)
            labels = _labels(connection, kind) if recorded else {}
            found |= {name: replace(one, labels=labels.get(name, {})) for name, one in recorded.items()}
    return dict(sorted(found.items()))


def open_cluster(runtime: Runtime, name: str) -> KubeTransport:
    """The API of a recorded cluster. Raises TransientError("NoSuchCluster") when none of this name is recorded."""
    cluster = known_clusters(runtime).get(name)
    if cluster is None:
        raise TransientError("NoSuchCluster", f"no cluster {name} is recorded")
    return open_kube(runtime, cluster.kubeconfig, cluster.context)


def open_kube(runtime: Runtime, kubeconfig: Path, context: str) -> KubeTransport:
    """A Kubernetes API through a kubeconfig that the operator's settings allow."""
    allowed = runtime.settings.kubeconfig
    policy = KubeconfigPolicy(allowed.allow_exec, allowed.allow_proxy, allowed.allow_token_file)
    return runtime.kubes.lend(kubeconfig, context, policy)


def _labels(connection: Connection, kind: str) -> dict[str, Mapping[str, str]]:
    stored = tables.resources
    chosen = select(stored.c.name, stored.c.labels).where(stored.c.kind == kind)
    return {row.name: json.loads(row.labels) for row in connection.execute(chosen)}
