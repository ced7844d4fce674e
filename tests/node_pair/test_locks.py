"""The lock on a node's configuration, on a real machine: what it keeps out, and that it ends whatever becomes of us."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from pair_ground import Ground, until
from pair_nodes import PAIR, busybox_node, configuration_spec, fragile, node_of, put_shims

from reconciler.errors import ReconcilerError, TerminalError
from reconciler.kinds.node_pair.nodes.locks import ConfigurationLock, LockSeen
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.spec import Lock
from reconciler.lab import labs

RUN = "3f2a9c1b7d20"
FILL = """umount /srv/ram 2>/dev/null; chattr -R -f -i /srv/app /srv/late; rm -rf /srv/app /srv/late /srv/ram; set -e
mkdir -p '/srv/app/sub/a b' /srv/late; cd /srv/app; echo one >one; echo two >'sub/-two'; ln -s one link; chmod 664 one
echo odd >"$(printf "sub/a b/c'\\n\\"d")"; chmod 4750 sub/-two; chown operator one; echo mine >mine; chattr +i mine
cd /srv/late; echo x >file; echo mine >mine; chattr +i mine"""
OURS = ["/srv/app", "/srv/app/one", "/srv/app/sub", "/srv/app/sub/-two", "/srv/app/sub/a b", "/srv/app/sub/a b/c'\n\"d"]
FLAGS = r"""cd /srv
find app late ! -type l -printf '%m %U ' -exec sh -c 'lsattr -d "$1" | cut -c 5,6 | head -n 1' sh {} \; | sort"""
AS_OPERATOR = "setpriv --reuid=1000 --regid=1000 --clear-groups"  # `su` would begin a session, which ends slowly
UNITS = f"""cd /etc/systemd/system
ls . timers.target.wants /var/lib/systemd/timers /var/lib/reconciler-node/pairs/* 2>/dev/null |
grep -e reconciler-unlock -e '^lock' -e '^unlock' -e immutable -e modes
systemctl list-units --all --no-legend 'reconciler-unlock-{PAIR}*'; true"""


@dataclass
class Locked:
    """A node with something to lock."""

    ground: Ground
    node: Node

    def lock(self, how: Lock = "immutable", *paths: str, pair: str = PAIR) -> ConfigurationLock:
        return ConfigurationLock(self.node, configuration_spec(*(paths or ("/srv/app", "/srv/none")), lock=how), pair)

    def succeeds(self, script: str) -> bool:
        return self.node.run(script).returncode == 0

    def traces(self) -> str:
        return self.node.read(UNITS).strip()

    def take_briefly(self, lock: ConfigurationLock) -> float:
        """Take it for as short as this machine can; when it expires."""
        for seconds in (4, 8, 16, 32, 64):
            expires_at = time.time() + seconds
            with suppress(TerminalError):  # it took longer than that to set the timer
                lock.take(RUN, expires_at)
                return expires_at
        raise AssertionError("it cannot be taken")


@pytest.fixture
def node(ground: Ground) -> Iterator[Node]:
    with node_of(ground, patience=60.0) as one:
        yield one


@pytest.fixture
def locked(ground: Ground, node: Node) -> Iterator[Locked]:
    node.read(FILL)
    made = Locked(ground, node)
    yield made
    for how in ("immutable", "readonly"):
        made.lock(how).release()
        made.lock(how, pair="other").release()
    node.run("chattr -R -f -i /srv/app /srv/late")  # else the lab's folder could not be removed


def test_row_4_08_a_locked_configuration_cannot_be_changed_and_is_then_as_it_was(locked: Locked) -> None:
    before, lock = locked.node.read(FLAGS), locked.lock("immutable", "/srv/app", "/srv/none", "/srv/late")
    assert lock.look() == LockSeen(False)
    expires_at = time.time() + 3600
    lock.take(RUN, expires_at)
    seen = lock.look()
    assert (seen.held, seen.run) == (True, RUN)
    assert list(seen.paths) == sorted([*OURS, "/srv/late", "/srv/late/file"])
    assert abs(seen.expires_at - expires_at) < 60
    for attempt in (
        *("echo x >/srv/app/one", "echo x >>/srv/app/sub/-two", "touch /srv/app/new", "rm /srv/app/one"),
        *(
            "mv /srv/app/sub /srv/app/gone",
            "ln -sf two /srv/app/link",
            "rm /srv/app/link",
            "touch '/srv/app/sub/a b/x'",
        ),
        *("chmod 777 /srv/app/one", "echo x >/tmp/x; mv /tmp/x /srv/app/one"),
    ):
        assert not locked.succeeds(attempt), attempt
    timer = f"reconciler-unlock-{PAIR}.timer"
    assert locked.node.read(f"systemctl is-enabled {timer}; systemctl is-active {timer}") == "enabled\nactive\n"
    lock.release()
    assert locked.node.read(FLAGS) == before, "and what an administrator locked stays so"
    assert locked.traces() == ""
    assert lock.look() == LockSeen(False)
    lock.release()
    assert locked.succeeds("echo x >/srv/app/one")


def test_readonly_keeps_out_all_but_root_and_gives_each_mode_back(locked: Locked) -> None:
    before, lock = locked.node.read(FLAGS), locked.lock("readonly")
    lock.take(RUN, time.time() + 3600)
    assert list(lock.look().paths) == sorted(OURS)
    assert not locked.succeeds(f"{AS_OPERATOR} sh -c 'echo x >/srv/app/one'")
    assert locked.node.read("stat -c %a /srv/app/one /srv/app/sub/-two /srv/app") == "444\n4550\n555\n"
    locked.node.read("echo by root >/srv/app/new; chmod 620 /srv/app/new")
    lock.take(RUN, time.time() + 7200)
    assert "/srv/app/new" in lock.look().paths
    lock.release()
    assert locked.node.read("stat -c %a /srv/app/new; rm /srv/app/new") == "620\n"
    assert locked.node.read(FLAGS) == before
    assert locked.traces() == ""
    assert locked.succeeds(f"{AS_OPERATOR} sh -c 'echo x >/srv/app/one'"), "it was the lock that kept them out"


def test_where_it_cannot_be_locked_nothing_is_locked_and_what_to_do_is_said(locked: Locked) -> None:
    before = locked.node.read(FLAGS)
    locked.node.read("mkdir /srv/ram; mount -t ramfs none /srv/ram; echo x >/srv/ram/file")
    both = locked.lock("immutable", "/srv/app", "/srv/ram")
    with pytest.raises(TerminalError, match="take lock: readonly") as caught:
        both.take(RUN, time.time() + 3600)
    assert caught.value.reason == "NotLocked"
    assert both.look() == LockSeen(False)
    assert locked.node.read(FLAGS) == before
    assert locked.traces() == ""
    readonly = locked.lock("readonly", "/srv/ram")
    readonly.take(RUN, time.time() + 3600)
    assert locked.node.read("stat -c %a /srv/ram/file") == "444\n"
    readonly.release()
    locked.node.read("umount /srv/ram")


@pytest.mark.parametrize("why", ["link", "late", "units"])
def test_what_else_keeps_it_from_being_locked(locked: Locked, why: str) -> None:
    paths = {"link": ("/srv/app/link",)}.get(why, ("/srv/app",))
    lock, until_then = locked.lock("immutable", *paths), time.time() + (-1 if why == "late" else 3600)
    if why == "units":
        locked.node.read("mount -t tmpfs -o ro none /etc/systemd/system")
    try:
        with pytest.raises(TerminalError) as caught:
            lock.take(RUN, until_then)
    finally:
        if why == "units":
            locked.node.read("umount /etc/systemd/system")
    assert caught.value.reason == "NotLocked"
    assert lock.look() == LockSeen(False)
    assert locked.succeeds("echo x >/srv/app/one")
    assert locked.traces() == ""


def test_no_lock_is_no_lock(locked: Locked) -> None:
    lock = locked.lock("none")
    lock.take(RUN, time.time() + 3600)
    assert lock.look() == LockSeen(False)
    assert locked.succeeds("echo x >/srv/app/one")


def test_taking_it_again_moves_its_expiry(locked: Locked) -> None:
    lock, timer = locked.lock(), f"reconciler-unlock-{PAIR}.timer"
    show = f"systemctl show --property=TimersCalendar {timer}"
    lock.take(RUN, time.time() + 600)
    before, first = lock.look(), locked.node.read(show)
    lock.take(RUN, time.time() + 7200)
    after, second = lock.look(), locked.node.read(show)
    assert 6000 < after.expires_at - before.expires_at < 7000
    assert first != second
    assert after.paths == before.paths
    assert locked.node.read(f"grep -c . /etc/systemd/system/timers.target.wants/{timer}") != "0\n"


def test_past_its_expiry_the_node_unlocks_it_by_itself_and_clears_up(locked: Locked) -> None:
    before, lock = locked.node.read(FLAGS), locked.lock()
    locked.take_briefly(lock)
    until(lambda: not lock.look().held, "the expiry")
    until(lambda: not locked.traces(), "the end of the timer", 20)
    assert locked.node.read(FLAGS) == before
    lock.release()
    assert lock.look() == LockSeen(False)


def reboot(locked: Locked) -> None:
    boot = locked.node.read("cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat | cut -d ' ' -f 22")
    locked.node.read("systemd-run --quiet --on-active=0.2 --timer-property=AccuracySec=10ms systemctl reboot")
    machine, give_up = locked.ground.lab.node("master"), time.monotonic() + 60
    while labs.answers(machine) and time.monotonic() < give_up:
        time.sleep(0.05)
    until(lambda: labs.answers(machine), "the node")
    locked.node.ssh.close()
    assert locked.node.read("cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat | cut -d ' ' -f 22") != boot


def test_a_lock_whose_expiry_passes_while_the_node_reboots_ends_soon_after(locked: Locked) -> None:
    before = locked.node.read(FLAGS)
    lock, other = locked.lock(), locked.lock("immutable", "/srv/late", pair="other")
    other.take(RUN, time.time() + 3600)
    locked.take_briefly(lock)
    reboot(locked)
    until(lambda: not lock.look().held, "the expiry")
    assert other.look().paths == ("/srv/late", "/srv/late/file"), "one whose time has not come is still held"
    assert not locked.succeeds("touch /srv/late/x")
    other.release()
    assert locked.node.read(FLAGS) == before


@pytest.mark.soak
def test_a_lock_that_outlives_a_reboot_ends_in_its_time(locked: Locked) -> None:
    lock, expires_at = locked.lock(), time.time() + 40
    lock.take(RUN, expires_at)
    reboot(locked)
    time.sleep(max(0.0, expires_at - 5 - time.time()))
    seen = lock.look()
    assert seen.held or time.time() > expires_at
    until(lambda: not lock.look().held, "the expiry", 90)
    assert time.time() >= expires_at - 2
    until(lambda: not locked.traces(), "the end of the timer", 20)


def test_a_clock_that_is_wrong_does_not_hold_up_the_expiry(locked: Locked) -> None:
    """Times are those of the node: however far its clock is from ours."""
    lock = locked.lock()
    lock.take(RUN, time.time() + 3600)
    ahead = 'd=$(date +%s); sed -i "s/^expires .*/expires $((d - 1))/" /var/lib/reconciler-node/pairs/*/lock'
    locked.node.read(ahead)
    assert lock.look().expires_at < time.time()
    locked.node.read(f"systemctl start reconciler-unlock-{PAIR}.service")
    assert lock.look() == LockSeen(False)


