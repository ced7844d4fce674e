"""A kind whose every answer can be garbage: `spec.how` says which. Installed through `plugins` by the attacks.

Its live system is a file `rogue-NAME` in the folder of its setting, so that a resource which behaves can be applied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reconciler.kind import Context, Step
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Resource, ResourceRef
from reconciler.model.secret import Secret

LEAK = "marker-of-a-rogue-7d7d"


class Opaque:
    """No plain data, and its text is a secret."""

    def __repr__(self) -> str:
        return LEAK


def circle() -> Any:
    """A list that holds itself."""
    made: list[Any] = []
    made.append(made)
    return made


def deep() -> Any:
    """Deeper than any recursion."""
    made: Any = "end"
    for _ in range(100_000):
        made = [made]
    return made


GARBAGE: Mapping[str, Callable[[], Any]] = {
    "none": lambda: None,
    "number": lambda: 7,
    "text": lambda: "text",
    "list": lambda: ["list"],
    "set": lambda: {"text": {1, 2}},
    "bytes": lambda: {"text": b"\xff"},
    "object": lambda: {"text": Opaque()},
    "nan": lambda: {"text": math.nan},
    "keys": lambda: {1: "one", None: "none", ("a",): 2},
    "circle": lambda: {"text": circle()},
    "deep": lambda: {"text": deep()},
    "secret": lambda: {"text": Secret(LEAK, "rogue")},
    "surrogate": lambda: {"text": "\ud800"},
    "nul": lambda: {"text": "a\0b"},
    "raise": lambda: 1 // 0,
}


class Rogue:
    """See the module."""

    name = "Rogue"
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1
    schema: Mapping[str, Any] = {
        "type": "object",
        "properties": {"how": {"type": "string", "description": "PLACE:GARBAGE, or nothing to behave."}},
    }

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        return () if _place(resource) != "references" else _garbage(resource)

    def target(self, resource: Resource) -> str:
        return "rogue" if _place(resource) != "target" else _garbage(resource)

    def normalize(self, resource: Resource) -> Any:
        return {"text": "good"} if _place(resource) != "normalize" else _garbage(resource)

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        found: dict[Any, Any] = {}
        for one in resources:
            path = _path(context, one)
            found[one.ref] = Observation(one.ref, {"text": "good"} if path.exists() else None)
            place = _place(one)
            if place == "observe":
                return _garbage(one)
            if place == "answer":
                found[one.ref] = _garbage(one)
            if place == "state":
                found[one.ref] = Observation(one.ref, _garbage(one))
            if place == "ref":
                found[one.ref] = Observation(ResourceRef("Rogue", "somebody-else"), {"text": "good"})
            if place == "foreign":
                del found[one.ref]
                found[ResourceRef("Entry", "healthy")] = Observation(ResourceRef("Entry", "healthy"), None)
            if place == "unknown":
                found[one.ref] = Observation(one.ref, unknown=_garbage(one))
            if place == "unhealthy":
                found[one.ref] = Observation(one.ref, {"text": "good"}, unhealthy=_garbage(one))
            if place == "pending":
                found[one.ref] = Observation(one.ref, pending=_garbage(one))
        return found

    def steps(self, change: Change) -> Sequence[Step]:
        place = _place(change.resource)
        if place == "steps":
            return _garbage(change.resource)
        if place == "name":
            return [Step(_garbage(change.resource), "A step", _write)]
        if place == "title":
            return [Step("write", _garbage(change.resource), _write)]
        if place == "twice":
            return [Step("write", "Write", _write), Step("write", "Write again", _write)]
        if place == "long":
            return [Step("w" * 10_000, "t" * 10_000, _write)]
        if place == "preview":
            return [Step("write", "Write", _write, preview=_garbage(change.resource))]
        if place == "weight":
            return [Step("write", "Write", _write, weight=_garbage(change.resource))]
        if place == "run":
            return [Step("write", "Write", _garbage(change.resource))]
        if change.action is Action.DELETE:
            return [Step("remove", "Remove", _remove)]
        return [Step("write", "Write", _write)]


def _place(resource: Resource) -> str:
    return str(resource.spec.get("how", "")).partition(":")[0]


def _garbage(resource: Resource) -> Any:
    return GARBAGE[str(resource.spec["how"]).partition(":")[2]]()


def _path(context: Context, resource: Resource) -> Path:
    return Path(context.settings["folder"]) / f"rogue-{resource.ref.name}"


def _write(context: Context) -> Any:
    assert context.resource is not None
    place = _place(context.resource)
    if place == "locals":
        _fail_with(LEAK)
    _path(context, context.resource).write_text("good")
    if place == "outputs":
        return _garbage(context.resource)
    if place == "log":
        context.log(_garbage(context.resource))
    if place == "progress":
        context.progress(_garbage(context.resource), "half")
    if place == "note":
        context.progress(50, _garbage(context.resource))
    if place == "alarm":
        context.alarm("Rogue", _garbage(context.resource))
    return None


def _fail_with(password: str) -> None:
    """A mistake while a secret is in a local variable, as with any library that is given one."""
    handed_on = {"password": password}
    raise ZeroDivisionError(len(handed_on))


def _remove(context: Context) -> None:
    assert context.resource is not None
    _path(context, context.resource).unlink(missing_ok=True)


KIND = Rogue()
