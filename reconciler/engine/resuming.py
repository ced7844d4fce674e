"""Changes that are continued after the process that made them died: kept as data, and made again from it.

For kinds with `recovery = "continue"`. What is kept holds no secret: the resource is made again from its stored form
and from the secrets and files that its newest document gives. Called by `engine.executor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.errors import TerminalError
from reconciler.model.digest import stored_form
from reconciler.model.plan import Action, Change, FieldDiff, PlannedStep
from reconciler.model.resource import Lifecycle, Resource, ResourceRef, Source
from reconciler.model.secret import Secret, SpecFile


def planned_form(change: Change, key: bytes) -> dict[str, Any]:
    """A change as JSON data, from which `rebuilt` makes it again. key: the home's digest key."""
    resource = change.resource
    return {
        "ref": str(change.ref),
        "action": change.action.value,
        "why": change.why,
        "diffs": [[entry.path, entry.before, entry.after, entry.secret] for entry in change.diffs],
        "steps": [[step.name, step.title, step.weight, step.preview, step.command] for step in change.steps],
        "before": change.before,
        "after": change.after,
        "orphan": change.orphan,
        "target": change.target,
        "fingerprint": change.fingerprint,
        "resource": {
            "spec": stored_form(resource.spec, key),
            "labels": dict(resource.labels),
            "lifecycle": resource.lifecycle.to_document(),
            "source": [resource.source.owner, resource.source.line, resource.source.column, resource.source.revision],
            "generation": resource.generation,
            "digest": resource.digest,
        },
    }


def rebuilt(planned: Mapping[str, Any], newest: Resource | None, key: bytes) -> Change:
    """The change that `planned_form` kept. newest: the resource as it is wanted now, None when nobody wants it.

    Raises TerminalError("InputsGone") for a secret that is no longer named, or a file that is not as it was.
    """
    ref = ResourceRef.parse(planned["ref"])
    kept = planned["resource"]
    spec = _filled(kept["spec"], newest.spec if newest is not None else None, f"{ref}: spec", key)
    resource = Resource(
        ref,
        spec,
        kept["labels"],
        Lifecycle.from_document(kept["lifecycle"]),
        Source(*kept["source"]),
        kept["generation"],
        kept["digest"],
    )
    return Change(
        ref,
        Action(planned["action"]),
        resource,
        planned["why"],
        diffs=tuple(FieldDiff(*entry) for entry in planned["diffs"]),
        steps=tuple(PlannedStep(*step) for step in planned["steps"]),
        before=planned["before"],
        after=planned["after"],
        orphan=planned["orphan"],
        fingerprint=planned["fingerprint"],
        target=planned["target"],
    )


def _filled(kept: Any, newest: Any, where: str, key: bytes) -> Any:
    """The stored form with its secrets and files put back, each from the same place of the newest spec.

    A secret may have been rotated: the new one is what works now. A file has to be the one that was planned with.
    """
    if isinstance(kept, Mapping):
        if kept.keys() == {"secret"} or (kept.keys() == {"file", "digest"} and not isinstance(newest, Mapping)):
            return _put_back(kept, newest, where, key)
        named = newest if isinstance(newest, Mapping) else {}
        return {name: _filled(value, named.get(name), f"{where}.{name}", key) for name, value in kept.items()}
    if isinstance(kept, list):
        listed = newest if isinstance(newest, list | tuple) and len(newest) == len(kept) else [None] * len(kept)
        return [_filled(value, listed[number], f"{where}[{number}]", key) for number, value in enumerate(kept)]
    return kept


def _put_back(kept: Mapping[str, Any], newest: Any, where: str, key: bytes) -> Any:
    if isinstance(newest, Secret) and "secret" in kept:
        return newest
    if isinstance(newest, SpecFile) and stored_form(newest, key) == dict(kept):
        return newest
    what = "the secret is no longer named" if "secret" in kept else f"{kept['file']} is not what it was"
    raise TerminalError("InputsGone", f"{where}: {what}, so the interrupted change cannot be continued")
