"""Writing the objects of a project into its clusters, and taking back what it has no longer. Called by `setup_gitops`.

What differs is applied, server-side, in the order in which one needs the other; nothing else is sent. Fields that
somebody else owns are reported, and taken over only with `flux.force`. A Secret whose type changes is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING, Any

from reconciler.errors import BlockedError, TerminalError
from reconciler.kind import Context
from reconciler.kinds.project.changing import spec_of, tell, wait_until
from reconciler.kinds.project.objects import (
    KUSTOMIZATION,
    NAMESPACE,
    PRESENT,
    PROJECT_LABEL,
    REQUESTED_AT,
    SECRET,
    SOURCE,
    Place,
    filled,
    namespace_object,
    objects_of,
    places,
)
from reconciler.kinds.project.seeing import Seen, is_leaving
from reconciler.model.marks import owner_of
from reconciler.model.plan import Action, Change
from reconciler.planning.diff import ROOT, join
from reconciler.planning.secret_values import revealed

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

LEAVING_TIMEOUT = 60.0
_POKED = (SOURCE.kind, KUSTOMIZATION.kind)

Api = Callable[[str], "KubeTransport"]


def planned_objects(change: Change, project_id: str) -> list[tuple[Place, Any, bool]]:
    """Every planned object with its place, in order, ids in names; and whether it differs from what is there. Pure."""
    paths = [entry.path for entry in change.diffs]
    found: list[tuple[Place, Any, bool]] = []
    for cluster, words in change.after["clusters"].items():
        real = places(cluster, filled(words, project_id))
        for (place, manifest), (told, _) in zip(real, places(cluster, words), strict=True):
            own = reduce(join, ("clusters", cluster, *told.part), ROOT)
            differs = change.action is not Action.UPDATE or any(_touches(path, own) for path in paths)
            found.append((place, manifest, differs))
    return found


def apply_objects(context: Context, api_of: Api, seen: Mapping[str, Seen], project_id: str) -> int:
    """Apply what differs. seen: what was there a moment ago. Gives how many objects were written.

    Raises what the transport raises.
    """
    assert context.change is not None
    values = _with_values(context, project_id)
    due = [(place, manifest) for place, manifest, differs in planned_objects(context.change, project_id) if differs]
    written: list[str] = []
    try:
        for number, (place, manifest) in enumerate(due, 1):
            api, live = api_of(place.cluster), seen[place.cluster].objects.get(place.path)
            if live is None and (manifest == PRESENT or place.kind == SECRET.kind):  # somebody else's was not seen
                live = api.get(place.path)
            if live is not None and is_leaving(live):
                _await_gone(context, api, place)
                live = None
            if manifest == PRESENT and live is not None:
                continue
            sent = _sent(context, place, manifest, values.get(f"{place.cluster}{place.path}", {}), live)
            if live is not None and _has_another_type(place, manifest, live):
                _make_way(context, api, place, live, project_id)
                written.append(f"Deleted {place}, whose type was {live.get('type')}")
                live = None
            _send(context, api, place, filled(sent, project_id))
            written.append(f"{'Created' if live is None else 'Updated'} {place}")
            context.progress(90.0 * number / len(due), str(place))
    finally:
        if written:  # in one go: each line of its own would be a transaction of its own
            tell(context, "\n".join(written))
    return len(written)


def _send(context: Context, api: KubeTransport, place: Place, sent: Mapping[str, Any]) -> None:
    """Apply one object. Raises BlockedError naming who else owns a field, with what to do about it."""
    try:
        api.apply(sent, force=spec_of(context).flux.force)
    except BlockedError as error:
        message = f"cluster {place.cluster}: {error.message}; set flux.force to take it over"
        raise BlockedError(error.reason, message) from error


def _has_another_type(place: Place, manifest: Any, live: Mapping[str, Any]) -> bool:
    """Whether a Secret has to be made anew: Kubernetes lets nobody change its `type`."""
    return place.kind == SECRET.kind and manifest.get("type", live.get("type")) != live.get("type")


def _make_way(context: Context, api: KubeTransport, place: Place, live: Mapping[str, Any], project_id: str) -> None:
    """Delete a Secret of ours and see it gone. After a kill the next apply finds it leaving or gone, and makes it.

    Raises TerminalError with what to do about one that is not ours.
    """
    assert context.resource is not None
    labels = live["metadata"].get("labels") or {}
    if owner_of(labels) != context.resource.ref or labels.get(PROJECT_LABEL) != project_id:
        what = f"its type is {live.get('type')}, which nobody can change, and its labels are not those of this project"
        raise TerminalError("Rejected", f"{place}: {what}: move or delete it, and it is made as it has to be")
    api.delete(place.path)
    _await_gone(context, api, place)


def _with_values(context: Context, project_id: str) -> dict[str, Mapping[str, Any]]:
    """By path, the Secrets that are wanted, with their values."""
    found: dict[str, Mapping[str, Any]] = {}
    for cluster, wanted in objects_of(spec_of(context)).items():
        if "secret" in wanted:
            for place, manifest in places(cluster, filled({**wanted, "namespaces": {}}, project_id)):
                if place.kind == SECRET.kind:
                    found[f"{cluster}{place.path}"] = manifest
    return found


def _sent(
    context: Context, place: Place, manifest: Any, own: Mapping[str, Any], live: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The object as it goes out: values of Secrets in it, and a wish to be looked at by Flux at once."""
    assert context.resource is not None
    if manifest == PRESENT:
        return namespace_object(context.resource.ref, place.name)
    sent = revealed(manifest, own, context.digest_of, lambda: live)
    if place.kind not in _POKED:
        return sent
    metadata = sent["metadata"]
    at = datetime.fromtimestamp(context.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    annotations = {**metadata.get("annotations", {}), REQUESTED_AT: at}
    return {**sent, "metadata": {**metadata, "annotations": annotations}}


def _touches(path: str, own: str) -> bool:
    """Whether a difference lies in an object, or the object in it."""
    return path == own or path.startswith((f"{own}.", f"{own}[")) or own.startswith(f"{path}.")


def _await_gone(context: Context, api: KubeTransport, place: Place) -> None:
    """An object that is being deleted has to be gone before it can be made again."""

    def why() -> str:
        live = api.get(place.path)
        return "" if live is None or not is_leaving(live) else finalizers_of(place, live)

    wait_until(context, LEAVING_TIMEOUT, f"{place} was not gone", why)


def finalizers_of(place: Place, live: Mapping[str, Any]) -> str:
    """What an object that is being deleted waits for."""
    names = live["metadata"].get("finalizers") or []
    if place.kind == NAMESPACE.kind:
        names = [*names, *((live.get("spec") or {}).get("finalizers") or [])]
        told = [one.get("message", "") for one in (live.get("status") or {}).get("conditions") or ()]
        reasons = "; ".join(text for text in told if text)
        return f"it is being emptied{f': {reasons}' if reasons else ''}"
    if not names:
        return "it is still there"
    whose = ", whose controller has to run to remove it" if place.kind in _POKED else ""
    return f"it is held by finalizer {', '.join(names)}{whose}"
