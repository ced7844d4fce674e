"""A pair of real machines, and everything that may happen to it on the way: whatever it was, the invariants hold.

`pair_invariants` says what they are. A few of each sort run with every test; all of them in the soak.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pair import Pair
from pair_faults import await_held, fault, heal, reboot, set_link
from pair_ground import NEW, NEW_TEXT, OLD, OLD_TEXT, until
from pair_invariants import invariants, locked
from pair_schedules import AILMENTS, CALLS, MOMENTS, STEPS, Happening, Sort, by_operator, killed_inside, taken_away
from pair_serving import ServingClient

from reconciler.kinds.node_pair.spec import ROLES, Role


def sample(values: list[Any], *chosen: Any) -> list[Any]:
    """All of them, of which only the chosen ones run with every test."""
    assert set(chosen) <= set(values)
    names = [":".join(one) if isinstance(one, tuple) else str(one) for one in values]
    marks = [() if one in chosen else pytest.mark.soak for one in values]
    return [pytest.param(one, id=name, marks=mark) for one, name, mark in zip(values, names, marks, strict=True)]


def suffering() -> Iterator[tuple[Sort, Role, str]]:
    """Each ailment from each step on: of the node that the step is about, else of one and the other in turn. A link is
    lost to each of them.
    """
    for (number, sort), (place, step) in itertools.product(enumerate(AILMENTS), enumerate(STEPS)):
        about = [role for role in ROLES if step.endswith(f"_{role}")] or [ROLES[(number + place) % 2]]
        yield from ((sort, role, step) for role in (ROLES if sort == "cut off" else about))


def assert_new(pair: Pair) -> None:
    """The upgrade is done, on both nodes."""
    assert pair.versions() == dict.fromkeys(ROLES, NEW)
    assert {role: pair.content(role) for role in ROLES} == dict.fromkeys(ROLES, NEW_TEXT)
    assert pair.serving() == ["master"]
    assert pair.state() == "RSYNC_RUNNING"


def test_nothing_goes_wrong(pair: Pair, serving: ServingClient) -> None:
    assert pair.plan() is None
    pair.want_new()
    pair.apply()
    assert pair.plan() is None
    assert [row["status"] for row in pair.upgrades()] == ["SUCCESS"]
    assert set(pair.progress()) == set(STEPS), "what the tests below go through"
    assert_new(pair)
    invariants(pair, serving)


@pytest.mark.parametrize("moment", sample(list(MOMENTS), "ran:install_backup", "begun:write_configuration"))
def test_the_reconciler_is_killed_between_two_steps(pair: Pair, serving: ServingClient, moment: str) -> None:
    pair.want_new()
    assert pair.dies(moment), f"there is no such moment: {moment}"
    pair.converge()
    assert_new(pair)
    invariants(pair, serving)


@pytest.mark.parametrize("call", sample(list(CALLS), ("backup", "install")))
def test_the_reconciler_is_killed_inside_a_command_on_a_node(
    pair: Pair, serving: ServingClient, call: tuple[Role, str]
) -> None:
    role, name = call
    pair.want_new()
    assert killed_inside(pair, Happening("killed inside", name, role, late=True)), "there was no such call"
    pair.converge()
    assert_new(pair)
    invariants(pair, serving)


@pytest.mark.parametrize(
    "where",
    sample(
        list(suffering()),
        ("cut off", "backup", "start_master"),
        ("no sshd", "master", "switch_over"),
        ("full disk", "master", "write_configuration"),
        ("no sudo", "master", "synchronize"),
        ("wrong clock", "master", "confirm_paused"),
    ),
)
def test_a_node_suffers_from_a_step_on(pair: Pair, serving: ServingClient, where: tuple[Sort, Role, str]) -> None:
    sort, role, step = where
    pair.want_new(reconnect="1s", **by_operator(pair))
    assert taken_away(pair, Happening(sort, step, role), serving), f"there is no such step: {step}"
    pair.converge()
    invariants(pair, serving)
    if pair.state() == "WAIT_MANUAL":  # what cannot run there cannot take anything back there either
        assert sort in ("full disk", "no sudo"), pair.row()["wait_reason"]
        reason = pair.row()["wait_reason"]
        assert ("To do: " in reason) if reason.startswith("the upgrade failed") else reason
    else:
        assert_new(pair)


@pytest.mark.soak
def test_the_link_drops_and_is_back_before_long(pair: Pair, serving: ServingClient) -> None:
    pair.want_new(reconnect="60s")
    fault(pair.ground, "backup", "install", "hold", times=1)
    process = pair.start()
    try:
        await_held(pair.ground, "backup", "install")
        set_link(pair.ground, "backup", "down")
        heal(pair.ground, "backup", "install")
        time.sleep(1)
        set_link(pair.ground, "backup", "up")
        assert process.wait(180) == 0
    finally:
        process.close()
    assert_new(pair)
    invariants(pair, serving)


def test_a_locked_node_reboots_and_the_reconciler_never_comes_back(pair: Pair) -> None:
    configuration = {**pair.spec["configuration"], "lockExpiry": "20s"}
    pair.want_new(configuration=configuration)
    assert pair.dies("begun:stop_backup")
    assert all(locked(pair, role) for role in ROLES), "both are locked"
    reboot(pair.ground, "backup")
    assert pair.ground.run("backup", "systemctl is-active rsync").returncode, "the pause survives the reboot"
    for role in ROLES:
        until(lambda role=role: not locked(pair, role), f"the {role} unlocks by itself", 90)  # type: ignore[misc]
    for role in ROLES:
        assert pair.content(role) == OLD_TEXT
        assert pair.versions()[role] == OLD


@pytest.mark.parametrize("role", sample(list(ROLES), "backup"))
def test_a_node_reboots_inside_a_command_that_must_run_once(pair: Pair, serving: ServingClient, role: Role) -> None:
    pair.want_new(reconnect="60s")
    fault(pair.ground, role, "install", "hold", times=1)
    process = pair.start()
    try:
        await_held(pair.ground, role, "install")
        with serving.excused():
            reboot(pair.ground, role)
        heal(pair.ground, role, "install")
        process.wait(180)
    finally:
        process.close()
    assert pair.state() in ("RSYNC_RUNNING", "WAIT_MANUAL")
    invariants(pair, serving)
    if pair.state() == "RSYNC_RUNNING":
        pair.converge()
        assert_new(pair)
        invariants(pair, serving)


@pytest.mark.parametrize("call", sample(list(CALLS), ("master", "verify")))
def test_a_command_fails_and_all_is_as_it_was(pair: Pair, serving: ServingClient, call: tuple[Role, str]) -> None:
    role, name = call
    pair.want_new()
    fault(pair.ground, role, name)
    pair.apply(None)
    heal(pair.ground, role, name)
    invariants(pair, serving)
    if name == "switchback":  # by then there is no way back
        assert pair.versions() == dict.fromkeys(ROLES, NEW)
        return
    assert pair.versions() == dict.fromkeys(ROLES, OLD)
    assert {role: pair.content(role) for role in ROLES} == dict.fromkeys(ROLES, OLD_TEXT)
    assert pair.serving() == ["master"]
    assert pair.state() == "RSYNC_RUNNING"
    pair.converge()
    assert_new(pair)
    invariants(pair, serving)
