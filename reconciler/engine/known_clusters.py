"""The clusters that are recorded, for kinds that work in them. Called by `engine.context`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.errors import TransientError
from reconciler.kind import KnownCluster, RecordsClusters
from reconciler.store.kind_rows import KindRows
from reconciler.store.remembered import labels_of
from reconciler.transports.kubeconfig import KubeconfigPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.engine.runtime import Runtime
    from reconciler.transports.kube import KubeTransport


def known_clusters(runtime: Runtime) -> dict[str, KnownCluster]:
    """Every recorded cluster by name, sorted, with the labels of its document, as one transaction sees them."""
    found: dict[str, KnownCluster] = {}
    with runtime.database.reading() as connection:
        for kind, recorder in runtime.kinds.offering(RecordsClusters).items():
            records = KindRows(runtime.database, runtime.keys.get(kind, {}), connection)
            recorded = recorder.clusters(records, runtime.home)
            labels = labels_of(connection, kind) if recorded else {}
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
