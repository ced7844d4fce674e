"""The live system is one JSON file, named by the kind's setting `file`; changed under a lock, replaced atomically.

Every call is appended to `<file>.calls`, so that tests can say what was done how often, also after a kill -9.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reconciler.errors import TerminalError, TransientError, UnreachableError, WaitingError
from reconciler.kind import Context, Outputs, Step
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Resource, ResourceRef, State

_COMPARED = ("text", "color", "size", "password")


class Entry:
    """An entry in a file."""

    name = "Entry"
    schema: Mapping[str, Any] = json.loads((Path(__file__).parent / "schema.json").read_text())
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        parent = resource.spec.get("parent")
        return [ResourceRef("Entry", parent)] if parent else []

    def target(self, resource: Resource) -> str:
        return str(resource.spec.get("target", "file"))

    def normalize(self, resource: Resource) -> State:
        return {name: resource.spec[name] for name in _COMPARED if name in resource.spec}

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        file = Path(context.settings["file"])
        behave = {str(resource.spec.get("behave", "ok")) for resource in resources}
        if "observe-hang" in behave:
            time.sleep(float(context.settings.get("hang", 3600)))
        if "observe-fail" in behave:
            raise RuntimeError("the look failed")
        if "observe-unreachable" in behave:
            raise UnreachableError("Unreachable", "nobody answers")
        there = read(file)
        now = context.now()
        return {one.ref: Observation(one.ref, there.get(one.ref.name), observed_at=now) for one in resources}

    def steps(self, change: Change) -> Sequence[Step]:
        if change.action is Action.DELETE:
            return [Step("remove", "Remove the entry", _remove), Step("forget", "Forget its number", _forget)]
        steps = [
            Step("number", "Allocate a number", _number, weight=1),
            Step("write", "Write the entry", _write, weight=3),
            Step("stamp", "Count the write", _stamp, weight=1),
        ]
        if change.action is Action.REPLACE:
            steps.insert(0, Step("remove", "Remove the entry", _remove))
        return steps


def _number(context: Context) -> Outputs:
    assert context.resource is not None
    name = context.resource.ref.name
    _called(context, "number")
    with context.records.transaction() as records:
        row = records.get("entries", name=name)
        number = row["number"] if row else records.allocate("entries", "number", range(1, 100_000))
        records.put("entries", {"name": name}, {"number": number, "writes": row["writes"] if row else 0})
    return {"number": number}


def _write(context: Context) -> Outputs:
    assert context.resource is not None
    assert context.change is not None
    behave = context.resource.spec.get("behave", "ok")
    _called(context, "write")
    context.log(f"writing {context.resource.ref.name}\n")
    seconds = float(context.resource.spec.get("seconds", 0))
    if behave == "hang":
        context.process.run(["sleep", "3600"], timeout=seconds or 3600.0)
    if seconds:
        for tenth in range(10):
            context.progress(tenth * 10.0)
            context.sleep(seconds / 10)
    _misbehave(behave)
    after = dict(context.change.after)
    _change(Path(context.settings["file"]), lambda there: there.__setitem__(context.resource.ref.name, after))
    return {"number": context.outputs["number"]["number"]}


def _misbehave(behave: str) -> None:
    if behave == "fail":
        raise TransientError("Failed", "the write failed")
    if behave == "terminal":
        raise TerminalError("Impossible", "this can never work")
    if behave == "wait":
        raise WaitingError("NotYet", "not yet", retry_after=0.2)
    if behave == "unexpected":
        raise ZeroDivisionError("a mistake of the kind")


def _stamp(context: Context) -> None:
    assert context.resource is not None
    name = context.resource.ref.name
    _called(context, "stamp")
    with context.records.transaction() as records:
        row = records.get("entries", name=name)
        assert row is not None
        records.put("entries", {"name": name}, {"number": row["number"], "writes": row["writes"] + 1})


def _remove(context: Context) -> None:
    assert context.resource is not None
    name = context.resource.ref.name
    _called(context, "remove")
    _misbehave(context.resource.spec.get("behave", "ok"))
    _change(Path(context.settings["file"]), lambda there: there.pop(name, None))


def _forget(context: Context) -> None:
    assert context.resource is not None
    context.records.delete("entries", name=context.resource.ref.name)


def _called(context: Context, what: str) -> None:
    assert context.resource is not None
    line = f"{what} {context.resource.ref.name} {os.getpid()}\n"
    with Path(f"{context.settings['file']}.calls").open("a") as stream:
        stream.write(line)


def read(file: Path) -> dict[str, Any]:
    """Everything in the live system."""
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        return {}


def _change(file: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    with Path(f"{file}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = read(file)
        edit(there)
        temporary = Path(f"{file}.{os.getpid()}.new")
        temporary.write_text(json.dumps(there))
        temporary.replace(file)
