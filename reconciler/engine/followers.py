"""What resources have to do with others, by what their kinds offer: whom they follow, what they claim.

Called by `reconcile` for its plans, and by the daemon to wake followers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconciler.errors import ReconcilerError
from reconciler.kind import Claims, Follows
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


def claims_of(
    kinds: Kinds, desired: Mapping[ResourceRef, Resource], refs: Collection[ResourceRef]
) -> dict[ResourceRef, Mapping[str, str]]:
    """What each of these resources asks for of which there is just one (`kind.Claims`); empty ones are left out."""
    offers = kinds.offering(Claims)
    found: dict[ResourceRef, Mapping[str, str]] = {}
    for ref in refs if offers else ():
        resource = desired.get(ref)
        if resource is not None and ref.kind in offers:
            try:
                claims = offers[ref.kind].claims(resource)
            except ReconcilerError:  # what is wrong with it shows when it is planned
                continue
            if claims:
                found[ref] = claims
    return found
