"""The steps of attachments, as a change has them, and weights that sum to 100. Called by `plan_steps`.

What all of them owe is added here: a failure is written into the cluster's row and beside what was made, and each is
tried even when another one failed, but nothing that comes after them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from reconciler.errors import ReconcilerError, SpecError
from reconciler.kind import Context, Outputs, Step
from reconciler.kinds.cluster import made
from reconciler.kinds.cluster.attachments import Attachment, attachments
from reconciler.kinds.cluster.changing import NOT_A_FAILURE, StepFunction, failing_into_the_row, name_of
from reconciler.model.plan import Change
from reconciler.planning.diff import ROOT, is_ignored

TOTAL = 100


@cache
def ensuring() -> dict[str, Step]:
    """By field, the steps that make attachments, in order."""
    return {field: _step(one, one.ensure) for field, one in attachments().items()}


@cache
def removing() -> dict[str, Step]:
    """By field, the steps that remove them, in order."""
    return {field: _step(one, one.remove) for field, one in reversed(list(attachments().items()))}


def wanted_by(change: Change) -> set[str]:
    """The fields that the state after the change has."""
    after = change.after or {}
    return {field for field in attachments() if after.get(field) is not None}


def to_be_removed(change: Change) -> Sequence[Step]:
    """The steps that remove, before a cluster is deleted, what is there of its attachments and will not be wanted.

    What its spec wants may be there too, when the cluster itself is gone and nobody looked. What `lifecycle.ignore`
    leaves to others stays: so does a branch whose repository is gone for good.
    """
    before, ignore = change.before or {}, change.resource.lifecycle.ignore
    there = {field for field, one in attachments().items() if before.get(field) or _asked(one, change)}
    ours = {field for field in there - wanted_by(change) if not is_ignored(f"{ROOT}.{field}", ignore)}
    return tuple(step for field, step in removing().items() if field in ours)


def made_with_it(change: Change) -> set[str]:
    """The names of the steps that make what depends on how the cluster was put in order."""
    found = attachments()
    return {ensuring()[field].name for field in wanted_by(change) if found[field].needs_cluster}


def weighted(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps with weights that sum to 100, each at least 1, in the proportions that they had."""
    listed = tuple(steps)
    whole = sum(step.weight for step in listed)
    if not listed or whole == TOTAL:
        return listed
    exact = [step.weight * TOTAL / whole for step in listed]
    weights = [max(int(weight), 1) for weight in exact]
    by_rest = sorted(range(len(listed)), key=lambda index: exact[index] - weights[index], reverse=True)
    for index in by_rest[: max(TOTAL - sum(weights), 0)]:
        weights[index] += 1
    weights[weights.index(max(weights))] -= sum(weights) - TOTAL
    return tuple(replace(step, weight=weight) for step, weight in zip(listed, weights, strict=True))


def _asked(attachment: Attachment, change: Change) -> bool:
    """Whether the spec asks for it; what is wrong with it was said when it was to be made."""
    try:
        return attachment.wanted(change.resource) is not None
    except SpecError:
        return False


def _step(attachment: Attachment, step: Step) -> Step:
    return replace(step, run=failing_into_the_row(_noted(attachment.field, step.run)), independent=True)


def _noted(field: str, function: StepFunction) -> StepFunction:
    """The step, with why it failed kept beside what was made until it succeeds."""

    @functools.wraps(function)
    def run(context: Context) -> Outputs | None:
        try:
            outputs = function(context)
        except NOT_A_FAILURE:
            raise
        except Exception as error:
            message = error.message if isinstance(error, ReconcilerError) else f"{type(error).__name__}: {error}"
            made.fail(context, name_of(context), field, message)
            raise
        made.fail(context, name_of(context), field, None)
        return outputs

    return run
