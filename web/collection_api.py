"""`/api/v2/<plural>`: the resources of a kind listed, shown, created, deleted. The same routes for every kind.

`app` registers one blueprint a collection; what only one kind has is added by the module of its collection. Described
in docs/api.md and API.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

from flask import Blueprint, Response

from web.answers import accepted, actor, writer
from web.collection import Collection, Json
from web.reading import reading


def listed(collection: Collection) -> Json:
    """A list under the name of the collection, by name."""
    with reading() as connection:
        return {collection.plural: collection.listed(connection)}


def create(collection: Collection) -> Response:
    """202 with a task. The body is the document; `apiVersion` and `kind` may be left out."""
    return accepted(collection.create(actor()))


def one(collection: Collection, name: str) -> Json:
    """One of them."""
    with reading() as connection:
        return collection.found(connection, name)


def status(collection: Collection, name: str) -> Json:
    """How it stands: conditions and its newest task."""
    with reading() as connection:
        return collection.status(connection, name)


def delete(collection: Collection, name: str) -> Response:
    """202 with a task."""
    return accepted(writer().delete(collection.ref(name), actor()))


_ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", "", listed),
    ("POST", "", create),
    ("GET", "/<name>", one),
    ("GET", "/<name>/status", status),
    ("DELETE", "/<name>", delete),
)


def blueprint_of(collection: Collection) -> Blueprint:
    """The routes of a collection."""
    made = Blueprint(collection.plural, __name__, url_prefix=f"/api/v2/{collection.plural}")
    for method, rule, view in _ROUTES:
        bound = update_wrapper(partial(view, collection), view)
        made.add_url_rule(rule, view.__name__, bound, methods=[method])
    return made
