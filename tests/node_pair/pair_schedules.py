"""Schedules of faults for a pair: each is one attempt to upgrade during which one thing happens, at one moment.

A moment that does not come any more, because an attempt before went past it, makes that attempt an ordinary one.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st
from pair import Pair
from pair_faults import cut_off, fault, full_disk, heal, no_sshd, no_sudo, reboot, slow_link, wrong_clock
from pair_ground import Ground, until
from pair_serving import ServingClient
from place import kill, wait_until_stopped

from reconciler.kinds.node_pair.spec import ROLES, Role

STEPS = (
    *("check_nodes", "stage", "detect_rsync", "pause_rsync", "back_up_configuration", "lock_configuration"),
    *(f"{name}_{role}" for role in ("backup", "master") for name in ("stop", "install", "start", "verify")),
    *("switch_over", "confirm_paused", "unlock_configuration", "write_configuration", "switch_back"),
    *("resume_rsync", "synchronize", "compare", "record"),
)
"""Of an upgrade of both nodes with a new configuration, more or less in their order."""
MOMENTS = tuple(f"{when}:{step}" for step in STEPS for when in ("begun", "ran"))
CALLS: tuple[tuple[Role, str], ...] = (
    *((role, name) for role in ROLES for name in ("prepare", "stop", "install", "start", "verify")),
    ("backup", "switchover"),
    ("master", "switchback"),
)
Sort = Literal[
    *("killed", "killed inside", "fails", "rebooted"),
    *("cut off", "slow link", "no sshd", "full disk", "no sudo", "wrong clock"),
]
AILMENTS: Mapping[Sort, Callable[[Ground, Role], AbstractContextManager[None]]] = {
    "cut off": cut_off,
    "slow link": slow_link,
    "no sshd": no_sshd,
    "full disk": full_disk,
    "no sudo": no_sudo,
    "wrong clock": lambda ground, role: wrong_clock(ground, role, 9000),
}
"""What a node may suffer from, from the beginning of a step to the end of that attempt. The clock is wrong by more
than a lock lasts.
"""
_PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Happening:
    """What happens during one attempt. at: a moment, a step, or the name of a call. role: of the node, where it
    matters. late: of a call, once it has done its work.
    """

    sort: Sort
    at: str
    role: Role = "backup"
    late: bool = False


_roles = st.sampled_from(ROLES)
_calls = st.sampled_from(CALLS)
HAPPENINGS: Mapping[Sort, st.SearchStrategy[Happening]] = {
    "killed": st.builds(lambda at: Happening("killed", at), st.sampled_from(MOMENTS)),
    "killed inside": st.builds(
        lambda one, late: Happening("killed inside", one[1], one[0], late), _calls, st.booleans()
    ),
    "fails": st.builds(lambda one, late: Happening("fails", one[1], one[0], late), _calls, st.booleans()),
    **{
        sort: st.builds(lambda at, role, sort=sort: Happening(sort, at, role), st.sampled_from(STEPS), _roles)
        for sort in AILMENTS
    },
    "rebooted": st.builds(lambda at, role: Happening("rebooted", at, role), st.sampled_from(STEPS), _roles),
}
SCHEDULES: st.SearchStrategy[list[Happening]] = st.lists(st.one_of(*HAPPENINGS.values()), min_size=1, max_size=3)


def by_operator(pair: Pair) -> dict[str, Any]:
    """Both nodes for a document whose user is not root and becomes it by sudo."""
    return {role: {**pair.spec[role], "user": "operator", "become": "sudo"} for role in ROLES}


def carry_out(pair: Pair, schedule: Sequence[Happening], client: ServingClient) -> None:
    """One attempt after the other, and then everything is healed."""
    for one in schedule:
        if one.sort == "killed":
            pair.dies(one.at)
        elif one.sort == "killed inside":
            killed_inside(pair, one)
        elif one.sort == "fails":
            fault(pair.ground, one.role, one.at, times=1, late=one.late)
            pair.apply(None)
        else:
            taken_away(pair, one, client)
        if one.sort in ("killed inside", "fails"):
            heal(pair.ground, one.role, one.at)
        pair.ground.await_both()


def killed_inside(pair: Pair, one: Happening) -> bool:
    """Be killed while a call of the service's tool runs; whether there was such a call."""
    held = len(_held(pair, one))
    fault(pair.ground, one.role, one.at, "hold", times=1, late=one.late)
    process = pair.start()
    try:
        until(lambda: len(_held(pair, one)) > held or process.poll() is not None, f"{one.at} or the end", _PATIENCE)
        was_there = process.returncode is None
        kill(process)
    finally:
        process.close()
        heal(pair.ground, one.role, one.at)
    return was_there


def _held(pair: Pair, one: Happening) -> list[float]:
    return [call.at for call in pair.ground.calls(one.role) if call.name == one.at and call.held]


def taken_away(pair: Pair, one: Happening, client: ServingClient) -> bool:
    """A node suffers, or boots, as a step begins; whether there was such a step."""
    process = pair.start(moment=f"stops:{one.at}")
    try:
        if not wait_until_stopped(process, _PATIENCE):
            return False
        if one.sort == "rebooted":
            with client.excused():
                reboot(pair.ground, one.role)
            process.send_signal(signal.SIGCONT)
            process.wait(_PATIENCE)
        else:
            with AILMENTS[one.sort](pair.ground, one.role):
                process.send_signal(signal.SIGCONT)
                process.wait(_PATIENCE)
        return True
    finally:
        process.close()
