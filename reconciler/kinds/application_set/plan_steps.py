"""Which steps a change of an application set has. Called by the kind. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.kind import Step
from reconciler.kinds.application_set import steps
from reconciler.model.plan import Action, Change

APPLY = Step("apply", "Apply the ApplicationSet", steps.apply, weight=10)
DELETE = Step("delete", "Delete the ApplicationSet and wait until it is gone", steps.delete, weight=10)
_STEPS = {
    Action.CREATE: (APPLY,),
    Action.UPDATE: (APPLY,),
    Action.REPLACE: (DELETE, APPLY),
    Action.DELETE: (DELETE,),
}


def steps_of(change: Change) -> Sequence[Step]:
    """One step for one object. With which elements, a plan that changes clusters too cannot promise."""
    found = _STEPS.get(change.action, ())
    return [replace(step, preview="conditional") for step in found] if change.conditional else found
