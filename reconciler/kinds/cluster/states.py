"""The states that a cluster's row goes through. Pure; `rows` lets nothing else happen to the column `actual_state`.

unknown → creating → running | failed, running → failed, failed → creating, running | failed → stopped → running |
failed, any of them → deleting → gone | failed. Gone means that the row is deleted. A process that dies leaves its row
in `creating` or `deleting`; whoever comes next moves it on along these edges, through `failed` where it has to, so that
no state is overwritten in silence.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from reconciler.errors import TerminalError


class State(StrEnum):
    """`actual_state` of a cluster. GONE is never stored."""

    UNKNOWN = "unknown"
    CREATING = "creating"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    DELETING = "deleting"
    GONE = "gone"


EDGES: dict[State, frozenset[State]] = {
    State.UNKNOWN: frozenset({State.CREATING, State.DELETING}),
    State.CREATING: frozenset({State.RUNNING, State.FAILED, State.DELETING}),
    State.RUNNING: frozenset({State.STOPPED, State.FAILED, State.DELETING}),
    State.STOPPED: frozenset({State.RUNNING, State.FAILED, State.DELETING}),
    State.FAILED: frozenset({State.CREATING, State.STOPPED, State.DELETING}),
    State.DELETING: frozenset({State.GONE, State.FAILED}),
    State.GONE: frozenset(),
}


def path(current: State, target: State) -> tuple[State, ...]:
    """The states to pass through from `current` to `target`, ending with it, along as few allowed edges as possible.

    Empty when nothing changes. Raises TerminalError when no way leads there.
    """
    if current is target:
        return ()
    ways: deque[tuple[State, ...]] = deque([(current,)])
    seen = {current}
    while ways:
        way = ways.popleft()
        if target in EDGES[way[-1]]:
            return (*way[1:], target)
        following = sorted(EDGES[way[-1]] - seen)
        seen.update(following)
        ways.extend((*way, state) for state in following)
    raise TerminalError("StateNotAllowed", f"a cluster that is {current} can never be {target}")
