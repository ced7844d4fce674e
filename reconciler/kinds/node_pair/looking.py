"""What a pair is like now: both nodes are asked at the same time. Reads only; called by `NodePairKind.observe`.

Both nodes have to answer, else nothing is known: a node that is away is never taken for one that differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from reconciler.errors import ReconcilerError, TerminalError, UnreachableError, WaitingError
from reconciler.kind import Context
from reconciler.kinds.node_pair.kind import CURRENT, NOT_DUE
from reconciler.kinds.node_pair.nodes.checking import serves, version_of
from reconciler.kinds.node_pair.nodes.configuration import Configuration
from reconciler.kinds.node_pair.nodes.locks import ConfigurationLock
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.rsync_control import RsyncControl, RsyncSeen
from reconciler.kinds.node_pair.rows import PairRows
from reconciler.kinds.node_pair.spec import ROLES, NodePairSpec, Role
from reconciler.kinds.node_pair.states import PairState
from reconciler.model.observation import Observation
from reconciler.model.resource import Resource

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NodeLook:
    """What one node is like. error: why nothing is known of it. rsync: None where there is none, or nobody could look.

    rsync_error: why. serving: None where nobody can tell. pending: how each new path of the configuration stands.
    """

    role: Role
    error: ReconcilerError | None = None
    version: str = ""
    serving: bool | None = None
    pending: Mapping[str, str] = field(default_factory=dict)
    locked: tuple[str, ...] = ()
    lock_run: str = ""
    rsync: RsyncSeen | None = None
    rsync_error: str = ""


def look_at(resource: Resource, context: Context) -> Observation:
    """Look at one pair."""
    spec = NodePairSpec.of(resource)
    rows = PairRows(context.records, spec.name, context.now)
    with ThreadPoolExecutor(len(ROLES), thread_name_prefix="pair") as pool:
        looks = dict(zip(ROLES, pool.map(lambda role: _look(spec, role, context), ROLES), strict=True))
    facts, now = _facts(spec, looks), context.now()
    failed = [look for look in looks.values() if look.error is not None]
    if failed:
        is_away = any(isinstance(look.error, UnreachableError | WaitingError) for look in failed)
        why = "; ".join(str(look.error) for look in failed)
        return Observation(resource.ref, unknown=why, unreachable=is_away, facts=facts, observed_at=now)
    if resource.lifecycle.state == "absent" and _is_let_go(looks, rows):
        return Observation(resource.ref, facts=facts, observed_at=now)
    state, waits_for = _state(spec, looks, rows), rows.state() is PairState.WAIT_MANUAL
    unhealthy = f"waits for a person: {rows.wait_reason()}" if waits_for else _fault(spec, looks, rows)
    return Observation(resource.ref, state, unhealthy=unhealthy, note=_note(looks), facts=facts, observed_at=now)


def _look(spec: NodePairSpec, role: Role, context: Context) -> NodeLook:
    node = Node(spec.nodes[role], context.ssh(spec.nodes[role].place), sleep=context.sleep)
    try:
        version = version_of(node, spec)
        serving = serves(node, spec) if spec.serving is not None else None
        pending: Mapping[str, str] = {}
        locked: tuple[str, ...] = ()
        lock_run = ""
        if spec.configuration is not None:
            pending = Configuration(node, spec.configuration, spec.name).pending(spec.configuration.new)
            lock = ConfigurationLock(node, spec.configuration, spec.name).look()
            locked, lock_run = lock.paths if lock.held else (), lock.run
        rsync, rsync_error = _tried(lambda: _rsync(node, spec))
    except ReconcilerError as error:
        return NodeLook(role, error)
    return NodeLook(role, None, version, serving, pending, locked, lock_run, rsync, rsync_error)


def _rsync(node: Node, spec: NodePairSpec) -> RsyncSeen | None:
    return RsyncControl(node, spec.rsync, spec.name).look() if spec.rsync is not None else None


def _tried(call: Callable[[], T | None]) -> tuple[T | None, str]:
    """What there is to say of rsync may be missing without the rest being unknown."""
    try:
        return call(), ""
    except TerminalError as error:
        return None, str(error)


def _state(spec: NodePairSpec, looks: Mapping[Role, NodeLook], rows: PairRows) -> dict[str, Any]:
    """In the shape of `NodePairKind.normalize`."""
    state: dict[str, Any] = {"versions": {role: look.version for role, look in looks.items()}}
    waits_for = rows.state() is PairState.WAIT_MANUAL
    if spec.configuration is not None:
        state["configuration"] = {
            path: {role: look.pending.get(path, CURRENT) for role, look in looks.items()}
            for path in spec.configuration.new
        }
        left = [f"{role}: {path}" for role, look in looks.items() for path in look.locked]
        state["locks"] = [] if waits_for else left
    if spec.rsync is not None:
        state["rsync"] = {"resume": "due" if not waits_for and _is_due(looks) else NOT_DUE}
    return state


def _is_due(looks: Mapping[Role, NodeLook]) -> bool:
    """Whether rsync is stopped, or held back by a pause of an upgrade, and no operator wants it so."""
    seen = [look.rsync for look in looks.values() if look.rsync is not None]
    if any(one.pause is not None and one.pause.reason == "MANUAL" for one in seen):
        return False
    master = looks["master"].rsync
    return any(one.pause is not None for one in seen) or (master is not None and master.status == "STOPPED")


def _is_let_go(looks: Mapping[Role, NodeLook], rows: PairRows) -> bool:
    """Whether nothing of ours is on the nodes, and no row says that we look after them."""
    is_free = all(not look.locked and (look.rsync is None or look.rsync.pause is None) for look in looks.values())
    return is_free and not rows.is_known()


def _fault(spec: NodePairSpec, looks: Mapping[Role, NodeLook], rows: PairRows) -> str:
    """What does not work though it is as desired."""
    if spec.serving is not None and rows.open_upgrade() is None:
        serving = [role for role, look in looks.items() if look.serving]
        if serving != ["master"]:
            return f"{' and '.join(serving) or 'no node'} {'say' if len(serving) > 1 else 'says'} that it serves"
    errors = [f"{role}: {look.rsync_error}" for role, look in looks.items() if look.rsync_error]
    return f"rsync could not be looked at: {'; '.join(errors)}" if errors else ""


def _note(looks: Mapping[Role, NodeLook]) -> str:
    paused = [
        f"rsync was paused by {look.rsync.pause.by} on the {role}"
        for role, look in looks.items()
        if look.rsync is not None and look.rsync.pause is not None and look.rsync.pause.reason == "MANUAL"
    ]
    return "; ".join(paused)


def _facts(spec: NodePairSpec, looks: Mapping[Role, NodeLook]) -> dict[str, Any]:
    """For the pair's own rows, and for people."""
    facts: dict[str, Any] = {
        "versions": {role: look.version for role, look in looks.items()},
        "serving": {role: look.serving for role, look in looks.items()},
        "locked": {role: list(look.locked) for role, look in looks.items()},
        "errors": {role: str(look.error) for role, look in looks.items() if look.error is not None},
    }
    if spec.rsync is not None:
        facts["rsync"] = {role: _rsync_facts(spec, look) for role, look in looks.items()}
    return facts


def _rsync_facts(spec: NodePairSpec, look: NodeLook) -> dict[str, Any]:
    seen = look.rsync
    pause = seen.pause if seen is not None else None
    return {
        "status": seen.status if seen is not None else "UNKNOWN",
        "address": spec.nodes[look.role].address,
        "paused": pause is not None,
        "reason": pause.reason if pause is not None else None,
        "pause_time": pause.at if pause is not None else None,
        "detail": seen.detail if seen is not None else look.rsync_error or str(look.error or ""),
    }
