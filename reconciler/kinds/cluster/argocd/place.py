"""In which cluster and namespace the Argo CD is that a cluster registers with. Called by the attachment `argocd`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from reconciler.errors import TransientError
from reconciler.kind import KnownCluster, managing_clusters

MANAGEMENT = "management"
"""How the state calls the one cluster with this role, for a spec that names none."""

Clusters = Mapping[str, KnownCluster]


class Place(NamedTuple):
    """Names of a recorded cluster and of a namespace in it."""

    cluster: str
    namespace: str


def wanted_place(asked: Mapping[str, Any], clusters: Clusters) -> Place | None:
    """Where the spec wants it; None while that cluster is not recorded. Raises TransientError for several."""
    namespace = asked.get("namespace", "argocd")
    if name := asked.get("cluster"):
        return Place(name, namespace) if name in clusters else None
    managing = managing_clusters(clusters)
    if len(managing) > 1:
        names = ", ".join(managing)
        message = f"{names} all have role management: name one in spec.argocd.cluster"
        raise TransientError("SeveralManagementClusters", message)
    return Place(managing[0], namespace) if managing else None


def made_place(made: Mapping[str, Any]) -> Place:
    """Where it was put, by its note."""
    return Place(made["cluster"], made["namespace"])


def shown_name(asked: Mapping[str, Any], at: Place, clusters: Clusters) -> str:
    """The cluster as the state calls it: its name, or `management` where the spec leaves it to that role."""
    is_managing = not asked.get("cluster") and managing_clusters(clusters) == [at.cluster]
    return MANAGEMENT if is_managing else at.cluster
