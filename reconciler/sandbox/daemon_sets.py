"""DaemonSets: one Pod on every Node that fits. Called by `controllers`."""

from __future__ import annotations

from reconciler.sandbox import revisions
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.objects import random_suffix
from reconciler.sandbox.ownership import Value, claim, is_going, remove, update
from reconciler.sandbox.pods import FINISHED, PodWish, fits, is_ready, make_pods, phase
from reconciler.sandbox.resources import NODES, PODS
from reconciler.sandbox.rollouts import share
from reconciler.sandbox.state import Stored


def sync_daemon_set(cluster: Cluster, owner: Stored) -> None:
    """Bring a DaemonSet one step on."""
    if is_going(owner):
        return
    known = revisions.renew_revisions(cluster, owner)
    newest, spec = known[-1], owner.value["spec"]
    template = spec["template"]
    nodes = [one.key.name for one in cluster.state.select(NODES.resource) if fits(one.value, template["spec"])]
    pods = [one for one in claim(cluster, owner, PODS) if not is_going(one)]
    by_node: dict[str, Stored] = {}
    for pod in pods:
        node = str(pod.value["spec"].get("nodeName", ""))
        if node in by_node or node not in nodes or phase(pod) in FINISHED:
            remove(cluster, PODS, pod)
        else:
            by_node[node] = pod
    labels = {revisions.HASH_LABEL: revisions.hash_of(newest)}
    prefix = f"{owner.key.name[:57]}-"
    wishes = [
        PodWish(prefix + random_suffix(), labels=labels, spec={"nodeName": node}, generate_name=prefix)
        for node in nodes
        if node not in by_node
    ]
    for pod in make_pods(cluster, owner, template, wishes):
        by_node[pod.value["spec"]["nodeName"]] = pod
    old = [one for one in by_node.values() if not _is_updated(one, newest)]
    _roll(cluster, owner, list(by_node.values()), old, len(nodes))
    if not old:
        revisions.forget_revisions(cluster, known, {newest.key.name}, spec)
    _report(cluster, owner, newest, nodes)


def _is_updated(pod: Stored, newest: Stored) -> bool:
    labels = pod.value["metadata"].get("labels") or {}
    return bool(labels.get(revisions.HASH_LABEL) == revisions.hash_of(newest))


def _roll(cluster: Cluster, owner: Stored, pods: list[Stored], old: list[Stored], wanted: int) -> None:
    """Remove old Pods as far as maxUnavailable allows; what is not ready anyway goes first."""
    strategy = owner.value["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return
    most = max(share((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), wanted, up=True), 1)
    missing = wanted - sum(is_ready(one) for one in pods)
    idle = [one for one in old if not is_ready(one)]
    ready = [one for one in old if is_ready(one)]
    for pod in [*idle, *ready[: max(most - missing, 0)]]:
        remove(cluster, PODS, pod)


def _report(cluster: Cluster, owner: Stored, newest: Stored, nodes: list[str]) -> None:
    pods = [one for one in claim(cluster, owner, PODS) if not is_going(one)]
    ready = sum(is_ready(one) for one in pods)
    value = owner.copy()
    counts: Value = {
        "updatedNumberScheduled": sum(_is_updated(one, newest) for one in pods),
        "numberAvailable": ready,
        "numberUnavailable": len(nodes) - ready,
    }
    value["status"] = {
        "observedGeneration": value["metadata"].get("generation", 1),
        "currentNumberScheduled": len(pods),
        "desiredNumberScheduled": len(nodes),
        "numberMisscheduled": 0,
        "numberReady": ready,
        **{name: count for name, count in counts.items() if count > 0},
    }
    update(cluster, owner, value)
