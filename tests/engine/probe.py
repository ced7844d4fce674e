"""A kind whose steps and looks a test writes itself. Its live system is a dict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from reconciler.engine.listener import Listener
from reconciler.kind import Context, Step
from reconciler.model.observation import Observation
from reconciler.model.plan import Action, Change, PlannedStep
from reconciler.model.resource import Resource, ResourceRef, State
from reconciler.model.result import Result, StepOutcome


class Probe:
    """script: the steps of every change that makes something. there: the live system, by name."""

    name = "Probe"
    schema: Mapping[str, Any] = {"type": "object"}
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1

    def __init__(self) -> None:
        self.there: dict[str, Any] = {}
        self.script: list[Step] = [Step("write", "Write it", self.write)]
        self.look: Callable[[Sequence[Resource], Context], Mapping[ResourceRef, Observation]] = self.see

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        return [ResourceRef("Probe", name) for name in resource.spec.get("needs", ())]

    def target(self, resource: Resource) -> str:
        return str(resource.spec.get("target", "probe"))

    def normalize(self, resource: Resource) -> State:
        return {"text": resource.spec.get("text", "hello")}

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        return self.look(resources, context)

    def steps(self, change: Change) -> Sequence[Step]:
        if change.action is Action.DELETE:
            return [Step("remove", "Remove it", self.remove)]
        return list(self.script)

    def see(self, resources: Iterable[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        return {one.ref: Observation(one.ref, self.there.get(one.ref.name)) for one in resources}

    def write(self, context: Context) -> None:
        assert context.change is not None
        self.there[context.change.ref.name] = dict(context.change.after)

    def remove(self, context: Context) -> None:
        assert context.change is not None
        self.there.pop(context.change.ref.name, None)


class Hearing(Listener):
    """Notes everything that it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def change_started(self, change: Change) -> None:
        self.heard.append(f"start {change.ref.name}")

    def step_started(self, change: Change, step: PlannedStep) -> None:
        self.heard.append(f"{step.name} …")

    def step_progress(self, change: Change, step: PlannedStep, percent: float, message: str) -> None:
        self.heard.append(f"{step.name} {percent:g} {message}".rstrip())

    def step_ended(self, change: Change, step: PlannedStep, outcome: StepOutcome, message: str) -> None:
        self.heard.append(f"{step.name} {outcome.value}")

    def change_ended(self, result: Result) -> None:
        self.heard.append(f"end {result.change.ref.name} {result.verdict}")


def document(name: str = "one", lifecycle: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """The document of a probe."""
    made = {"apiVersion": "reconciler.dev/v1", "kind": "Probe", "metadata": {"name": name}, "spec": spec}
    return {**made, "lifecycle": dict(lifecycle)} if lifecycle else made
