"""Resources whose desired state is made of what others have recorded (`kind.Follows`). Called by `planner`. Pure.

What such a resource is to become is known only after those that it follows have changed. Until then the plan can say
no more than that it will be looked at then: a conditional change, which may turn out to be none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from reconciler.model.plan import Action, Change
from reconciler.model.record import Record
from reconciler.model.resource import ResourceRef
from reconciler.planning.decide import Judgement, moded
from reconciler.planning.order import reachable

Leaders = Mapping[ResourceRef, Collection[str]]
"""For each resource that follows others, the kinds that it follows."""


def follow(
    changes: dict[ResourceRef, Change], leaders: Leaders, records: Mapping[ResourceRef, Record], judgement: Judgement
) -> bool:
    """Make conditional what follows a change of this plan, in place; whether anything was."""
    changed = {ref for ref, change in changes.items() if change.is_effective}
    graph = {ref: change.requires for ref, change in changes.items()} if leaders and changed else {}
    has_followed = False
    for ref, kinds in leaders.items():
        change = changes.get(ref)
        ahead = {other for other in changed if other.kind in kinds and other != ref}
        if not ahead or change is None or change.action is Action.DELETE or change.obstacle is not None:
            continue
        behind = {other for other in ahead if ref in reachable(graph, [other])}  # they need it: they cannot come first
        if followed := sorted(ahead - behind):
            changes[ref] = _following(judgement, change, followed, records.get(ref))
            has_followed = True
    return has_followed


def _following(judgement: Judgement, change: Change, followed: list[ResourceRef], record: Record | None) -> Change:
    names = ", ".join(map(str, followed[:3])) + (" …" if len(followed) > 3 else "")
    why = f"follows {names}, which this plan changes"
    action = Action.UPDATE if change.action is Action.NOOP else change.action
    if change.why and change.action is not Action.NOOP:
        why = f"{change.why}; {why}"
    changed = replace(change, action=action, why=why, follows=tuple(followed), conditional=True)
    return moded(judgement, judgement.kinds[change.ref.kind], changed, record)
