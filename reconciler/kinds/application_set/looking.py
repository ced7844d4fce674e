"""What is there of application sets, in normal form. Called by `ApplicationSetKind.observe`; reads only.

Of the live object everything is compared with the manifest but its elements: those are compared with the records of
clusters as they are now, and reported as `current` or as what has to happen to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconcilerError, TransientError, UnreachableError
from reconciler.kind import Context, managing_clusters
from reconciler.kinds.application_set import place
from reconciler.kinds.application_set.elements import difference, elements_of, names_in
from reconciler.kinds.application_set.manifest import API_VERSION, KIND_NAME, elements_in, manifest_of
from reconciler.kinds.application_set.place import Clusters, Place
from reconciler.kinds.application_set.spec import SetSpec
from reconciler.model.marks import owner_of
from reconciler.model.observation import Observation
from reconciler.model.resource import Resource, ResourceRef
from reconciler.planning.live import comparable

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

CURRENT = "current"
NO_ARGO_CD = "serves no ApplicationSet of argoproj.io/v1alpha1: install Argo CD there"
_FEW = 3


def normal_form(spec: SetSpec) -> dict[str, Any]:
    """The desired state. Which elements it has to have only the records know, see CURRENT. Pure. Raises SpecError."""
    spec.check()
    wanted = {"cluster": spec.cluster or place.MANAGEMENT, "namespace": spec.namespace}
    return {**wanted, "elements": CURRENT, "manifest": manifest_of(spec)}


def look_at(resources: Sequence[Resource], context: Context) -> dict[ResourceRef, Observation]:
    """Every set, by reference. What could not be asked is unknown, never absent."""
    clusters = context.clusters()
    seen: dict[ResourceRef, Observation] = {}
    by_place: dict[Place, list[Resource]] = {}
    for resource in resources:
        found = _whereabouts(resource, context, clusters)
        if isinstance(found, Place):
            by_place.setdefault(found, []).append(resource)
        else:
            seen[resource.ref] = found
    for at, members in by_place.items():
        seen |= _in_place(at, members, context, clusters)
    return seen


def fetch(api: KubeTransport, at: Place, names: Sequence[str]) -> dict[str, Mapping[str, Any]] | None:
    """The live objects of these names, those that are there; None where Argo CD is not installed."""
    try:
        collection = api.resource_path(API_VERSION, KIND_NAME, at.namespace)
    except UnreachableError:
        raise
    except TransientError as error:
        if error.reason != "UnknownType":
            raise
        return None
    if len(names) > _FEW:
        listed = {str(one["metadata"]["name"]): one for one in api.list(collection)}
        return {name: listed[name] for name in names if name in listed}
    return {name: there for name in names if (there := api.get(f"{collection}/{name}")) is not None}


def _whereabouts(resource: Resource, context: Context, clusters: Clusters) -> Place | Observation:
    """Where to look; or the answer, when there is nowhere to."""
    now = context.now()
    try:
        at = place.present_place(SetSpec.of(resource), context.records, clusters)
    except ReconcilerError as error:
        return Observation(resource.ref, unknown=error.message, observed_at=now)
    if at is None:
        return Observation(resource.ref, note=place.NO_MANAGEMENT, observed_at=now)
    if at.cluster not in clusters or not clusters[at.cluster].was_verified:
        return Observation(resource.ref, pending=ResourceRef("Cluster", at.cluster), observed_at=now)
    return at


def _in_place(
    at: Place, members: Sequence[Resource], context: Context, clusters: Clusters
) -> dict[ResourceRef, Observation]:
    now = context.now()
    try:
        with context.cluster(at.cluster) as api:
            live = fetch(api, at, [one.ref.name for one in members])
    except ReconcilerError as error:
        lost = isinstance(error, UnreachableError)
        return {
            one.ref: Observation(one.ref, unknown=error.message, unreachable=lost, observed_at=now) for one in members
        }
    if live is None:
        note = f"{at.cluster} {NO_ARGO_CD}"
        return {one.ref: Observation(one.ref, note=note, observed_at=now) for one in members}
    return {one.ref: _seen(one, at, live.get(one.ref.name), clusters, now) for one in members}


def _seen(resource: Resource, at: Place, live: Mapping[str, Any] | None, clusters: Clusters, now: float) -> Observation:
    """One set. One that is being deleted is no longer there for whom wants it, and still there for whom does not."""
    if live is None:
        return Observation(resource.ref, observed_at=now)
    if live["metadata"].get("deletionTimestamp") and resource.lifecycle.state == "present":
        return Observation(resource.ref, note="the one before is still being deleted", observed_at=now)
    spec = SetSpec.of(resource)
    there = elements_in(live)
    differs = {"toRemove": ["other generators"]} if there is None else difference(elements_of(spec, clusters), there)
    state = {
        "cluster": _cluster_name(spec, at, clusters),
        "namespace": at.namespace,
        "elements": differs or CURRENT,
        "manifest": _manifest(live, manifest_of(spec)),
    }
    is_ours = owner_of(live["metadata"].get("labels") or {}) == resource.ref
    return Observation(
        resource.ref,
        state,
        unhealthy=_trouble(live),
        note="" if is_ours else "somebody else made it",
        facts={**at._asdict(), "elements": names_in(there or ())},
        observed_at=now,
    )


def _cluster_name(spec: SetSpec, at: Place, clusters: Clusters) -> str:
    """The cluster as the state calls it: its name, or `management` where the spec leaves it to that role."""
    is_managing = not spec.cluster and managing_clusters(clusters) == [at.cluster]
    return place.MANAGEMENT if is_managing else at.cluster


def _manifest(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The live object as it compares. Its lists are those of a custom resource: they belong to one owner as a whole."""
    cut = comparable(live, wanted)
    body = {name: member for name, member in (cut.get("spec") or {}).items() if name != "generators"}
    return {**cut, "spec": _with_whole_lists(body, live.get("spec") or {}, wanted["spec"])}


def _with_whole_lists(seen: Any, live: Any, wanted: Any) -> Any:
    if isinstance(wanted, list) and isinstance(live, list):
        return live
    if not (isinstance(wanted, Mapping) and isinstance(seen, Mapping) and isinstance(live, Mapping)):
        return seen
    return {name: _with_whole_lists(member, live.get(name), wanted.get(name)) for name, member in seen.items()}


def _trouble(live: Mapping[str, Any]) -> str:
    """What Argo CD's controller says is wrong with the set."""
    for one in (live.get("status") or {}).get("conditions") or ():
        if one.get("type") == "ErrorOccurred" and one.get("status") == "True":
            return str(one.get("message") or one.get("reason") or "Argo CD reports an error")
    return ""
