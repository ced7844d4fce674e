"""ReplicaSets: as many Pods as wanted, and their count in the status. Called by `controllers`."""

from __future__ import annotations

from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.objects import random_suffix
from reconciler.sandbox.ownership import Value, claim, is_going, remove, update
from reconciler.sandbox.pods import FINISHED, PodWish, is_ready, make_pods, phase
from reconciler.sandbox.resources import PODS
from reconciler.sandbox.state import Stored


def sync_replica_set(cluster: Cluster, replica_set: Stored) -> None:
    """Bring a ReplicaSet one step on."""
    if is_going(replica_set):
        return
    found = [one for one in claim(cluster, replica_set, PODS) if not is_going(one)]
    pods = [one for one in found if phase(one) not in FINISHED]
    wanted = int(replica_set.value["spec"].get("replicas", 1))
    prefix = f"{replica_set.key.name[:57]}-"
    names = [PodWish(prefix + random_suffix(), generate_name=prefix) for _ in range(min(wanted - len(pods), 1000))]
    pods += make_pods(cluster, replica_set, replica_set.value["spec"]["template"], names)
    surplus = sorted(pods, key=lambda one: (is_ready(one), one.revision))[: max(len(pods) - wanted, 0)]
    for pod in surplus:
        remove(cluster, PODS, pod)
    gone = {one.key for one in surplus}
    update(cluster, replica_set, _reported(replica_set, [one for one in pods if one.key not in gone]))


def _reported(replica_set: Stored, pods: list[Stored]) -> Value:
    value = replica_set.copy()
    ready = sum(is_ready(one) for one in pods)
    status: Value = {"replicas": len(pods), "observedGeneration": value["metadata"].get("generation", 1)}
    if pods:
        status["fullyLabeledReplicas"] = len(pods)
    if ready:
        status |= {"readyReplicas": ready, "availableReplicas": ready}
    kept = {key: one for key, one in (value.get("status") or {}).items() if key == "conditions"}
    value["status"] = kept | status
    return value
