"""What the steps of an application set's change do. Listed in `kind`; run by the engine, one after another.

Both may have run before, in part or in whole, by a process that was killed: each looks before it acts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import BlockedError, DeadlineError, TransientError, WaitingError
from reconciler.kind import Context, Outputs
from reconciler.kinds.application_set import looking, place
from reconciler.kinds.application_set.elements import elements_of, names_in
from reconciler.kinds.application_set.manifest import API_VERSION, KIND_NAME, elements_in, with_elements
from reconciler.kinds.application_set.place import Clusters, Place
from reconciler.kinds.application_set.spec import SetSpec
from reconciler.model.marks import owner_of
from reconciler.model.plan import Action

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

_GONE_TIMEOUT = 60.0
_POLL = (0.05, 1.0)


def apply(context: Context) -> Outputs | None:
    """The object is as planned, with the elements that the records give now. Fields of others are left to them, unless
    the object is ours or the spec says `force`: then they are taken over.
    """
    assert context.change is not None
    spec, clusters = _spec(context), context.clusters()
    at = place.wanted_place(spec, clusters)
    if context.change.action is Action.UPDATE:  # whose place may be left to others
        at = place.present_place(spec, context.records, clusters)
    if at is None:
        raise BlockedError("NoManagementCluster", place.NO_MANAGEMENT)
    if at.cluster in clusters and not clusters[at.cluster].was_verified:
        raise WaitingError("ClusterNotReady", f"Cluster/{at.cluster} was never seen to work yet")
    with context.cluster(at.cluster) as api:
        live = _settled(context, api, at)
        place.write(context.records, spec.ref.name, at)
        elements = _elements(context, spec, clusters, live)
        is_ours = live is not None and owner_of(live["metadata"].get("labels") or {}) == spec.ref
        manifest = context.change.after["manifest"]
        api.apply(with_elements(manifest, elements), force=is_ours or spec.force)
    names = names_in(elements)
    context.log(f"applied in {at.cluster}, namespace {at.namespace}; elements: {', '.join(names) or 'none'}\n")
    return {**at._asdict(), "elements": names}


def delete(context: Context) -> Outputs | None:
    """The object is gone, and its record with it. Where there is no cluster any more, there is no object either."""
    spec, clusters = _spec(context), context.clusters()
    at = place.present_place(spec, context.records, clusters)
    if at is None or at.cluster not in clusters:
        context.log("the cluster that it was in is not recorded any more\n")
    else:
        with context.cluster(at.cluster) as api:
            _delete(context, api, at)
    place.forget(context.records, spec.ref.name)
    return None


def _spec(context: Context) -> SetSpec:
    assert context.resource is not None
    return SetSpec.of(context.resource)


def _elements(
    context: Context, spec: SetSpec, clusters: Clusters, live: Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """The wanted elements; those that are there, where `lifecycle.ignore` leaves them to others."""
    assert context.change is not None
    if context.change.after.get("elements") == looking.CURRENT:
        return list(elements_of(spec, clusters))
    return list(elements_in(live) or ()) if live is not None else []


def _settled(context: Context, api: KubeTransport, at: Place) -> Mapping[str, Any] | None:
    """The live object; one that is being deleted is waited for."""
    live = _look(context, api, at)
    if live is not None and live["metadata"].get("deletionTimestamp"):
        _await_gone(context, api, at)
        return None
    return live


def _delete(context: Context, api: KubeTransport, at: Place) -> None:
    found = looking.fetch(api, at, [_spec(context).ref.name])
    if found:
        api.delete(_path(context, api, at))
        _await_gone(context, api, at)
        context.log(f"deleted in {at.cluster}, namespace {at.namespace}\n")


def _await_gone(context: Context, api: KubeTransport, at: Place) -> None:
    """Wait for its finalizers. Raises DeadlineError naming those that are left."""
    give_up = time.monotonic() + _GONE_TIMEOUT
    pause, longest = _POLL
    while (live := api.get(_path(context, api, at))) is not None:
        if time.monotonic() >= give_up:
            left = ", ".join(live["metadata"].get("finalizers") or ()) or "none"
            raise DeadlineError("Deadline", f"it was not gone within {_GONE_TIMEOUT:g} s; finalizers left: {left}")
        context.sleep(min(pause, longest))
        pause *= 1.5


def _look(context: Context, api: KubeTransport, at: Place) -> Mapping[str, Any] | None:
    name = _spec(context).ref.name
    found = looking.fetch(api, at, [name])
    if found is None:
        raise TransientError("NoArgoCD", f"{at.cluster} {looking.NO_ARGO_CD}")
    return found.get(name)


def _path(context: Context, api: KubeTransport, at: Place) -> str:
    return api.resource_path(API_VERSION, KIND_NAME, at.namespace, _spec(context).ref.name)
