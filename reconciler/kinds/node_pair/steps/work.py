"""What all steps of a pair share: its spec, its nodes and rows, and the row of the step itself. Called by every step.

A node that is away leaves a step open (`WaitingError`), and it is begun again. What a step returns is read by the later
ones. Once there is no way back a step fails gently: what went wrong is then a word of its outputs for `record` to end
the upgrade with: `partial` (upgraded, but something is left to do) or `wait` (nothing goes on before a person decides).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from reconciler.errors import DeadlineError, LeaseLostError, ReconcilerError, TerminalError, WaitingError
from reconciler.kind import Context, Outputs
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.rsync_control import RsyncControl
from reconciler.kinds.node_pair.rows import PairRows, Participant
from reconciler.kinds.node_pair.spec import ROLES, Command, NodePairSpec, Role, RsyncSpec
from reconciler.kinds.node_pair.states import Event, PairState
from reconciler.transports.ssh_detached import TIMED_OUT

log = logging.getLogger(__name__)
STOPS_US = (WaitingError, LeaseLostError)
"""What is nobody's failure: the step stays open, or somebody else goes on with it."""
_LAST_LINES = 5

T = TypeVar("T")
StepFunction = Callable[[Context], Outputs | None]


class SkippedError(Exception):
    """There is nothing for this step to do; its text says why."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a step works with."""

    context: Context
    spec: NodePairSpec
    nodes: Mapping[Role, Node]
    rows: PairRows

    @classmethod
    def of(cls, context: Context) -> Work:
        """For one step. No node is connected to yet."""
        assert context.resource is not None
        spec = NodePairSpec.of(context.resource)
        nodes = {role: _node(context, spec, role) for role in ROLES}
        return cls(context, spec, nodes, PairRows(context.records, spec.name, context.now))

    @property
    def run(self) -> str:
        """The identity of the upgrade, by which its commands are known on the nodes; "" where there is no upgrade."""
        return str(self.earlier("check_nodes").get("run", ""))

    @property
    def upgrade_id(self) -> int | None:
        """Its row."""
        found = self.earlier("check_nodes").get("upgrade_id")
        return int(found) if found is not None else None

    @property
    def held(self) -> str:
        """Why nothing more may be written, resumed or synchronized; "" when it may."""
        return str(self.earlier("confirm_paused").get("held", ""))

    @property
    def rsync(self) -> RsyncSpec:
        """The rsync between the nodes; there is one, else there would be no such step."""
        assert self.spec.rsync is not None
        return self.spec.rsync

    def earlier(self, step: str) -> Outputs:
        """What an earlier step of this change returned; nothing if it did not run."""
        return self.context.outputs.get(step, {})

    def version_before(self, role: Role) -> str:
        """What a node ran when the upgrade began."""
        return str(self.earlier("check_nodes").get("versions", {}).get(role, ""))

    def control(self, role: Role) -> RsyncControl:
        """The rsync of a node."""
        return RsyncControl(self.nodes[role], self.rsync, self.spec.name)

    def tell(self, text: str) -> None:
        """A line for the step's log and for the program's."""
        self.context.log(f"{text}\n")
        log.info("NodePair/%s: %s", self.spec.name, text)

    def alarm(self, reason: str, message: str) -> None:
        """Something that people must see."""
        self.tell(message)
        self.context.alarm(reason, message)

    def went(self, event: Event, why: str, *sources: PairState) -> None:
        """Move the pair on, if it is in one of these states: a step that is run again has moved it already."""
        if self.rows.state() in sources:
            self.rows.move(event, why, self.upgrade_id)

    def said(self, sender: Participant, receiver: Participant, text: str) -> None:
        """A message of the upgrade's event log, once."""
        if self.upgrade_id is None:
            return
        key = {"upgrade_id": self.upgrade_id, "sender": sender, "receiver": receiver, "text": text}
        if not self.context.records.list("upgrade_messages", **key):
            self.rows.said(self.upgrade_id, sender, receiver, text)

    def on_both(self, call: Callable[[Role], T], roles: Sequence[Role] = ROLES) -> dict[Role, T]:
        """Call for both nodes at the same time, both to their end. Of two errors one counts.

        A lost lease counts most, then a node that is away, since the other error is still there when it is back.
        """
        with ThreadPoolExecutor(len(roles), thread_name_prefix="pair") as pool:
            asked: dict[Role, Future[T]] = {role: pool.submit(call, role) for role in roles}
        errors = [error for one in asked.values() if (error := one.exception()) is not None]
        if errors:
            raise min(errors, key=_weight)
        return {role: one.result() for role, one in asked.items()}

    def carry_out(self, role: Role, name: str, command: Command, env: Mapping[str, str]) -> None:
        """Run a command of the spec on a node, at most once in this upgrade under this name. Raises TerminalError."""
        node, whole = self.nodes[role], f"{self.run}-{name}-{role}"
        where = f"{role} ({node.address}): {command.name}"
        self.tell(f"{role}: {command}")
        try:
            found = node.once(whole, command, env)
        except DeadlineError as error:
            raise TerminalError("CommandTimedOut", f"{where} did not end within {command.timeout:g} s") from error
        if found.status == 0:
            return
        said = found.said.strip() or (
            "" if command.repeatable else node.patiently(lambda: node.detached.ask(whole)).said
        )
        last = "\n".join(said.strip().splitlines()[-_LAST_LINES:])
        if found.status == TIMED_OUT:
            raise TerminalError(
                "CommandTimedOut", f"{where} did not end within {command.timeout:g} s; said last: {last}"
            )
        raise TerminalError("CommandFailed", f"{where} ended with {found.status}: {last or 'it said nothing'}")

    def was_begun(self, step: str) -> bool:
        """Whether a step of this upgrade was begun, as its row says, which is written before anything is done."""
        if step in self.context.outputs:
            return True
        row = self.context.records.get("upgrade_progress", upgrade_id=self.upgrade_id, step=step)
        return row is not None and row["status"] != "PENDING"


