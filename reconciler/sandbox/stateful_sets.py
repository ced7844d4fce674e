"""StatefulSets: Pods with ordinals, made in order, removed in reverse, updated from the highest down. Called by
`controllers`.

One step a call: under OrderedReady no Pod is touched while an earlier one is not ready.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass
from itertools import islice
from typing import Any

from reconciler.sandbox import revisions
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.objects import now
from reconciler.sandbox.ownership import Value, claim, is_going, remove, update
from reconciler.sandbox.pods import BATCH, FINISHED, MOST_PODS, PodWish, is_ready, make_pods, phase
from reconciler.sandbox.resources import PODS, VOLUME_CLAIMS
from reconciler.sandbox.state import Change, Stored

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


@dataclass(frozen=True, slots=True)
class _View:
    """One look: the set, its Pods by ordinal, its revision in force before and the one of its current template."""

    owner: Stored
    pods: dict[int, Stored]
    current: Stored
    updated: Stored

    @property
    def spec(self) -> Value:
        spec: Value = self.owner.value["spec"]
        return spec

    @property
    def ordinals(self) -> range:
        first = int((self.spec.get("ordinals") or {}).get("start", 0))
        return range(first, first + min(int(self.spec.get("replicas", 1)), 2 * MOST_PODS))

    @property
    def ordered(self) -> bool:
        return bool(self.spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady")

    @property
    def partition(self) -> int:
        strategy = self.spec.get("updateStrategy") or {}
        return int((strategy.get("rollingUpdate") or {}).get("partition", 0))

    def is_updated(self, pod: Stored) -> bool:
        labels = pod.value["metadata"].get("labels") or {}
        return bool(labels.get(revisions.HASH_LABEL) == revisions.hash_of(self.updated))


def sync_stateful_set(cluster: Cluster, owner: Stored) -> None:
    """Bring a StatefulSet one step on."""
    if is_going(owner):
        return
    known = revisions.renew_revisions(cluster, owner)
    named = (owner.value.get("status") or {}).get("currentRevision")
    current = next((one for one in known if one.key.name == named), known[-1])
    pods = {number: one for one in claim(cluster, owner, PODS) if (number := _ordinal(owner, one)) is not None}
    view = _View(owner, pods, current, known[-1])
    if not _work(cluster, view):
        _clean_up(cluster, view, known)
    _report(cluster, view)


def _ordinal(owner: Stored, pod: Stored) -> int | None:
    prefix, _, number = pod.key.name.rpartition("-")
    is_one = prefix == owner.key.name and number.isascii() and number.isdigit() and str(int(number[:9])) == number
    return int(number) if is_one else None


def _work(cluster: Cluster, view: _View) -> bool:
    """Make, replace or remove what is next; whether there was anything to do or to wait for."""
    ended = [one for one in view.pods.values() if phase(one) in FINISHED and not is_going(one)]
    for pod in ended:
        remove(cluster, PODS, pod)
    if ended:
        return True
    missing = list(islice((number for number in view.ordinals if number not in view.pods), BATCH))
    if view.ordered:
        for number in view.ordinals:
            if number not in view.pods:
                return _make(cluster, view, [number])
            if is_going(view.pods[number]) or not is_ready(view.pods[number]):
                return True
    elif missing:
        return _make(cluster, view, missing)
    return _shrink(cluster, view) or _roll(cluster, view)


def _shrink(cluster: Cluster, view: _View) -> bool:
    surplus = sorted((number for number in view.pods if number not in view.ordinals), reverse=True)
    for number in surplus[:1] if view.ordered else surplus:
        if not is_going(view.pods[number]):
            remove(cluster, PODS, view.pods[number])
    return bool(surplus)


def _roll(cluster: Cluster, view: _View) -> bool:
    if (view.spec.get("updateStrategy") or {}).get("type", "RollingUpdate") != "RollingUpdate":
        return False
    for number in reversed(view.ordinals):
        pod = view.pods[number]
        if number < view.partition:
            return False
        if not view.is_updated(pod) and not is_going(pod):
            remove(cluster, PODS, pod)
            return True
        if is_going(pod) or not is_ready(pod):
            return True
    return False


def _make(cluster: Cluster, view: _View, numbers: list[int]) -> bool:
    for number in numbers:
        revision = view.current if number < view.partition else view.updated
        _make_claims(cluster, view, number)
        name = f"{view.owner.key.name}-{number}"
        labels = {revisions.HASH_LABEL: revisions.hash_of(revision), NAME_LABEL: name, INDEX_LABEL: str(number)}
        template = revisions.template_of(revision)
        network = {"hostname": name, "subdomain": view.spec.get("serviceName", "")}
        spec = {key: one for key, one in network.items() if one}
        spec["volumes"] = _volumes(view, template, number)
        wish = PodWish(name, labels=labels, spec={key: one for key, one in spec.items() if one})
        if cluster.state.get(PODS.key(view.owner.key.namespace, name)) is None:
            make_pods(cluster, view.owner, template, [wish])
    return True


def _claim_name(view: _View, template: Value, number: int) -> str:
    return f"{template['metadata']['name']}-{view.owner.key.name}-{number}"


def _volumes(view: _View, template: Value, number: int) -> list[Any]:
    made = [
        {"name": one["metadata"]["name"], "persistentVolumeClaim": {"claimName": _claim_name(view, one, number)}}
        for one in view.spec.get("volumeClaimTemplates") or ()
    ]
    names = {one["name"] for one in made}
    return [*made, *(one for one in template["spec"].get("volumes") or () if one.get("name") not in names)]


def _make_claims(cluster: Cluster, view: _View, number: int) -> None:
    changes: list[Change] = []
    for template in view.spec.get("volumeClaimTemplates") or ():
        key = VOLUME_CLAIMS.key(view.owner.key.namespace, _claim_name(view, template, number))
        if cluster.state.get(key) is not None:
            continue
        metadata = {name: one for name, one in template["metadata"].items() if name in ("labels", "annotations")}
        identity = {"name": key.name, "namespace": key.namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now()}
        selected = (view.spec.get("selector") or {}).get("matchLabels") or {}
        metadata |= {**identity, "labels": {**metadata.get("labels", {}), **selected}}
        value = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
        value |= {"spec": copy.deepcopy(template.get("spec") or {}), "status": {"phase": "Pending"}}
        changes.append(Change(key, value))
    if changes:
        cluster.state.commit(changes)


def _clean_up(cluster: Cluster, view: _View, known: list[Stored]) -> None:
    labels = [one.value["metadata"].get("labels") or {} for one in view.pods.values()]
    hashes = {one.get(revisions.HASH_LABEL) for one in labels}
    used = {one.key.name for one in known if revisions.hash_of(one) in hashes} | {view.current.key.name}
    revisions.forget_revisions(cluster, known, used, view.spec)


def _report(cluster: Cluster, view: _View) -> None:
    owner = cluster.state.get(view.owner.key)
    if owner is None:
        return
    pods = [one for one in claim(cluster, owner, PODS) if not is_going(one) and _ordinal(owner, one) is not None]
    updated = [one for one in pods if view.is_updated(one)]
    ready = sum(is_ready(one) for one in pods)
    done = len(updated) == len(pods) == ready == len(view.ordinals) and not view.partition
    current = view.updated if done else view.current
    hashes = [(one.value["metadata"].get("labels") or {}).get(revisions.HASH_LABEL) for one in pods]
    counts = {
        "readyReplicas": ready,
        "currentReplicas": sum(one == revisions.hash_of(current) for one in hashes),
        "updatedReplicas": len(updated),
    }
    value = owner.copy()
    status = value.get("status") or {}
    value["status"] = {
        **{key: one for key, one in status.items() if key == "conditions"},
        "observedGeneration": value["metadata"].get("generation", 1),
        "replicas": len(pods),
        **{name: count for name, count in counts.items() if count},
        "availableReplicas": ready,
        "collisionCount": 0,
        "currentRevision": current.key.name,
        "updateRevision": view.updated.key.name,
    }
    update(cluster, owner, value)
