"""In which cluster and namespace an application set lives, and the record of that. Called by the whole kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from reconciler.errors import BlockedError
from reconciler.kind import KnownCluster, Records, managing_clusters
from reconciler.kinds.application_set.spec import SetSpec
from reconciler.model.observation import Observation

MANAGEMENT = "management"
"""How the state calls the one cluster with this role, for a spec that names none."""
TABLE = "application_sets"
NO_MANAGEMENT = "no cluster with role management is recorded: give one this role, or name a cluster in spec.cluster"

Clusters = Mapping[str, KnownCluster]


class Place(NamedTuple):
    """Names of a recorded cluster and of a namespace in it."""

    cluster: str
    namespace: str


def wanted_place(spec: SetSpec, clusters: Clusters) -> Place | None:
    """Where the spec wants it; None without a management cluster. Raises BlockedError when there are several."""
    if spec.cluster:
        return Place(spec.cluster, spec.namespace)
    managing = managing_clusters(clusters)
    if len(managing) > 1:
        names = ", ".join(managing)
        raise BlockedError("SeveralManagementClusters", f"{names} all have role management: name one in spec.cluster")
    return Place(managing[0], spec.namespace) if managing else None


def present_place(spec: SetSpec, records: Records, clusters: Clusters) -> Place | None:
    """Where it is: where it was put, as long as that cluster is recorded, else where the spec wants it."""
    row = records.get(TABLE, name=spec.ref.name)
    if row is not None and row["cluster"] in clusters:
        return Place(row["cluster"], row["namespace"])
    return wanted_place(spec, clusters)


def write(records: Records, name: str, place: Place) -> None:
    """Note where it is put, before it is."""
    records.put(TABLE, {"name": name}, place._asdict())


def forget(records: Records, name: str) -> None:
    """It is nowhere any more."""
    records.delete(TABLE, name=name)


def keep(records: Records, name: str, observation: Observation) -> None:
    """Write down what a look showed, where that differs from what is written."""
    row = records.get(TABLE, name=name)
    if not observation.facts:
        return
    seen = {**observation.facts, "elements": json.dumps(observation.facts["elements"])}
    if row is None or any(row[column] != value for column, value in seen.items()):
        records.put(TABLE, {"name": name}, seen)


def facts(records: Records) -> dict[str, dict[str, Any]]:
    """By name, where each is and for which clusters."""
    return {row["name"]: _facts(row) for row in records.list(TABLE)}


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    told = {"cluster": row["cluster"], "namespace": row["namespace"]}
    if row["elements"] is None:
        return told
    return {**told, "elements": ", ".join(json.loads(row["elements"])) or "none"}