def perform(name: str, context: Context, body: Callable[[Work], Outputs | None], *, gently: bool = False) -> Outputs:
    """Run the body of a step, with its row written before and after.

    gently: what fails in an upgrade is returned as `wait`, for `record` to end it with.
    """
    from reconciler.kinds.node_pair.steps.watching import watching  # noqa: PLC0415 - it is made of `Work`

    work = Work.of(context)
    if work.upgrade_id is not None:
        work.rows.step_began(work.upgrade_id, name)
    try:
        with watching(work, name):
            outputs = body(work) or {}
    except STOPS_US:
        raise
    except SkippedError as skipped:
        work.tell(f"nothing to do: {skipped}")
        _end(work, name, "SKIPPED", str(skipped))
        return {"skipped": str(skipped)}
    except Exception as error:
        message = error.message if isinstance(error, ReconcilerError) else f"{type(error).__name__}: {error}"
        _end(work, name, "FAILED", message)
        if gently and work.upgrade_id is not None and isinstance(error, ReconcilerError):
            work.alarm(error.reason, message)
            return {"wait": message}
        raise
    wrong = next((str(outputs[word]) for word in ("wait", "partial", "failed") if outputs.get(word)), "")
    _end(work, name, "FAILED" if wrong else "DONE", wrong)
    return outputs


def recorded(name: str, *, gently: bool = False) -> Callable[[Callable[[Work], Outputs | None]], StepFunction]:
    """A step of this name; see `perform`."""

    def decorate(body: Callable[[Work], Outputs | None]) -> StepFunction:
        @functools.wraps(body)
        def run(context: Context) -> Outputs:
            return perform(name, context, body, gently=gently)

        return run

    return decorate


def _end(work: Work, name: str, status: Any, message: str) -> None:
    if work.upgrade_id is not None:
        work.rows.step_ended(work.upgrade_id, name, status, message)


def _node(context: Context, spec: NodePairSpec, role: Role) -> Node:
    def say(text: str) -> None:
        context.log("".join(f"{role}: {line}" for line in text.splitlines(keepends=True)))

    return Node(spec.nodes[role], context.ssh(spec.nodes[role].place), spec.reconnect, context.sleep, say)


def _weight(error: BaseException) -> int:
    if isinstance(error, LeaseLostError):
        return 0
    return 1 if isinstance(error, WaitingError) else 2
