"""Taking away what a project has made in clusters. Called by the steps of a deletion, and for what is not wanted now.

First Kustomizations, so that Flux removes what it deployed, then what they read, then namespaces. Each is awaited; what
was deleted by hand is fine. A namespace stays, with a message, as long as it holds anything that is not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.errors import BlockedError, TransientError
from reconciler.kind import Context, Records
from reconciler.kinds.project.applying import finalizers_of
from reconciler.kinds.project.changing import tell, wait_until
from reconciler.kinds.project.objects import (
    KUSTOMIZATION,
    NAMESPACE,
    PROJECT_LABEL,
    SECRET,
    SOURCE,
    Place,
    filled,
    namespace_object,
)
from reconciler.kinds.project.rows import ENVIRONMENTS, PROJECTS, Made, Row
from reconciler.kinds.project.seeing import is_leaving
from reconciler.model.duration import parse_duration
from reconciler.model.resource import ResourceRef

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

_ORDER = (KUSTOMIZATION.kind, SOURCE.kind, SECRET.kind)
_FLUX = "kustomize.toolkit.fluxcd.io"
_DEFAULT_TIMEOUT = "60s"
_PASSING = frozenset({"Event", "Endpoints", "PodMetrics"})
"""Kinds whose objects come and go with others, without saying whose they are."""
_SHOWN = 5

Api = Callable[[str], "KubeTransport"]
Live = Mapping[str, Any]


def remove_objects(context: Context, api_of: Api, made: Sequence[Made]) -> None:
    """Delete everything but namespaces, one type after another, and see it gone. Raises DeadlineError naming what holds
    it up."""
    for kind in _ORDER:
        found = [place_of(one) for one in reversed(made) if one.kind == kind]
        leaving = [place for place in found if _ask(api_of(place.cluster), place)]
        for place in leaving:
            _await(context, api_of(place.cluster), place)
            tell(context, f"Deleted {place}")


def remove_namespaces(context: Context, api_of: Api, made: Sequence[Made], project_id: str) -> None:
    """Delete those namespaces that we made and that hold nothing of anybody else.

    One that another project is put into stays, and becomes that one's. Raises BlockedError naming what is in one.
    """
    kustomizations = {(one.namespace, one.name) for one in made if one.kind == KUSTOMIZATION.kind}
    for one in reversed([one for one in made if one.kind == NAMESPACE.kind]):
        place = place_of(one)
        api = api_of(place.cluster)
        live = api.get(place.path)
        if live is None:
            continue
        if _label(live, PROJECT_LABEL) != project_id:
            tell(context, f"{place} is not ours, and stays")
            continue
        if not is_leaving(live):
            if other := _other_target(context.records, place, project_id):
                _hand_over(context, api, place, other)
                continue
            _empty_of_others(context, api, place, project_id, kustomizations)
            api.delete(place.path)
        _await(context, api, place)
        tell(context, f"Deleted {place}")


def _other_target(records: Records, place: Place, project_id: str) -> Row | None:
    """Another project that puts an environment into this namespace, as its record says; the first by name."""
    there = records.list(ENVIRONMENTS, cluster=place.cluster, namespace=place.name)
    ids = {row["project_id"] for row in there} - {project_id}
    found = [row for row in records.list(PROJECTS) if row["id"] in ids and row["resource"]] if ids else []
    return min(found, key=lambda row: str(row["resource"]), default=None)


def _hand_over(context: Context, api: KubeTransport, place: Place, other: Row) -> None:
    """A namespace that another project needs is that one's from now on, and goes with it."""
    ref = ResourceRef("Project", other["resource"])
    api.apply(filled(namespace_object(ref, place.name), other["id"]), force=True)
    tell(context, f"{place} stays: {ref} is put into it as well, and has it from now on")


def place_of(made: Made) -> Place:
    """Where something is that we may have made."""
    return Place(made.cluster, (), made.kind, made.namespace, made.name)


def strangers(
    api: KubeTransport, namespace: str, project_id: str, kustomizations: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, Live]]:
    """What is in a namespace and neither ours, nor made by Flux for us, nor in every namespace: its name, and it.

    What another object owns goes with that one, which is judged itself. Raises what the transport raises.
    """
    ours = set(kustomizations)
    for kind, collection in _types(api):
        for live in api.list(collection.format(namespace)):
            by_flux = (_label(live, f"{_FLUX}/namespace"), _label(live, f"{_FLUX}/name")) in ours
            if not (by_flux or _label(live, PROJECT_LABEL) == project_id or _is_usual(kind, live)):
                yield f"{kind} {live['metadata']['name']}", live


def _empty_of_others(
    context: Context, api: KubeTransport, place: Place, project_id: str, kustomizations: Iterable[tuple[str, str]]
) -> None:
    """Nothing of anybody else is in a namespace. What is on its way out already is awaited."""
    ours = list(kustomizations)

    def leaving() -> str:
        found = list(strangers(api, place.name, project_id, ours))
        staying = [name for name, live in found if not is_leaving(live)]
        if staying:
            more = f" and {len(staying) - _SHOWN} more" if len(staying) > _SHOWN else ""
            what = f"{', '.join(staying[:_SHOWN])}{more}"
            advice = "move or delete that, and it goes"
            raise BlockedError("NotEmpty", f"{place} holds what is not of this project: {what}: {advice}")
        return ", ".join(name for name, _ in found[:_SHOWN])

    wait_until(context, _timeout(context), f"what is being deleted in {place} was not gone", leaving)


def _types(api: KubeTransport) -> list[tuple[str, str]]:
    """Every namespaced type that can be listed: its kind, and the path of all in a namespace, which is `{}`."""
    versions = ["/api/v1"]
    for group in (api.get("/apis") or {}).get("groups") or ():
        versions.append(f"/apis/{group['preferredVersion']['groupVersion']}")
    found: list[tuple[str, str]] = []
    for base in versions:
        answer = api.get(base)
        if answer is None:
            raise TransientError("NotFound", f"{api.server} names {base}, and does not serve it")
        for entry in answer.get("resources") or ():
            is_listed = entry.get("namespaced") and "list" in (entry.get("verbs") or ()) and "/" not in entry["name"]
            if is_listed and entry["kind"] not in _PASSING:
                found.append((entry["kind"], f"{base}/namespaces/{{}}/{entry['name']}"))
    return found


def _is_usual(kind: str, live: Live) -> bool:
    """What every namespace has, and what goes with its owner."""
    name = live["metadata"]["name"]
    if (kind, name) in {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}:
        return True
    is_token = kind == "Secret" and live.get("type") == "kubernetes.io/service-account-token"
    return is_token or bool(live["metadata"].get("ownerReferences"))


def _label(live: Live, name: str) -> str:
    return str((live["metadata"].get("labels") or {}).get(name, ""))


def _ask(api: KubeTransport, place: Place) -> bool:
    """Whether it was there, and is now on its way out."""
    try:
        return api.delete(place.path)
    except TransientError as error:
        if error.reason != "NotFound":  # the type went, and every object with it
            raise
        return False


def _await(context: Context, api: KubeTransport, place: Place) -> None:
    def why() -> str:
        live = api.get(place.path)
        return "" if live is None else finalizers_of(place, live)

    wait_until(context, _timeout(context), f"{place} was not gone", why)


def _timeout(context: Context) -> float:
    return parse_duration(context.settings.get("deleteTimeout", _DEFAULT_TIMEOUT))
