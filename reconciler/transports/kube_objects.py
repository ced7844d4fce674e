"""Many objects of one Kubernetes API at once: seen in as few requests as possible, written side by side.

Called by kinds that keep more than a few objects in a cluster. How many LISTs a look takes depends on the types and not
on how many objects there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote

from reconciler.errors import TerminalError, TransientError
from reconciler.transports.kube import KubeTransport

FEW = 3
"""So many objects of a type are asked for one by one: a LIST would show all others as well."""
WRITERS = 8
"""Requests at a time. An API server takes twice as many from four connections as from one, hardly more from more."""

Object = Mapping[str, Any]
T = TypeVar("T")
R = TypeVar("R")


def fetch(api: KubeTransport, paths: Collection[str]) -> dict[str, Object]:
    """The objects at these paths, those that are there."""
    found: dict[str, Object] = {}
    by_type: dict[str, dict[str, list[str]]] = {}
    for path in sorted(paths):
        base, namespace, collection = _parts(path)
        by_type.setdefault(f"{base}/{collection}", {}).setdefault(namespace, []).append(path)
    for whole, namespaces in by_type.items():
        members = [path for one in namespaces.values() for path in one]
        if len(members) <= FEW:
            found |= {path: there for path in members if (there := api.get(path)) is not None}
            continue
        listed = dict(_listed(api, whole, namespaces))
        found |= {path: listed[path] for path in members if path in listed}
    return found


def side_by_side(call: Callable[[T], R], values: Iterable[T], most: int = WRITERS) -> Iterator[tuple[T, R]]:
    """`call` for each value, at most so many at a time; each value with what it gave, in the order in which they end.

    The first error is raised once the calls that were under way then have ended; nothing more is begun after it, nor
    when the caller stops asking.
    """
    left = iter(values)
    running: dict[Future[R], T] = {}
    with ThreadPoolExecutor(most, thread_name_prefix="write") as pool:
        while True:
            for value in islice(left, most - len(running)):
                running[pool.submit(call, value)] = value
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


def _listed(api: KubeTransport, whole: str, namespaces: Mapping[str, list[str]]) -> Iterator[tuple[str, Object]]:
    """The objects of a type by path: from one LIST, or one a namespace where these are few or that is refused."""
    if len(namespaces) > FEW:
        try:
            for one in api.list(whole):
                yield _path_of(whole, one), one
        except (TerminalError, TransientError) as error:
            if error.reason not in ("Forbidden", "TooMany"):
                raise
        else:
            return
    for namespace in namespaces:
        for one in api.list(_in_namespace(whole, namespace)):
            yield _path_of(whole, one), one


def _parts(path: str) -> tuple[str, str, str]:
    """`/api/v1/namespaces/x/secrets/y` is `/api/v1`, `x`, `secrets`. The namespace of what has none is ""."""
    parts = path.split("/")
    if len(parts) > 5 and parts[-4] == "namespaces":
        return "/".join(parts[:-4]), parts[-3], parts[-2]
    return "/".join(parts[:-2]), "", parts[-2]


def _path_of(whole: str, live: Object) -> str:
    metadata = live["metadata"]
    return f"{_in_namespace(whole, metadata.get('namespace', ''))}/{quote(metadata['name'], safe='')}"


def _in_namespace(whole: str, namespace: str) -> str:
    base, _, collection = whole.rpartition("/")
    return f"{base}/namespaces/{namespace}/{collection}" if namespace else whole
