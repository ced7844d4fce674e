"""ControllerRevisions: the templates that a StatefulSet or DaemonSet had, which `kubectl rollout history` and `undo`
read. Called by their controllers.
"""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.objects import now
from reconciler.sandbox.ownership import claim, is_going, reference, remove
from reconciler.sandbox.resources import REVISIONS
from reconciler.sandbox.state import Stored

HASH_LABEL = "controller-revision-hash"


def renew_revisions(cluster: Cluster, owner: Stored) -> list[Stored]:
    """Every revision of `owner`, oldest first; the last one is of its current template."""
    found = [one for one in claim(cluster, owner, REVISIONS) if not is_going(one)]
    found.sort(key=_number)
    wanted = {"spec": {"template": {**owner.value["spec"]["template"], "$patch": "replace"}}}
    newest = _number(found[-1]) if found else 0
    current = next((one for one in reversed(found) if one.value.get("data") == wanted), None)
    if current is not None and current is found[-1]:
        return found
    if current is not None:
        value = current.copy()
        value["revision"] = newest + 1
        renewed = cluster.state.write(current.key, value)
        return [*(one for one in found if one is not current), renewed]
    return [*found, _create(cluster, owner, wanted, newest + 1)]


def _number(revision: Stored) -> int:
    return int(revision.value.get("revision", 0))


def _create(cluster: Cluster, owner: Stored, content: dict[str, Any], number: int) -> Stored:
    attempt = 0
    while True:
        seed = json.dumps([content, owner.uid, attempt], sort_keys=True)
        digest = hashlib.sha256(seed.encode()).hexdigest()[:10]
        key = REVISIONS.key(owner.key.namespace, f"{owner.key.name[:242]}-{digest}")
        if cluster.state.get(key) is None:
            break
        attempt += 1
    labels = (owner.value["spec"]["template"].get("metadata") or {}).get("labels") or {}
    value = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now(),
            "labels": {**labels, HASH_LABEL: digest},
            "annotations": _shown_annotations(owner),
            "ownerReferences": [reference(owner)],
        },
        "data": content,
        "revision": number,
    }
    return cluster.state.write(key, value)


def _shown_annotations(owner: Stored) -> dict[str, str]:
    cause = (owner.value["metadata"].get("annotations") or {}).get("kubernetes.io/change-cause")
    return {"kubernetes.io/change-cause": cause} if cause else {}


def template_of(revision: Stored) -> dict[str, Any]:
    """The Pod template that a revision keeps."""
    template: dict[str, Any] = copy.deepcopy(revision.value["data"]["spec"]["template"])
    template.pop("$patch", None)
    return template


def hash_of(revision: Stored) -> str:
    """What the label HASH_LABEL of its Pods says."""
    return str((revision.value["metadata"].get("labels") or {}).get(HASH_LABEL, ""))


def forget_revisions(cluster: Cluster, found: list[Stored], used: Collection[str], spec: Mapping[str, Any]) -> None:
    """Remove the oldest revisions beyond `revisionHistoryLimit` of which no Pod is left (`used`: names in use)."""
    unused = [one for one in found[:-1] if one.key.name not in used]
    for revision in unused[: max(len(unused) - int(spec.get("revisionHistoryLimit", 10)), 0)]:
        remove(cluster, REVISIONS, revision)
