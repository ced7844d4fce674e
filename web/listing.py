"""The list of resources as a query asks for it: filters, order, part. Used by the page and by its JSON twin."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from flask import request
from sqlalchemy import Connection

from reconciler.store import views
from web.presentation import matches
from web.reading import whole_number

LONGEST_QUERY = 200
_RANK = {standing: place for place, standing in enumerate(views.STANDINGS)}


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of the resources that match. total: all that match. of: all that there are. order: worst or name.

    counts: by standing, of what matches query and kind. usual: the limit where none is asked for.
    """

    shown: tuple[views.ResourceView, ...]
    total: int
    of: int
    offset: int
    limit: int
    kinds: tuple[str, ...]
    counts: dict[str, int]
    standings: tuple[str, ...]
    usual: int
    query: str
    kind: str
    standing: str
    order: str

    @property
    def next_offset(self) -> int | None:
        """Where the next part begins, None at the end."""
        after = self.offset + len(self.shown)
        return after if after < self.total else None

    def url(self, **changed: object) -> str:
        """This list with other parameters."""
        values = {"q": self.query, "kind": self.kind, "standing": self.standing, "sort": self.order} | changed
        if values["sort"] == "worst":
            del values["sort"]
        chosen = {name: value for name, value in values.items() if value not in ("", None, 0)}
        return f"/resources?{urlencode(chosen)}" if chosen else "/resources"


def listing(connection: Connection, default_limit: int, highest: int) -> Listing:
    """What the request's query asks for: q, kind, ready, standing, name (a glob), label (repeated), sort, limit."""
    query = request.args.get("q", "")[:LONGEST_QUERY]
    kind = request.args.get("kind", "")[:63]
    standing = request.args.get("standing", "")[:20]
    order = "name" if request.args.get("sort") == "name" else "worst"
    labels = dict(pair.partition("=")[::2] for pair in request.args.getlist("label"))
    ready = request.args.get("ready") or None
    found = views.list_resources(connection, name=request.args.get("name") or None, labels=labels, ready=ready)
    terms = query.lower().split()
    matching = [view for view in found if not terms or matches(view, terms)]
    ofkind = [view for view in matching if kind in ("", view.ref.kind)]
    counts: dict[str, int] = {}
    for view in ofkind:
        counts[view.standing] = counts.get(view.standing, 0) + 1
    chosen = [view for view in ofkind if standing in ("", view.standing) or _is_group(standing, view)]
    if order == "worst":
        chosen.sort(key=lambda view: _RANK[view.standing])
    offset = whole_number("offset", 0, len(chosen))
    limit = whole_number("limit", default_limit, highest)
    return Listing(
        shown=tuple(chosen[offset : offset + limit]),
        total=len(chosen),
        of=len(found),
        offset=offset,
        limit=limit,
        kinds=tuple(sorted({view.ref.kind for view in found})),
        counts=dict(sorted(counts.items(), key=lambda entry: _RANK[entry[0]])),  # type: ignore[index] # standings only
        standings=views.STANDINGS,
        usual=default_limit,
        query=query,
        kind=kind,
        standing=standing,
        order=order,
    )


def _is_group(standing: str, view: views.ResourceView) -> bool:
    return standing == "wrong" and view.standing in views.WRONG
