"""A badly written kind from outside the tree, to show what the daemon survives. Installed through `plugins`.

Each resource is the file `odd-NAME` in the folder of the kind's setting. `breaks` names the place where its code raises
something that no kind should raise; `seconds` is how long its first step takes, deaf to everything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reconciler.kind import Context, Step
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Resource, ResourceRef, State


class Odd:
    """A file that says one text."""

    name = "Odd"
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1
    schema: Mapping[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["text"],
        "properties": {
            "text": {"type": "string", "description": "What the file says."},
            "seconds": {"type": "number", "description": "How long its first step takes."},
            "lingers": {"type": "number", "description": "How long a look takes after it has seen what is there."},
            "breaks": {
                "type": "string",
                "description": "Where it breaks, or how it is odd: restless never says the same.",
            },
        },
    }

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        _break(resource, "references")
        return ()

    def target(self, resource: Resource) -> str:
        _break(resource, "target")
        return f"odd/{resource.ref.name}"

    def normalize(self, resource: Resource) -> State:
        _break(resource, "normalize")
        return {"text": resource.spec["text"]}

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        for one in resources:
            _break(one, "observe")
            if one.spec.get("breaks") == "answer":
                return None  # type: ignore[return-value]  # the very mistake
        seen = {one.ref: Observation(one.ref, _read(context, one), observed_at=context.now()) for one in resources}
        time.sleep(max(float(one.spec.get("lingers", 0)) for one in resources))
        return seen

    def steps(self, change: Change) -> Sequence[Step]:
        _break(change.resource, "steps")
        if change.action is Action.DELETE:
            return [Step("remove", "Remove the file", _remove)]
        return [
            Step("first", "Take its time", _first),
            Step("second", "Write the file", _second),
            Step("third", "Nothing more", _third),
        ]


def _break(resource: Resource, where: str) -> None:
    breaks = resource.spec.get("breaks")
    if breaks == where:
        raise ZeroDivisionError(f"a mistake in {where}")
    if breaks == f"{where}-exit":
        sys.exit(f"who calls exit in {where}?")


def _file(context: Context, resource: Resource) -> Path:
    return Path(context.settings["folder"]) / f"odd-{resource.ref.name}"


def _read(context: Context, resource: Resource) -> State:
    if resource.spec.get("breaks") == "restless":
        return {"text": f"it is {context.now()}"}
    path = _file(context, resource)
    return {"text": path.read_text()} if path.exists() else None


def _first(context: Context) -> None:
    assert context.resource is not None
    _break(context.resource, "run")
    time.sleep(float(context.resource.spec.get("seconds", 0)))


def _second(context: Context) -> None:
    assert context.resource is not None
    _file(context, context.resource).write_text(context.resource.spec["text"])


def _third(context: Context) -> None:
    context.log("done\n")


def _remove(context: Context) -> None:
    assert context.resource is not None
    _file(context, context.resource).unlink(missing_ok=True)


KIND = Odd()
