"""What is there of a cluster's attachments, in normal form. Called by `looking` for a cluster that is there; reads.

Each is looked at by itself: one that cannot be looked at hides neither the others nor the cluster's own differences,
and is never taken for absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import ReconcilerError, SpecError, UnreachableError
from reconciler.kind import Context
from reconciler.kinds.cluster import made
from reconciler.kinds.cluster.attachments import Attachment, Held, attachments, fields
from reconciler.kinds.cluster.providers import Found
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.digest import to_plain
from reconciler.model.resource import Resource
from reconciler.planning.diff import ROOT, is_ignored

LEFT = "left"
"""Seen of an attachment that no spec asks for any more: nothing is there, but the note that we made it."""


@dataclass(slots=True)
class Around:
    """state: by field, None for what is not there. unseen: by field, why it could not be looked at.

    unreachable: whether that was always because something did not answer.
    """

    state: dict[str, Any] = field(default_factory=dict)
    unseen: dict[str, str] = field(default_factory=dict)
    unreachable: bool = True

    @property
    def trouble(self) -> str:
        """What could not be looked at, for people; "" for nothing."""
        return "; ".join(f"could not look at its {name}: {why}" for name, why in self.unseen.items())


def look_around(
    resource: Resource, row: Mapping[str, Any] | None, found: Found, context: Context, asks: bool
) -> Around:
    """All attachments that the spec asks for or that were made, but for those that `lifecycle.ignore` leaves to others.

    asks: whether the cluster itself can be asked now.
    """
    around = Around()
    noted = noted_around(resource, context)
    if not noted and not any(field in resource.spec for field in fields()):
        return around
    for name, attachment in attachments().items():
        wanted, own = _wanted(attachment, resource, context), noted.get(name)
        if (wanted is None and own is None) or _is_left_to_others(name, resource):
            continue
        unlooked = wanted if wanted is not None else own
        if attachment.needs_cluster and not asks:
            around.state[name] = unlooked
            continue
        try:
            seen = attachment.look(Held(resource, ClusterSpec.of(resource), row, found, own), context)
        except ReconcilerError as error:
            around.unseen[name] = error.message
            around.unreachable = around.unreachable and isinstance(error, UnreachableError)
            around.state[name] = unlooked
        else:
            around.state[name] = LEFT if seen is None and wanted is None else seen
    return around


def noted_around(resource: Resource, context: Context) -> dict[str, made.Made]:
    """What was made for it, as far as that is ours to look after."""
    noted = made.of_cluster(context.records, resource.ref.name)
    return {name: state for name, state in noted.items() if not _is_left_to_others(name, resource)}


def _is_left_to_others(name: str, resource: Resource) -> bool:
    return is_ignored(f"{ROOT}.{name}", resource.lifecycle.ignore)


def _wanted(attachment: Attachment, resource: Resource, context: Context) -> Any:
    """What is wanted, as it is stored. A spec that is wrong in this place wants nothing here; planning says so."""
    try:
        return to_plain(attachment.wanted(resource), lambda secret: {"secret": context.digest_of(secret)})
    except SpecError:
        return None
