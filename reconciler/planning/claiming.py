"""Things that several new resources of one plan ask for, of which there is just one each. Called by `planner`. Pure.

Who is made first is decided only while the plan is carried out, so each of them is told of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.model.plan import Action, Change
from reconciler.model.resource import ResourceRef

Claims = Mapping[ResourceRef, Mapping[str, str]]
"""For each resource the things that it asks for, and what becomes of it when another one has them first."""


def tell_rivals(changes: dict[ResourceRef, Change], claims: Claims) -> None:
    """Add to `why` of each creation, in place, which others of this plan ask for the same."""
    creations = [ref for ref in claims if ref in changes and _is_creation(changes[ref])]
    asking: dict[str, list[ResourceRef]] = {}
    for ref in creations:
        for thing in claims[ref]:
            asking.setdefault(thing, []).append(ref)
    for ref in creations:
        told = [_told(thing, asking[thing], ref, otherwise) for thing, otherwise in claims[ref].items()]
        if rivals := [text for text in told if text]:
            changes[ref] = replace(changes[ref], why="; ".join([changes[ref].why, *rivals]))


def _is_creation(change: Change) -> bool:
    return change.action is Action.CREATE and change.is_effective


def _told(thing: str, asking: list[ResourceRef], ref: ResourceRef, otherwise: str) -> str:
    others = sorted(other for other in asking if other != ref)
    if not others:
        return ""
    names = ", ".join(map(str, others[:3])) + (" …" if len(others) > 3 else "")
    return f"{names} of this plan also asks for {thing}: whichever is made later {otherwise}"
