"""LIST: selectors, ordering, pages. Called by `api`; `watching` shares the selection."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import SpecError
from reconciler.sandbox import selectors, statuses
from reconciler.sandbox.resources import ResourceType
from reconciler.sandbox.state import ClusterState, Stored

_OPEN_PAGES = 64


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a type a request means; name is set by `metadata.name=` or by a watch on one object."""

    namespace: str = ""
    labels: selectors.Selector = ()
    fields: tuple[selectors.FieldTerm, ...] = ()

    def accepts(self, stored: Stored) -> bool:
        """Whether an object is meant."""
        if self.namespace and stored.key.namespace != self.namespace:
            return False
        if self.labels and not selectors.matches(self.labels, stored.value["metadata"].get("labels")):
            return False
        return not self.fields or selectors.fields_match(self.fields, stored.value)


def read_selection(resource_type: ResourceType, namespace: str, query: Mapping[str, str]) -> Selection:
    """The selection of a request. ApiError 400 on a malformed selector."""
    try:
        labels = selectors.parse_labels(query.get("labelSelector", ""))
        fields = selectors.parse_fields(query.get("fieldSelector", ""), resource_type.supported_fields())
    except SpecError as error:
        raise statuses.bad_request(error.message) from error
    return Selection(namespace, labels, fields)


@dataclass(frozen=True, slots=True)
class Page:
    """What a list answers: objects and the list's metadata."""

    found: list[Stored]
    metadata: dict[str, Any]


@dataclass(eq=False)
class Pages:
    """Lists that were cut by `limit`: the rest is kept as it was, so that all pages are of one moment."""

    _open: OrderedDict[str, tuple[str, list[Stored]]] = field(default_factory=OrderedDict)

    def first(self, state: ClusterState, resource_type: ResourceType, selection: Selection, limit: int) -> Page:
        """The first `limit` objects (0: all) of a selection."""
        found = state.select(resource_type.resource, selection.namespace)
        if selection.labels or selection.fields:
            found = [one for one in found if selection.accepts(one)]
        return self._cut(str(state.revision), found, limit, counted=not (selection.labels or selection.fields))

    def following(self, token: str, limit: int) -> Page:
        """The page behind a continue token. ApiError 410 when it is not remembered any more."""
        kept = self._open.pop(token, None)
        if kept is None:
            raise statuses.expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new"
                " list without the continue parameter."
            )
        return self._cut(kept[0], kept[1], limit, counted=False)

    def _cut(self, revision: str, found: list[Stored], limit: int, *, counted: bool) -> Page:
        metadata: dict[str, Any] = {"resourceVersion": revision}
        if limit <= 0 or len(found) <= limit:
            return Page(found, metadata)
        token = secrets.token_urlsafe(16)
        self._open[token] = (revision, found[limit:])
        while len(self._open) > _OPEN_PAGES:
            self._open.popitem(last=False)
        metadata["continue"] = token
        if counted:
            metadata["remainingItemCount"] = len(found) - limit
        return Page(found[:limit], metadata)


def check_version(state: ClusterState, query: Mapping[str, str]) -> None:
    """A list can only be of now: ApiError 400, 410 or 504 when `resourceVersion` asks for something else."""
    wanted = query.get("resourceVersion", "")
    if not wanted:
        return
    if not wanted.isdigit():
        raise statuses.bad_request(f"Invalid value: {wanted!r}: resourceVersion must be a number")
    if int(wanted) > state.revision:
        message = f"Too large resource version: {wanted}, current: {state.revision}"
        details = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}
        raise statuses.ApiError(504, "Timeout", message, {**details, "retryAfterSeconds": 1})
    if query.get("resourceVersionMatch") == "Exact" and int(wanted) != state.revision:
        raise statuses.expired(f"The resourceVersion for the provided list is too old: {wanted} ({state.revision})")
