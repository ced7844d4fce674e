"""The states that a pair goes through from one upgrade to the next. Pure; `rows` lets nothing else happen to a pair.

The document drew twelve edges. It has none for an upgrade that fails, for an rsync that does not start again and for
the way out once a person has put things right: each that was added says why.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from reconciler.errors import TerminalError


class PairState(StrEnum):
    """Where a pair stands."""

    RSYNC_RUNNING = "RSYNC_RUNNING"
    UPGRADE_PAUSED = "UPGRADE_PAUSED"
    PAUSE_FAILED = "PAUSE_FAILED"
    UPGRADING = "UPGRADING"
    UPGRADED = "UPGRADED"
    SYNCING = "SYNCING"
    VERIFYING = "VERIFYING"
    VERIFY_OK = "VERIFY_OK"
    VERIFY_FAILED = "VERIFY_FAILED"
    WAIT_MANUAL = "WAIT_MANUAL"
    ROLLING_BACK = "ROLLING_BACK"
    RESUME_FAILED = "RESUME_FAILED"


class Event(StrEnum):
    """What happened to a pair."""

    STARTED = "STARTED"
    PAUSE_FAILED = "PAUSE_FAILED"
    UPGRADE_BEGAN = "UPGRADE_BEGAN"
    NODES_VERIFIED = "NODES_VERIFIED"
    RESUME_FAILED = "RESUME_FAILED"
    SYNC_BEGAN = "SYNC_BEGAN"
    SYNCED_UNVERIFIED = "SYNCED_UNVERIFIED"
    VERIFY_BEGAN = "VERIFY_BEGAN"
    ALIKE = "ALIKE"
    DIFFERENT = "DIFFERENT"
    FINISHED = "FINISHED"
    ROLLBACK_BEGAN = "ROLLBACK_BEGAN"
    ROLLED_BACK = "ROLLED_BACK"
    NEEDS_PERSON = "NEEDS_PERSON"
    RESOLVED = "RESOLVED"


class Edge(NamedTuple):
    """One way on. drawn: its number in the document, 0 for one that was added. why: what it is there for."""

    source: PairState
    event: Event
    target: PairState
    drawn: int
    why: str


_S, _E = PairState, Event

FIRST = PairState.RSYNC_RUNNING
EDGES: tuple[Edge, ...] = (
    Edge(_S.RSYNC_RUNNING, _E.STARTED, _S.UPGRADE_PAUSED, 1, "an upgrade begins with pausing rsync"),
    Edge(_S.UPGRADE_PAUSED, _E.UPGRADE_BEGAN, _S.UPGRADING, 2, "rsync is paused, or there is none"),
    Edge(_S.UPGRADING, _E.NODES_VERIFIED, _S.UPGRADED, 3, "both nodes run the new version"),
    Edge(_S.UPGRADED, _E.SYNC_BEGAN, _S.SYNCING, 4, "rsync runs again, one synchronization follows"),
    Edge(_S.SYNCING, _E.SYNCED_UNVERIFIED, _S.RSYNC_RUNNING, 5, "there is no configuration to compare"),
    Edge(_S.UPGRADE_PAUSED, _E.PAUSE_FAILED, _S.PAUSE_FAILED, 6, "rsync did not stop, or is not there"),
    Edge(_S.PAUSE_FAILED, _E.UPGRADE_BEGAN, _S.UPGRADING, 7, "an upgrade does not depend on the pause"),
    Edge(_S.SYNCING, _E.VERIFY_BEGAN, _S.VERIFYING, 8, "the configurations are compared"),
    Edge(_S.VERIFYING, _E.ALIKE, _S.VERIFY_OK, 9, "both nodes have the same"),
    Edge(_S.VERIFYING, _E.DIFFERENT, _S.VERIFY_FAILED, 10, "they do not, or one could not be asked"),
    Edge(_S.VERIFY_OK, _E.FINISHED, _S.RSYNC_RUNNING, 11, "the upgrade is over"),
    Edge(_S.VERIFY_FAILED, _E.NEEDS_PERSON, _S.WAIT_MANUAL, 12, "a person says which side wins"),
    Edge(_S.UPGRADING, _E.ROLLBACK_BEGAN, _S.ROLLING_BACK, 0, "a node could not be upgraded"),
    Edge(_S.UPGRADE_PAUSED, _E.ROLLBACK_BEGAN, _S.ROLLING_BACK, 0, "backing up or locking failed before any node"),
    Edge(_S.PAUSE_FAILED, _E.ROLLBACK_BEGAN, _S.ROLLING_BACK, 0, "the same, where rsync could not be paused"),
    Edge(_S.UPGRADED, _E.ROLLBACK_BEGAN, _S.ROLLING_BACK, 0, "the new configuration could not be written"),
    Edge(_S.ROLLING_BACK, _E.ROLLED_BACK, _S.RSYNC_RUNNING, 0, "rsync runs again with the old version"),
    Edge(_S.ROLLING_BACK, _E.NEEDS_PERSON, _S.WAIT_MANUAL, 0, "something could not be taken back"),
    Edge(_S.UPGRADED, _E.RESUME_FAILED, _S.RESUME_FAILED, 0, "rsync did not start, however often it was tried"),
    Edge(_S.RESUME_FAILED, _E.NEEDS_PERSON, _S.WAIT_MANUAL, 0, "a person has to start it"),
    Edge(_S.UPGRADING, _E.NEEDS_PERSON, _S.WAIT_MANUAL, 0, "rsync runs and cannot be stopped: nothing is written"),
    Edge(
        _S.UPGRADED, _E.NEEDS_PERSON, _S.WAIT_MANUAL, 0, "the same; or both sides changed; or the roles are not right"
    ),
    Edge(_S.SYNCING, _E.NEEDS_PERSON, _S.WAIT_MANUAL, 0, "both sides changed, or nothing could be synchronized"),
    Edge(_S.WAIT_MANUAL, _E.RESOLVED, _S.RSYNC_RUNNING, 0, "a person said which side wins, and both have the same"),
)
_WAYS = {(edge.source, edge.event): edge.target for edge in EDGES}

_NAMES: dict[PairState, tuple[str, str]] = {
    _S.RSYNC_RUNNING: ("rsync运行中", "rsync runs"),
    _S.UPGRADE_PAUSED: ("升级暂停", "paused for an upgrade"),
    _S.PAUSE_FAILED: ("暂停失败", "pausing failed"),
    _S.UPGRADING: ("升级进行中", "upgrading"),
    _S.UPGRADED: ("升级完成", "upgraded"),
    _S.SYNCING: ("同步配置", "synchronizing"),
    _S.VERIFYING: ("同步验证", "comparing"),
    _S.VERIFY_OK: ("验证成功", "both alike"),
    _S.VERIFY_FAILED: ("验证失败", "not alike"),
    _S.WAIT_MANUAL: ("等待人工介入", "waits for a person"),
    _S.ROLLING_BACK: ("回滚中", "rolling back"),
    _S.RESUME_FAILED: ("恢复失败", "resuming failed"),
}


def after(state: PairState, event: Event) -> PairState:
    """The state that an event leads to. Raises TerminalError("NoSuchTransition")."""
    target = _WAYS.get((state, event))
    if target is None:
        message = f"a pair that is {state} ({english_name(state)}) has no way on for {event}"
        raise TerminalError("NoSuchTransition", message)
    return target


def is_upgrading(state: PairState) -> bool:
    """Whether an upgrade has begun that is neither over nor left to a person."""
    return state not in (PairState.RSYNC_RUNNING, PairState.WAIT_MANUAL)


def chinese_name(state: PairState) -> str:
    """As the document calls it."""
    return _NAMES[state][0]


def english_name(state: PairState) -> str:
    """What people read."""
    return _NAMES[state][1]