def calls_of(locked: Locked, what: str) -> int:
    put_shims(locked.ground)
    whole = ConfigurationLock(fragile(locked.ground, locked.node.ssh, 10**6), configuration_spec("/srv/app"), PAIR)
    if what == "take":
        whole.take(RUN, time.time() + 3600)
    else:
        locked.lock().take(RUN, time.time() + 3600)
        whole.release()
    count = int(locked.node.read("wc -l </srv/killing/calls"))
    locked.lock().release()
    return count


def killed(locked: Locked, what: str, moments: int) -> None:
    before, total = locked.node.read(FLAGS), calls_of(locked, what)
    assert total >= 10
    for count, at in enumerate(range(total, 0, -max(1, total // moments))):
        if what == "release":
            locked.lock().take(RUN, time.time() + 3600)
        broken = ConfigurationLock(fragile(locked.ground, locked.node.ssh, at), configuration_spec("/srv/app"), PAIR)
        with suppress(ReconcilerError):
            broken.take(RUN, time.time() + 3600) if what == "take" else broken.release()
        if count % 2 and what == "take":
            locked.lock().take(RUN, time.time() + 3600)
            assert list(locked.lock().look().paths) == sorted(OURS), f"killed at {at}"
        if count % 3 == 1:  # nobody comes back: its time is past, and its timer fires
            locked.node.read(
                "sed -i 's/^expires .*/expires 1/' /var/lib/reconciler-node/pairs/*/lock 2>/dev/null || true"
            )
            locked.node.run(f"systemctl start reconciler-unlock-{PAIR}.service")
        else:
            locked.lock().release()
        assert locked.node.read(FLAGS) == before, f"killed at {at}"
        assert locked.lock().look().paths == (), f"killed at {at}"  # its mark may be there before its timer is
        locked.lock().release()
        assert locked.lock().look() == LockSeen(False), f"killed at {at}"
        assert locked.traces() == "", f"killed at {at}"


@pytest.mark.parametrize("what", ["take", "release"])
def test_killed_at_some_of_its_tools_it_can_be_taken_released_and_expires(locked: Locked, what: str) -> None:
    killed(locked, what, 3)


@pytest.mark.soak
@pytest.mark.parametrize("what", ["take", "release"])
def test_killed_at_every_tool_it_can_be_taken_released_and_expires(locked: Locked, what: str) -> None:
    killed(locked, what, 10**6)


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox")
@pytest.mark.parametrize("how", ["immutable", "readonly"])
def test_with_other_tools_a_lock_is_the_same(locked: Locked, how: Lock) -> None:
    before = locked.node.read(FLAGS)
    with busybox_node(locked.ground) as small:
        lock = ConfigurationLock(small, configuration_spec("/srv/app", lock=how), PAIR)
        lock.take(RUN, time.time() + 3600)
        assert list(lock.look().paths) == sorted(OURS) == list(locked.lock(how).look().paths)
        assert not locked.succeeds(f"{AS_OPERATOR} sh -c 'echo x >/srv/app/one'")
        lock.release()
    assert locked.node.read(FLAGS) == before
    assert locked.traces() == ""


def test_without_systemd_it_is_readonly_and_does_not_expire(plain_ground: Ground) -> None:
    if not plain_ground.lab.isolated:
        pytest.skip("the node shares this machine's /var/lib")
    folder = plain_ground.said("master", "mkdir -p data/locked; echo x >data/locked/file; cd data/locked; pwd")
    with node_of(plain_ground) as node:
        lock = ConfigurationLock(node, configuration_spec(folder), PAIR)
        lock.take(RUN, time.time() + 60)
        seen = lock.look()
        assert (seen.held, seen.expires_at, seen.paths) == (True, 0.0, (folder, f"{folder}/file"))
        assert node.read(f"stat -c %a {folder}/file") == "444\n"
        lock.release()
        assert node.read(f"stat -c %a {folder}/file") == "644\n"
        assert lock.look() == LockSeen(False)
