"""A kind as the engine sees it: whatever its code does, its answers are what the protocol promises, or an error.

A kind may come from outside. One that raises what it should not, or answers with something else than promised, must
cost its own resources only: never a pass over others, never the process. Every kind that is discovered is wrapped here,
what it offers beside being a kind in `offers`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

from reconciler.errors import ReconcilerError, TerminalError
from reconciler.kind import Context, Kind, Step
from reconciler.model.observation import Observation
from reconciler.model.plain import plain_fault
from reconciler.model.plan import Change, Preview
from reconciler.model.resource import Resource, ResourceRef, State
from reconciler.model.secret import Secret, SpecFile

log = logging.getLogger(__name__)
_MAX_NAME = 63
_MAX_TARGET = 255
_MAX_TITLE = 255

T = TypeVar("T")


class GuardedKind:
    """Asks a kind and checks what it says."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    @property
    def name(self) -> str:
        """See Kind."""
        return self._kind.name

    @property
    def schema(self) -> Mapping[str, Any]:
        """See Kind."""
        return self._kind.schema

    @property
    def recovery(self) -> Literal["replan", "continue"]:
        """See Kind."""
        return self._kind.recovery

    @property
    def steps_version(self) -> int:
        """See Kind."""
        return self._kind.steps_version

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        """See Kind. Raises TerminalError when it gives no references."""
        found = self._ask("references", resource.ref, lambda: tuple(self._kind.references(resource)))
        if not all(isinstance(one, ResourceRef) for one in found):
            raise self._fault("references", resource.ref, "something in it is no reference")
        return found

    def target(self, resource: Resource) -> str:
        """See Kind. Never raises: what cannot say its target is one by itself, and `observe` says what is wrong."""
        try:
            return self._target(resource)
        except ReconcilerError:
            return f"{self.name}/{resource.ref.name}"

    def normalize(self, resource: Resource) -> State:
        """See Kind. Raises TerminalError when it is no plain data, secrets and files apart."""
        state = self._ask("normalize", resource.ref, lambda: self._kind.normalize(resource))
        fault = "there is nothing" if state is None else plain_fault(state, (Secret, SpecFile))
        if fault:
            raise self._fault("normalize", resource.ref, fault)
        return state

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        """See Kind. An answer that is none is unknown, with the reason. What `observe` raises is passed on."""
        lost = {one.ref: why for one in resources if (why := self._target_fault(one))}
        asked = [one for one in resources if one.ref not in lost]
        try:
            answers = self._kind.observe(asked, context) if asked else {}
        except SystemExit as error:
            raise TerminalError("KindFailed", f"kind {self.name} wanted to end the process in observe") from error
        if not isinstance(answers, Mapping):
            raise TerminalError("KindFailed", f"kind {self.name}: observe gave a {type(answers).__name__}, no mapping")
        seen = {one.ref: self._seen(one.ref, answers[one.ref]) for one in asked if one.ref in answers}
        return seen | {ref: Observation(ref, unknown=why) for ref, why in lost.items()}

    def steps(self, change: Change) -> Sequence[Step]:
        """See Kind. Raises TerminalError when they are no steps."""
        found = self._ask("steps", change.ref, lambda: tuple(self._kind.steps(change)))
        fault = next((fault for step in found if (fault := _step_fault(step))), "")
        if not fault and len({step.name for step in found}) < len(found):
            fault = "two of them have the same name"
        if fault:
            raise self._fault("steps", change.ref, fault)
        return found

    def _target(self, resource: Resource) -> str:
        target = self._ask("target", resource.ref, lambda: self._kind.target(resource))
        if not isinstance(target, str) or not 0 < len(target) <= _MAX_TARGET or not target.isprintable():
            raise self._fault("target", resource.ref, f"it is no text of 1 to {_MAX_TARGET} characters")
        return target

    def _target_fault(self, resource: Resource) -> str:
        try:
            self._target(resource)
        except ReconcilerError as error:
            return error.message
        return ""

    def _seen(self, ref: ResourceRef, answer: Any) -> Observation:
        fault = _observation_fault(ref, answer)
        if not fault:
            assert isinstance(answer, Observation)
            return answer
        return Observation(ref, unknown=f"kind {self.name}: what observe says of it is of no use: {fault}")

    def _ask(self, what: str, ref: ResourceRef, call: Callable[[], T]) -> T:
        """The kind's answer. Whatever it raises that is not ours becomes TerminalError."""
        try:
            return call()
        except ReconcilerError:
            raise
        except (Exception, SystemExit) as error:
            log.debug("%s: %s failed", ref, what, exc_info=True)
            raise self._fault(what, ref, f"{type(error).__name__}: {error}") from error

    def _fault(self, what: str, ref: ResourceRef, why: str) -> TerminalError:
        return TerminalError("KindFailed", f"kind {self.name}: {what} of {ref} is of no use: {why}")


def _observation_fault(ref: ResourceRef, answer: Any) -> str:
    """What is wrong with an observation; "" for nothing."""
    if not isinstance(answer, Observation):
        return f"it is a {type(answer).__name__}"
    reasons: list[Any] = [answer.unknown, answer.unhealthy, answer.note]
    if answer.ref != ref:
        return "it speaks of another resource"
    if not all(isinstance(reason, str) for reason in reasons) or plain_fault(reasons):
        return "a reason is no text"
    pending: Any = answer.pending
    if not isinstance(pending, ResourceRef | None):
        return "what it waits for is no reference"
    if fault := plain_fault(answer.facts):
        return f"of its facts, {fault}"
    fault = plain_fault(answer.state)
    return f"of its state, {fault}" if fault else ""


def _step_fault(step: Any) -> str:
    """What is wrong with a step; "" for nothing."""
    if not isinstance(step, Step):
        return f"one is a {type(step).__name__}"
    if not isinstance(step.name, str) or not 0 < len(step.name) <= _MAX_NAME or not step.name.isprintable():
        return f"a name is no text of 1 to {_MAX_NAME} characters"
    if not isinstance(step.title, str) or len(step.title) > _MAX_TITLE or not step.title.isprintable():
        return f"a title is no text of at most {_MAX_TITLE} characters"
    if not isinstance(step.command, str) or not step.command.isprintable():
        return "a command is no text on one line"
    if not isinstance(step.weight, int) or not 0 <= step.weight <= 1_000_000:
        return "a weight is no number from 0 to 1,000,000"
    if step.preview not in get_args(Preview):
        return "a preview is none of " + ", ".join(get_args(Preview))
    return "" if callable(step.run) else "a step cannot be run"
