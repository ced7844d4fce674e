"""A plan as JSON: what `plan -o json` prints, a plan file holds, a run records. Its schema is `plan.schema.json`.

A plan file is never input for deciding: applying it plans again from the same specs and refuses unless every change
that would run, and every direct dependency of one, has the fingerprint that the file has.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.errors import StalePlanError, UsageError
from reconciler.model.digest import digest
from reconciler.model.plan import Change, Plan

FORMAT = "reconciler.dev/plan/v1"


def to_json(plan: Plan, source: str = "") -> dict[str, Any]:
    """The plan as one document. source: the spec folder that it was made from, absolute."""
    listed = [change for change in plan.changes if change.is_effective or change.obstacle or change.diffs]
    return {
        "format": FORMAT,
        "summary": plan.summary(),
        "source": source,
        "revision": plan.revision,
        "createdAt": plan.created_at,
        "options": dict(plan.options),
        "changes": [
            _change(change) for change in plan.changes if change.is_effective or change.obstacle or change.diffs
        ],
        "dependencies": _dependencies(plan),
        "unchanged": len(plan.changes) - len(listed),
    }


def write_file(plan: Plan, path: Path, source: str) -> None:
    """Write a plan file, readable by its owner only, whole or not at all."""
    document = to_json(plan, source)
    document["digest"] = digest(document)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(document, stream, indent=2)
            stream.write("\n")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError("CannotWrite", f"{path}: {error.strerror}") from error


def read_file(path: Path) -> dict[str, Any]:
    """A plan file. Raises UsageError when it is none, or was edited."""
    try:
        document = json.loads(path.read_text())
        stated = document.pop("digest")
        known = document["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError("NotAPlan", f"{path} is not a plan file") from error
    if not known or stated != digest(document):
        raise UsageError("NotAPlan", f"{path} is not a plan file of this version, or it was edited")
    return {**document, "digest": stated}


def restrict(plan: Plan, document: Mapping[str, Any]) -> Plan:
    """Just the changes of a plan file, out of a plan made now. Raises StalePlanError naming what has moved."""
    now = {str(change.ref): change for change in plan.changes}
    wanted = {entry["ref"]: entry["fingerprint"] for entry in document["changes"] if entry["effective"]}
    moved = [ref for ref, fingerprint in wanted.items() if ref not in now or now[ref].fingerprint != fingerprint]
    moved += [ref for ref in wanted if ref in now and not now[ref].is_effective and ref not in moved]
    current = _dependencies(plan)
    moved += [ref for ref, seen in document["dependencies"].items() if current.get(ref) != seen]
    if moved:
        names = ", ".join(sorted(set(moved))[:5])
        raise StalePlanError("StalePlan", f"the plan is stale: {names} moved since it was made; plan again")
    return replace(plan, changes=tuple(now[ref] for ref in wanted))


def _dependencies(plan: Plan) -> dict[str, str]:
    """Fingerprints of what the effective changes depend on directly."""
    needed = {need for change in plan.effective for need in change.requires}
    return {str(change.ref): change.fingerprint for change in plan.changes if change.ref in needed}


def _change(change: Change) -> dict[str, Any]:
    obstacle = change.obstacle
    return {
        "ref": str(change.ref),
        "action": change.action.value,
        "effective": change.is_effective,
        "why": change.why,
        "target": change.target,
        "place": str(change.resource.source),
        "generation": change.resource.generation,
        "conditional": change.conditional,
        "orphan": change.orphan,
        "diffs": [
            {"path": entry.path, "before": entry.before, "after": entry.after, "secret": entry.secret}
            for entry in change.diffs
        ],
        "steps": [
            {"name": step.name, "title": step.title, "weight": step.weight, "preview": step.preview}
            | ({"command": step.command} if step.command else {})
            for step in change.steps
        ],
        "obstacle": {"kind": obstacle.kind, "reason": obstacle.reason, "message": obstacle.message}
        if obstacle
        else None,
        "requires": [str(need) for need in change.requires],
        "follows": [str(one) for one in change.follows],
        "fingerprint": change.fingerprint,
    }
