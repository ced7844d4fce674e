"""A kind whose every change is made by a child process: a note is a file in the folder of the kind's setting.

Its children take a tenth of a second, so that many of them run when their parent is killed at a random moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reconciler.errors import TransientError
from reconciler.kind import Context, Outputs, Step
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Resource, ResourceRef, State

DEADLINE = 60.0
_WRITE = 'sleep 0.05; printf %s "$1" > "$2.new"; sleep 0.05; mv "$2.new" "$2"'
_REMOVE = 'sleep 0.1; rm -f "$2"'


class Note:
    """A file that says something."""

    name = "Note"
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1
    schema: Mapping[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["text"],
        "properties": {"text": {"type": "string", "description": "What it says."}},
    }

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        return ()

    def target(self, resource: Resource) -> str:
        return "notes"

    def normalize(self, resource: Resource) -> State:
        return {"text": resource.spec["text"]}

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        now = context.now()
        return {one.ref: Observation(one.ref, _read(_path(context, one)), observed_at=now) for one in resources}

    def steps(self, change: Change) -> Sequence[Step]:
        if change.action is Action.DELETE:
            return [Step("remove", "Remove the note", lambda context: _child(context, _REMOVE))]
        return [
            Step("write", "Write the note", lambda context: _child(context, _WRITE), weight=3),
            Step("compare", "Read it again", _compare),
        ]


def _path(context: Context, resource: Resource) -> Path:
    return Path(context.settings["folder"]) / resource.ref.name


def _read(path: Path) -> State:
    return {"text": path.read_text()} if path.exists() else None


def _child(context: Context, script: str) -> Outputs:
    assert context.resource is not None
    path = _path(context, context.resource)
    ended = context.process.run(["sh", "-c", script, "sh", context.resource.spec["text"], str(path)], timeout=DEADLINE)
    if ended.returncode:
        raise TransientError("Failed", ended.last_lines())
    return {"seconds": ended.duration}


def _compare(context: Context) -> None:
    assert context.resource is not None
    if _read(_path(context, context.resource)) != {"text": context.resource.spec["text"]}:
        raise TransientError("NotThere", "it does not say what it should")


KIND = Note()
