"""Which steps a change of a cluster has: the table of contents. Pure; called by `ClusterKind.steps`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.kind import Step
from reconciler.kinds.cluster import container_steps, reserving, steps
from reconciler.kinds.cluster.attaching import (
    ensuring,
    made_with_it,
    removing,
    to_be_removed,
    wanted_by,
    weighted,
)
from reconciler.kinds.cluster.changing import failing_into_the_row
from reconciler.kinds.cluster.providers import ContainerProvider, in_containers, provider_named
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.plan import Action, Change

PREFLIGHT = Step("preflight", "Check what is needed", steps.preflight, weight=2)
RESERVE = Step("reserve", "Reserve its name and ports", failing_into_the_row(reserving.reserve), weight=2)
PORTS = Step("ports", "Reserve its ports", failing_into_the_row(reserving.reserve_ports), weight=2)
CREATE = Step("create", "Create the cluster", steps.create, weight=40)
START = Step("start", "Start the cluster", steps.start, weight=20)
STOP = Step("stop", "Stop the cluster", steps.stop, weight=20)
DISCARD = Step("discard", "Remove what an interrupted creation left", container_steps.discard, weight=10)
NETWORK = Step("network", "Make its network", container_steps.network, weight=2, preview="conditional")
ADDRESS = Step("address", "Find its node's address", container_steps.address, weight=4)
LIMITS = Step("limits", "Limit what its nodes may use", container_steps.limits, weight=2)
PRELOAD = Step("preload", "Put images into its nodes", container_steps.preload, weight=16)
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
FORGET = Step("forget", "Delete its record", reserving.forget, weight=10, safe_point=False)
LEAVE = Step("forget", "Delete its record; the cluster and its objects stay as they are", reserving.forget, weight=95)

_PUT_IN_ORDER = (KUBECONFIG, ADDRESS, LIMITS, PRELOAD, WAIT_API, MANIFESTS, WAIT_NODES)
_CONFIRM = (RECORD, VERIFY)
_BEFORE = (RESERVE, PORTS, DISCARD, NETWORK, CREATE, START, SCALE, *_PUT_IN_ORDER)
_ONLY_CONTAINERS = frozenset({DISCARD.name, NETWORK.name, ADDRESS.name, LIMITS.name, PRELOAD.name})
_SETTLED = frozenset(step.name for step in (*_PUT_IN_ORDER, *_CONFIRM))


def steps_of(change: Change) -> Sequence[Step]:
    """The steps, in order. The weights of a creation sum to 100, as do those of a deletion."""
    if change.action is Action.CREATE:
        return weighted(_creation(change))
    if change.action is Action.DELETE:
        return weighted(_deletion(change))
    if change.action is Action.REPLACE:
        first, *rest = _creation(change)
        return (first, *_deletion(change), *rest)
    if change.action is Action.UPDATE:
        return _update(change)
    return ()


def _creation(change: Change) -> Sequence[Step]:
    spec = ClusterSpec.of(change.resource)
    needed = {RESERVE.name, *_SETTLED, *(ensuring()[field].name for field in wanted_by(change))}
    if provider_named(spec.provider).makes:
        needed |= {NETWORK.name, CREATE.name}
    if not spec.running:
        needed.add(STOP.name)
    return (PREFLIGHT, *_chosen(spec, needed))


def _chosen(spec: ClusterSpec, names: set[str]) -> Sequence[Step]:
    """The steps of these names that the spec has a use for, in order."""
    provider = provider_named(spec.provider)
    useless: set[str] = set() if in_containers(provider) else set(_ONLY_CONTAINERS)
    if not (spec.cpus or spec.memory):
        useless.add(LIMITS.name)
    if not spec.preload_images:
        useless.add(PRELOAD.name)
    attached = (*removing().values(), *ensuring().values())
    chosen = (step for step in (*_BEFORE, *attached, *_CONFIRM, STOP) if step.name in names - useless)
    return tuple(_shown(step, spec, provider) if in_containers(provider) else step for step in chosen)


def _shown(step: Step, spec: ClusterSpec, provider: ContainerProvider) -> Step:
    """The step with the command that it is about. Ports that are allocated only then are shown by their names."""
    if step is not CREATE:
        return step
    ports = {"httpPort": "${httpPort}", "httpsPort": "${httpsPort}", **spec.ports}
    return replace(step, command=" ".join(provider.creation(spec, ports)))


def _deletion(change: Change) -> Sequence[Step]:
    """By what is there: the spec may name another provider by now, or nothing at all. What follows the cluster goes
    first: as long as any of it is left, so are the cluster and its record."""
    before: Mapping[str, Any] = change.before or {}
    provider = provider_named(before.get("provider") or ClusterSpec.of(change.resource).provider)
    removed = to_be_removed(change)
    return (MARK, *removed, DELETE, REMOVE_KUBECONFIG, FORGET) if provider.makes else (MARK, *removed, LEAVE)


def _update(change: Change) -> Sequence[Step]:
    spec = ClusterSpec.of(change.resource)
    needed = {RECORD.name, VERIFY.name}
    for entry in change.diffs:
        needed |= _needed_by(entry.path, change, spec)
    if needed >= _SETTLED:
        needed |= made_with_it(change)
    if START.name in needed and "role" not in change.before:  # its record was lost
        needed.add(RESERVE.name)
    if RESERVE.name in needed:  # which reserves ports as well
        needed.discard(PORTS.name)
    if not spec.running and START.name not in needed and CREATE.name not in needed:
        # it stands still, so nothing but its record can be changed, and what follows it without asking it
        needed -= (_SETTLED - {RECORD.name}) | made_with_it(change)
    return _chosen(spec, needed)


def _needed_by(path: str, change: Change, spec: ClusterSpec) -> set[str]:
    """The steps that put one difference right."""
    field = path.removeprefix("spec.").partition(".")[0].partition("[")[0]
    if field == "state":
        return _needed_by_state(change.before["state"], spec)
    if field in ensuring():
        return {(ensuring() if field in wanted_by(change) else removing())[field].name}
    return {
        "servers": {SCALE.name, WAIT_NODES.name},
        "agents": {SCALE.name, WAIT_NODES.name},
        "ports": {PORTS.name},
        "address": {ADDRESS.name},
        "resources": {LIMITS.name},
        "preloadImages": {PRELOAD.name},
        "manifests": {MANIFESTS.name},
        "ready": {WAIT_NODES.name},
        "kubeconfig": set(_SETTLED),  # it could not be looked into, and may be another cluster than before
    }.get(field, set())


def _needed_by_state(state: str, spec: ClusterSpec) -> set[str]:
    """The steps from the state that it is in to the one that the spec wants."""
    if state == "unfinished":
        made = {RESERVE.name, DISCARD.name, NETWORK.name, CREATE.name, *_SETTLED}
        return made if spec.running else made | {STOP.name}
    if not spec.running:
        return {STOP.name}
    if state == "stopped":
        return {START.name, *_SETTLED}
    if state == "started":
        return set(_SETTLED)
    return {RESERVE.name, *_SETTLED}
