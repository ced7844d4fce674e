"""Bodies in the predecessors' shapes as documents, and what is wrong with those in the names of the bodies.

Used by `older_api` (clusters) and `projects_api`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.loading.documents import FindingsError
from reconciler.loading.messages import Finding

Place = tuple[str, ...]
Places = Mapping[Place, Place]
"""Where a field of a body stands in the document that it describes."""


def translated(body: Mapping[str, Any], places: Places, kind: str) -> dict[str, Any]:
    """The document that a body describes. What is null or an empty text is left out."""
    document: dict[str, Any] = {"kind": kind, "metadata": {}, "spec": {}}
    for field, (*parents, last) in places.items():
        value = _at(body, field)
        if value not in (None, ""):
            place = document
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
    return document


def told_back(error: FindingsError, places: Places) -> FindingsError:
    """What is wrong with such a document, as what is wrong with the body."""
    return FindingsError([_told(finding, places) for finding in error.findings], error.ref)


def _told(finding: Finding, places: Places) -> Finding:
    path = tuple(finding.path)
    if path == ("metadata",):
        path = ("metadata", "name")  # it is missing there
    for field, place in places.items():
        if path[: len(place)] == place:
            return Finding((*field, *path[len(place) :]), finding.message)
    missing = [field for field, place in places.items() if _is_missing(finding, place)]
    return Finding(missing[0], finding.message) if missing else finding


def _is_missing(finding: Finding, place: Place) -> bool:
    return tuple(finding.path) == place[:-1] and f'"{place[-1]}" is missing' in finding.message


def _at(body: Mapping[str, Any], field: Place) -> Any:
    value: Any = body
    for name in field:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
