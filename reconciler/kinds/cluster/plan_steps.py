"""Which steps a change of a cluster has: the table of contents. Pure; called by `ClusterKind.steps`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.kind import Step
from reconciler.kinds.cluster import steps
from reconciler.kinds.cluster.providers import provider_named
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.plan import Action, Change

PREFLIGHT = Step("preflight", "Check what is needed", steps.preflight, weight=2)
RESERVE = Step("reserve", "Reserve the name", steps.reserve, weight=2)
CREATE = Step("create", "Create the cluster", steps.create, weight=40)
START = Step("start", "Start the cluster", steps.start, weight=20)
SCALE = Step("scale", "Bring it to its number of nodes", steps.scale, weight=20)
KUBECONFIG = Step("kubeconfig", "Put its kubeconfig in place", steps.kubeconfig, weight=4)
WAIT_API = Step("wait-api", "Wait for the API", steps.wait_api, weight=16)
MANIFESTS = Step("manifests", "Apply the manifests", steps.manifests, weight=16)
WAIT_NODES = Step("wait-nodes", "Wait for the nodes", steps.wait_nodes, weight=16)
RECORD = Step("record", "Record what was made", steps.record, weight=2, safe_point=False)
VERIFY = Step("verify", "Verify through the API", steps.verify, weight=2, safe_point=False)
MARK = Step("mark", "Mark it as being deleted", steps.mark, weight=5)
DELETE = Step("delete", "Delete the cluster", steps.delete, weight=80)
REMOVE_KUBECONFIG = Step("remove-kubeconfig", "Remove its kubeconfig", steps.remove_kubeconfig, weight=5)
FORGET = Step("forget", "Delete its record", steps.forget, weight=10, safe_point=False)
LEAVE = Step("forget", "Delete its record; the cluster and its objects stay as they are", steps.forget, weight=95)

_SETTLE = (KUBECONFIG, WAIT_API, MANIFESTS, WAIT_NODES, RECORD, VERIFY)
_ORDER = (RESERVE, START, SCALE, *_SETTLE)


def steps_of(change: Change) -> Sequence[Step]:
    """The steps, in order. The weights of a creation sum to 100, as do those of a deletion."""
    if change.action is Action.CREATE:
        return _creation(change)
    if change.action is Action.DELETE:
        return _deletion(change)
    if change.action is Action.REPLACE:
        first, *rest = _creation(change)
        return (first, *_deletion(change), *rest)
    if change.action is Action.UPDATE:
        return _update(change)
    return ()


def _creation(change: Change) -> Sequence[Step]:
    made = (CREATE,) if provider_named(ClusterSpec.of(change.resource).provider).makes else ()
    return (PREFLIGHT, RESERVE, *made, *_SETTLE)


def _deletion(change: Change) -> Sequence[Step]:
    """By what is there: the spec may name another provider by now, or nothing at all."""
    before: Mapping[str, Any] = change.before or {}
    provider = provider_named(before.get("provider") or ClusterSpec.of(change.resource).provider)
    return (MARK, DELETE, REMOVE_KUBECONFIG, FORGET) if provider.makes else (MARK, LEAVE)


def _update(change: Change) -> Sequence[Step]:
    needed = {RECORD.name, VERIFY.name}
    for entry in change.diffs:
        needed |= _needed_by(entry.path, change.before)
    return tuple(step for step in _ORDER if step.name in needed)


def _needed_by(path: str, before: Any) -> set[str]:
    """The steps that put one difference right."""
    settle = {step.name for step in _SETTLE}
    field = path.removeprefix("spec.").partition(".")[0].partition("[")[0]
    if field == "state":
        if before["state"] == "stopped":
            return {START.name, KUBECONFIG.name, WAIT_API.name}
        return {RESERVE.name, *settle}
    return {
        "servers": {SCALE.name, WAIT_NODES.name},
        "agents": {SCALE.name, WAIT_NODES.name},
        "manifests": {MANIFESTS.name},
        "ready": {WAIT_NODES.name},
        "kubeconfig": settle,  # it could not be looked into, and may be another cluster than before
    }.get(field, set())
