"""Who follows the records of which kinds (`kind.Follows`). Called by `reconcile` and by the daemon, to wake them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconciler.errors import ReconcilerError
from reconciler.kind import Follows
from reconciler.kinds import Kinds
from reconciler.model.resource import Resource, ResourceRef


def leaders_of(
    kinds: Kinds, desired: Mapping[ResourceRef, Resource], refs: Collection[ResourceRef]
) -> dict[ResourceRef, tuple[str, ...]]:
    """The kinds that each of these resources follows; those that follow none are left out."""
    offers = kinds.offering(Follows)
    found: dict[ResourceRef, tuple[str, ...]] = {}
    for ref in refs if offers else ():
        resource = desired.get(ref)
        if resource is not None and ref.kind in offers:
            try:
                found[ref] = tuple(offers[ref.kind].follows(resource))
            except ReconcilerError:  # then it follows nobody, and what is wrong with it shows when it is planned
                continue
    return found
