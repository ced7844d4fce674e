"""Which steps a change of a project has: the table of contents. Pure; called by `ProjectKind.steps`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.kind import Step
from reconciler.kinds.project import steps
from reconciler.kinds.project.changing import STEPS, WAIT_READY, WAITING
from reconciler.kinds.project.looking import ENVIRONMENT_LEFT
from reconciler.kinds.project.spec import ProjectSpec
from reconciler.model.plan import Action, Change, FieldDiff, Preview

_CONDITIONAL = ("create_repository", "push_template")
_RUN = {
    "resolve_credentials": steps.resolve_credentials,
    "create_repository": steps.create_repository,
    "push_template": steps.push_template,
    "create_environments": steps.create_environments,
    "create_db_records": steps.create_db_records,
    "setup_gitops": steps.setup_gitops,
    "finalize": steps.finalize,
}


def _preview(name: str) -> Preview:
    return "conditional" if name in _CONDITIONAL else "exact"


INITIALIZATION = tuple(
    Step(name, f"{told.english} ({told.chinese})", _RUN[name], weight=told.weight, preview=_preview(name))
    for name, told in STEPS.items()
)
WAIT = Step(WAIT_READY, f"{WAITING.english} ({WAITING.chinese})", steps.wait_ready, weight=0)
DELETE_GITOPS = Step("delete_gitops", "Delete its Flux objects and what they deployed", steps.delete_gitops, weight=50)
DELETE_NAMESPACES = Step("delete_namespaces", "Delete its namespaces", steps.delete_namespaces, weight=40)
DELETE_RECORDS = Step("delete_records", "Delete its records", steps.delete_records, weight=10, safe_point=False)


def steps_of(change: Change) -> Sequence[Step]:
    """The steps, in order. The weights of a creation sum to 100, as do those of a deletion."""
    if change.action is Action.DELETE:
        return (DELETE_GITOPS, DELETE_NAMESPACES, DELETE_RECORDS)
    spec = ProjectSpec.of(change.resource)
    waiting = (WAIT,) if spec.wait_ready else ()
    if change.action is Action.CREATE:
        return (*INITIALIZATION, *waiting)
    if change.action is Action.REPLACE:  # it keeps its id, and so its record
        return (DELETE_GITOPS, DELETE_NAMESPACES, *INITIALIZATION, *waiting)
    if change.action is Action.UPDATE:
        needed = _needed(change, spec)
        chosen = tuple(step for step in INITIALIZATION if step.name in needed)
        return (*chosen, *waiting) if "setup_gitops" in needed else chosen
    return ()


def _needed(change: Change, spec: ProjectSpec) -> set[str]:
    """The steps that put the differences right. What was never initialized to its end is, from the start."""
    before: Mapping[str, Any] = change.before or {}
    if before.get("project", {}).get("status") != "active":
        return set(STEPS)
    needed = {"finalize"}
    for entry in change.diffs:
        needed |= _needed_by(entry, spec)
    return needed


def _needed_by(entry: FieldDiff, spec: ProjectSpec) -> set[str]:
    """The steps for one difference."""
    path = entry.path.split(".")
    field = path[1].partition("[")[0]
    if field == "leftovers":
        is_row = isinstance(entry.before, str) and entry.before.startswith(ENVIRONMENT_LEFT)
        return {"create_environments"} if is_row else {"setup_gitops"}
    if field == "repository":
        moved = {"create_repository", "push_template"} if path[2:] != ["branch"] or spec.template is not None else set()
        return moved | {"create_db_records"}
    return {
        "project": {"create_db_records"},
        "template": {"push_template"},
        "environments": {"create_environments"},
        "clusters": {"setup_gitops"},
        "flux": {"setup_gitops"},
    }.get(field, set())
