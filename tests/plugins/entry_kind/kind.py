"""The live system is one JSON file, named by the kind's setting `file`; changed under a lock, replaced atomically.

Every call is appended to `<file>.calls`, so that tests can say what was done how often, also after a kill -9. The
environment variable ENTRY_STOP names a moment (`write:before`, `write:after` …) at which the process stops itself, so
that a test can kill it or let it sleep exactly there.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reconciler.errors import TerminalError, TransientError, UnreachableError, WaitingError
from reconciler.kind import Context, Outputs, Step
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change
from reconciler.model.resource import Resource, ResourceRef, State

_COMPARED = ("text", "color", "size", "tags", "password")
SHOUTED = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\x9b2J"
"""What a hostile tool may print: a title, a colour, and a control sequence in its one-byte form."""


class Entry:
    """An entry in a file."""

    name = "Entry"
    schema: Mapping[str, Any] = json.loads((Path(__file__).parent / "schema.json").read_text())
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        return [ResourceRef("Entry", resource.spec[name]) for name in ("parent", "inside") if resource.spec.get(name)]

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
        return {one.ref: _seen(one, there, context.now()) for one in resources}

    def steps(self, change: Change) -> Sequence[Step]:
        if change.action is Action.DELETE:
            return [Step("remove", "Remove the entry", _remove), Step("forget", "Forget its number", _forget)]
        undo = bool(change.resource.spec.get("undo"))
        steps = [
            Step("number", "Allocate a number", _number, weight=1, undo=_unnumber if undo else None),
            Step("write", "Write the entry", _write, weight=3),
            Step("stamp", "Count the write", _stamp, weight=1, safe_point=False),
        ]
        if change.action is Action.REPLACE:
            steps.insert(0, Step("remove", "Remove the entry", _remove))
        return steps


def _seen(one: Resource, there: Mapping[str, Any], now: float) -> Observation:
    inside = one.spec.get("inside")
    if inside and inside not in there:
        return Observation(one.ref, pending=ResourceRef("Entry", inside), observed_at=now)
    sick = "it is sick" if one.spec.get("behave") == "sick" and one.ref.name in there else ""
    return Observation(one.ref, there.get(one.ref.name), unhealthy=sick, observed_at=now)


def _number(context: Context) -> Outputs:
    name = _begin(context, "number")
    with context.records.transaction() as records:
        row = records.get("entries", name=name)
        number = row["number"] if row else records.allocate("entries", "number", range(1, 100_000))
        records.put("entries", {"name": name}, {"number": number, "writes": row["writes"] if row else 0})
    stop_at("number:after")
    return {"number": number}


def _unnumber(context: Context) -> None:
    context.records.delete("entries", name=_begin(context, "unnumber"))


def _write(context: Context) -> Outputs:
    assert context.resource is not None
    assert context.change is not None
    name = _begin(context, "write")
    behave = str(context.resource.spec.get("behave", "ok"))
    context.log(f"writing {name}\n{SHOUTED if behave == 'shout' else ''}")
    seconds = float(context.resource.spec.get("seconds", 0))
    if behave == "hang":
        context.process.run(["sleep", "3600"], timeout=seconds or 3600.0)
    elif seconds:
        for tenth in range(10):
            context.progress(tenth * 10.0, "half way" if tenth >= 5 else "")
            context.sleep(seconds / 10)
    _misbehave(behave)
    after = dict(context.change.after)
    if behave == "partial":
        after["text"] = "something else"
    _change(Path(context.settings["file"]), lambda there: there.__setitem__(name, after))
    stop_at("write:after")
    return {"number": context.outputs["number"]["number"]}


def _misbehave(behave: str) -> None:
    if behave == "fail":
        raise TransientError("Failed", "the write failed")
    if behave == "shout":
        raise TransientError("Failed", f"the write failed: {SHOUTED}")
    if behave == "terminal":
        raise TerminalError("Impossible", "this can never work")
    if behave == "wait":
        raise WaitingError("NotYet", "not yet", retry_after=0.2)
    if behave == "unexpected":
        raise ZeroDivisionError("a mistake of the kind")


def _stamp(context: Context) -> None:
    name = _begin(context, "stamp")
    with context.records.transaction() as records:
        row = records.get("entries", name=name)
        assert row is not None
        records.put("entries", {"name": name}, {"number": row["number"], "writes": row["writes"] + 1})
    stop_at("stamp:after")


def _remove(context: Context) -> None:
    assert context.resource is not None
    name = _begin(context, "remove")
    _misbehave(str(context.resource.spec.get("behave", "ok")))
    _change(Path(context.settings["file"]), lambda there: there.pop(name, None))
    stop_at("remove:after")


def _forget(context: Context) -> None:
    context.records.delete("entries", name=_begin(context, "forget"))


def _begin(context: Context, what: str) -> str:
    """Note the call, and stop before it does anything if a test wants that. Returns the entry's name."""
    assert context.resource is not None
    name = context.resource.ref.name
    with Path(f"{context.settings['file']}.calls").open("a") as stream:
        stream.write(f"{what} {name} {os.getpid()}\n")
    stop_at(f"{what}:before")
    return name


def stop_at(moment: str) -> None:
    """Stop the whole process if ENTRY_STOP names this moment; whoever watches it kills or continues it."""
    if os.environ.get("ENTRY_STOP") == moment:
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # to this thread: it does not go on for a moment


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
        temporary = Path(f"{file}.{os.getpid()}.{threading.get_ident()}.new")
        temporary.write_text(json.dumps(there))
        temporary.replace(file)
