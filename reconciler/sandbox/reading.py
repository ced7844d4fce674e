"""LIST: selectors, ordering, pages, lists of a past moment. Called by `api`; `watching` shares the selection."""

from __future__ import annotations

import base64
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.errors import SpecError
from reconciler.sandbox import selectors, statuses
from reconciler.sandbox.resource_types import ResourceType
from reconciler.sandbox.state import ClusterState, Stored, encode

_NOW = -1  # the revision in a token that goes on whatever has changed


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


@dataclass(frozen=True, slots=True)
class Start:
    """Where a list begins: the revision that it is of (None: now), and the place of the object before its first."""

    revision: int | None = None
    after: tuple[str, str] | None = None


def list_page(state: ClusterState, resource_type: ResourceType, selection: Selection, query: Mapping[str, str]) -> Page:
    """One page of a list, or the whole. ApiError 400, 410, 422, 504.

    A continue token only says of which revision the list is and where the page before it ended: what the list held
    then is worked out again from the changes since, so a token costs no memory and may be used twice.
    """
    limit, start = _limit(query), _start(state, query)
    if start.revision is None or start.revision == state.revision:
        revision, found = state.revision, state.select(resource_type.resource, selection.namespace)
    elif not state.remembers(start.revision):
        raise _too_old(start, query)
    else:
        revision = start.revision
        found = state.select_as_of(revision, resource_type.resource, selection.namespace)
    if selection.labels or selection.fields:
        found = [one for one in found if selection.accepts(one)]
    if start.after is not None:
        found = found[bisect_right(found, start.after, key=_place) :]
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if 0 < limit < len(found):
        metadata["continue"] = _token(revision, _place(found[limit - 1]))
        if not selection.labels and not selection.fields:
            metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    return Page(found, metadata)


def _place(stored: Stored) -> tuple[str, str]:
    return (stored.key.namespace, stored.key.name)


def _limit(query: Mapping[str, str]) -> int:
    written = query.get("limit") or "0"
    try:
        limit = int(written) if written.isascii() and len(written) < 20 else None
    except ValueError:
        limit = None
    if limit is None:
        raise statuses.bad_request(f"limit: Invalid value: {written[:40]!r}: it must be a number")
    if limit < 0:
        raise statuses.unprocessable(f"limit: Invalid value: {limit}: must be greater than or equal to 0")
    return limit


def _start(state: ClusterState, query: Mapping[str, str]) -> Start:
    """Where the list of a query begins. ApiError 400, 422, 504."""
    token, version, match = (query.get(name) or "" for name in ("continue", "resourceVersion", "resourceVersionMatch"))
    if match not in ("", "Exact", "NotOlderThan"):
        message = f'resourceVersionMatch: Unsupported value: "{match[:40]}": supported values: "Exact", "NotOlderThan"'
        raise statuses.unprocessable(f'{message}, ""')
    if match and token:
        raise statuses.unprocessable(f"{_MATCH} is forbidden for continue")
    if match and not version:
        raise statuses.unprocessable(f"{_MATCH} is forbidden unless resourceVersion is provided")
    if match == "Exact" and version == "0":
        raise statuses.unprocessable(f'{_MATCH} "exact" is forbidden for resourceVersion "0"')
    if token:
        if version not in ("", "0"):
            raise statuses.bad_request("specifying resource version is not allowed when using continue")
        return _read_token(token, state.revision)
    wanted = read_version(state, version)
    return Start(wanted if match == "Exact" else None)


_MATCH = "resourceVersionMatch: Forbidden: resourceVersionMatch"


def read_version(state: ClusterState, version: str) -> int | None:
    """The revision that a query names, None when it names none. ApiError 400; 504 when it has not come yet."""
    if not version:
        return None
    if not version.isascii() or not version.isdigit() or len(version) > 19:
        raise statuses.bad_request(f"Invalid value: {version[:40]!r}: resourceVersion must be a number")
    if int(version) > state.revision:
        message = f"Too large resource version: {version}, current: {state.revision}"
        details = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}
        raise statuses.ApiError(504, "Timeout", message, {**details, "retryAfterSeconds": 1})
    return int(version)


def _token(revision: int, after: tuple[str, str]) -> str:
    written = encode({"v": "sandbox/v1", "rv": revision, "after": list(after)})
    return base64.urlsafe_b64encode(written).rstrip(b"=").decode()


def _read_token(token: str, newest: int) -> Start:
    """What a continue token says. ApiError 400 when it is none of ours; it is not a secret, its holder may list."""
    try:
        read = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise _bad_token("it cannot be decoded") from error
    if not isinstance(read, dict) or read.get("v") != "sandbox/v1":
        raise _bad_token("it is of another server")
    revision, after = read.get("rv"), read.get("after")
    if not isinstance(revision, int) or isinstance(revision, bool) or not _NOW <= revision <= newest:
        raise _bad_token("its resourceVersion was never given out")
    if not isinstance(after, list) or len(after) != 2 or not all(isinstance(part, str) for part in after):
        raise _bad_token("it names no place")
    return Start(None if revision == _NOW else revision, (after[0], after[1]))


def _bad_token(why: str) -> statuses.ApiError:
    return statuses.bad_request(f"continue key is not valid: {why}")


def _too_old(start: Start, query: Mapping[str, str]) -> statuses.ApiError:
    if start.after is None or not query.get("continue"):
        return statuses.expired(f"The resourceVersion for the provided list is too old: {start.revision}")
    expired = statuses.expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list"
        " without the continue parameter, or use the continue token in this response to retrieve the remainder of the"
        " results. Continuing with the provided token results in an inconsistent list - objects that were created,"
        " modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    expired.metadata = {"continue": _token(_NOW, start.after)}
    return expired
