"""What the APIs of clusters hold of projects, fetched in few requests. Called by `looking` and the steps; reads only.

For many projects of a cluster one LIST a type, by our labels; for a few a LIST a type in their namespaces. What is not
served has no objects, and its type is named; whatever else cannot be asked is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.errors import TransientError, UnreachableError
from reconciler.kinds.project.objects import NAMESPACE, PROJECT_LABEL, SECRET, TYPES, Type
from reconciler.model.marks import FIELD_MANAGER, KIND_LABEL, MANAGED_BY

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

SELECTOR = f"{MANAGED_BY}={FIELD_MANAGER},{KIND_LABEL}=Project"
_FEW = 4

Live = Mapping[str, Any]


@dataclass(slots=True)
class Seen:
    """The objects of projects in one cluster, by API path. unserved: types that the cluster does not know.

    An object that is on its way out is there; `is_there` says whether it counts.
    """

    objects: dict[str, Live] = field(default_factory=dict)
    unserved: dict[str, Type] = field(default_factory=dict)
    _by_project: dict[str | None, list[tuple[str, Live]]] | None = None

    def of_project(self, project_id: str) -> list[tuple[str, Live]]:
        """The objects of one project by its label, with their paths. Ask only once everything is fetched."""
        if self._by_project is None:
            self._by_project = {}
            for path, live in self.objects.items():
                owner = (live["metadata"].get("labels") or {}).get(PROJECT_LABEL)
                self._by_project.setdefault(owner, []).append((path, live))
        return self._by_project.get(project_id, [])

    def get(self, path: str) -> Live | None:
        """The object at a path unless it is being deleted."""
        found = self.objects.get(path)
        return found if found is not None and not is_leaving(found) else None


def is_leaving(live: Live) -> bool:
    """Whether an object is being deleted."""
    return bool(live["metadata"].get("deletionTimestamp"))


def fetch(api: KubeTransport, namespaces: Iterable[str], shared: Iterable[str] = ()) -> Seen:
    """What is there of ours. namespaces: those that may hold it. shared: those that only have to be there.

    Raises what the transport raises, but for a type that is not served.
    """
    own, seen = list(dict.fromkeys(namespaces)), Seen()
    if len(own) <= _FEW:
        for name in own:
            _add_namespace(api, seen, name)
    else:
        for kind in TYPES:
            _add(api, seen, kind, "")
    for name in dict.fromkeys(shared):
        path = NAMESPACE.path(name=name)
        if path not in seen.objects and (found := api.get(path)) is not None:
            seen.objects[path] = found
    return seen


def _add_namespace(api: KubeTransport, seen: Seen, name: str) -> None:
    """A namespace and what of ours is in it."""
    path = NAMESPACE.path(name=name)
    found = api.get(path)
    if found is None:
        return
    seen.objects[path] = found
    for kind in TYPES:
        if kind is not NAMESPACE:
            _add(api, seen, kind, name)


def _add(api: KubeTransport, seen: Seen, kind: Type, namespace: str) -> None:
    try:
        found = api.list(kind.path(namespace), label_selector=SELECTOR)
    except UnreachableError:
        raise
    except TransientError as error:
        if error.reason != "NotFound" or kind in (NAMESPACE, SECRET):
            raise
        seen.unserved[kind.kind] = kind
        return
    for one in found:
        metadata = one["metadata"]
        seen.objects[kind.path(metadata.get("namespace", ""), metadata["name"])] = one
