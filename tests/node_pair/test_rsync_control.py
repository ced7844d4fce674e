"""Pausing and resuming the rsync of machines with a real systemd: over a reboot, over our death, and nobody else's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from pair_faults import reboot
from pair_ground import Ground, until
from rsync_nodes import (
    BY_HAND,
    CRON,
    OTHER_PORT,
    PAIR,
    PORT,
    RUN,
    TIMERS,
    UPGRADE,
    RsyncNodes,
    nodes_of,
    spec_of,
    with_timers,
)

from reconciler.errors import BlockedError, TerminalError
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.rsync_control import RsyncControl
from reconciler.kinds.node_pair.spec import NodeSpec
from reconciler.transports.ssh import Ssh

FOREIGN = f"""mkdir -p /srv/other
printf '%s\\n' 'pid file = /srv/other/pid' 'port = {OTHER_PORT}' '[other]' 'path = /srv/other' > /srv/other/conf
rsync --daemon --config=/srv/other/conf
head -c 30000000 /dev/zero > /srv/other/big
setsid rsync --bwlimit=100 /srv/other/big /srv/other/copy </dev/null >/dev/null 2>&1 &
sleep 0.3; cat /srv/other/pid; pgrep -xfo 'rsync --bwlimit=100 /srv/other/big /srv/other/copy'"""
CONNECT = f"""import socket, time
one = socket.socket()
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
one.bind(('127.0.0.1', {PORT}))
one.connect(('127.0.0.1', 22))
time.sleep(60)
"""
TRANSFER = f"""head -c 50000000 /dev/zero > /srv/data/big
setsid rsync --bwlimit=200 rsync://127.0.0.1:{PORT}/data/big /srv/copy </dev/null >/srv/client.log 2>&1 &
"""


@pytest.fixture
def nodes(ground: Ground) -> Iterator[RsyncNodes]:
    with nodes_of(ground) as made:
        yield made


def test_row_4_15_it_sees_the_daemon_of_its_port_and_no_other_rsync(nodes: RsyncNodes) -> None:
    foreign = nodes.tell(FOREIGN).split()
    control = nodes.control()
    seen = control.look()
    assert (seen.status, seen.exists, seen.pause, seen.timers, seen.children) == ("RUNNING", True, None, (), 0)
    pid = nodes.tell("systemctl show --property=MainPID --value rsync")
    assert seen.detail == f"rsync.service is active (pid {pid}); rsync (pid {pid}) listens on port {PORT}"
    assert nodes.ssh["master"].commands == 1
    assert nodes.control(unit="nothing", port=OTHER_PORT).look().status == "RUNNING", "whoever started it"
    assert nodes.control(unit="nothing", port=9999).look().status == "STOPPED"
    control.pause(UPGRADE)
    assert control.look().status == "STOPPED"
    control.resume("UPGRADE")
    assert len(foreign) == 2
    assert nodes.run(f"kill -0 {foreign[0]} && kill -0 {foreign[1]}").returncode == 0
    nodes.run(f"kill {' '.join(foreign)}")


def test_a_pause_names_who_why_and_when_and_nothing_starts_until_it_is_taken_back(nodes: RsyncNodes) -> None:
    with_timers(nodes)
    before = nodes.state()
    control = nodes.control(timers=TIMERS)
    assert control.look().timers == ("config-sync.timer", CRON)
    client = "systemctl is-active config-sync.service"
    nodes.tell("systemctl start --no-block config-sync.service")
    until(lambda: nodes.run(client).stdout == "activating\n", "a client begins")
    control.pause(UPGRADE)
    nodes.tell("systemctl start rsync.service config-sync.timer idle.timer config-sync.service")
    seen = control.look()
    assert (seen.status, seen.exists, seen.pause, seen.timers) == ("STOPPED", True, UPGRADE, ())
    assert f"paused for upgrade {RUN} since 2023-11-14 22:13:20Z" in seen.detail
    assert nodes.run(client).stdout in ("inactive\n", "failed\n"), "a client in progress ends too"
    assert nodes.tell("ls -A /etc/cron.d | grep sync") == ".sync.reconciler-paused", "a name that no cron reads"
    marker = nodes.marker()
    assert marker[1:3] == [f"UPGRADE 1700000000.250 {RUN}", "daemon listened"]
    assert marker[3:] == [
        *("unit rsync.service active enabled", "unit config-sync.timer active enabled"),
        *("unit idle.timer inactive static", "unit config-sync.service triggered static", f"cron {CRON}"),
    ]
    private = nodes.tell("stat -c %a /var/lib/reconciler-node /var/lib/reconciler-node/pairs/web/rsync-pause-873")
    assert private.split() == ["700", "600"]
    control.pause(replace(UPGRADE, at=UPGRADE.at + 60))
    assert nodes.marker() == marker, "a second time changes nothing, nor since when"
    control.resume("UPGRADE")
    assert control.look() == replace(control.look(), status="RUNNING", pause=None, timers=("config-sync.timer", CRON))
    control.resume("UPGRADE")
    control.forget()
    assert nodes.state() == before


def test_it_survives_a_reboot_and_ends_with_its_marker_alone(nodes: RsyncNodes) -> None:
    with_timers(nodes)
    control = nodes.control(timers=TIMERS)
    control.pause(UPGRADE)
    reboot(nodes.ground, "master")
    assert nodes.tell("systemctl is-enabled rsync config-sync.timer").split() == ["enabled", "enabled"]
    seen = control.look()
    assert (seen.status, seen.pause, seen.timers) == ("STOPPED", UPGRADE, ())
    marker = nodes.marker()
    nodes.tell("rm /var/lib/reconciler-node/pairs/web/rsync-pause-873; systemctl start rsync config-sync.timer")
    seen = control.look()
    assert (seen.status, seen.pause, seen.timers) == ("RUNNING", None, ("config-sync.timer",))
    nodes.tell("systemctl stop rsync config-sync.timer")
    nodes.tell(f"printf '%s\\n' '{chr(10).join(marker)}' > /var/lib/reconciler-node/pairs/web/rsync-pause-873")
    control.resume("UPGRADE")
    seen = control.look()
    assert (seen.status, seen.pause, seen.timers) == ("RUNNING", None, ("config-sync.timer", CRON))
    reboot(nodes.ground, "master")
    until(lambda: control.look().status == "RUNNING", "rsync starts at boot again")


@pytest.mark.parametrize("survives_term", [False, True])
def test_transfers_in_progress_end_with_the_pause(nodes: RsyncNodes, survives_term: bool) -> None:
    control = nodes.control()
    if survives_term:  # the processes of transfers are left behind by this stop
        nodes.tell("mkdir -p /etc/systemd/system/rsync.service.d")
        nodes.tell("printf '[Service]\\nKillMode=process\\n' > /etc/systemd/system/rsync.service.d/x.conf")
        nodes.tell("systemctl daemon-reload && systemctl restart rsync")
    nodes.tell(TRANSFER)
    until(lambda: control.look().children > 0, "the transfer begins")
    control.pause(UPGRADE)
    assert control.look().children == 0
    until(lambda: nodes.run("pgrep -f '[b]wlimit=200'").returncode == 1, "its client ends")
    assert nodes.run("test -e /srv/copy").returncode == 1


@pytest.mark.parametrize("first", [UPGRADE, BY_HAND])
def test_what_was_paused_by_hand_is_resumed_by_hand_only(nodes: RsyncNodes, first: object) -> None:
    control = nodes.control()
    for pause in (UPGRADE, BY_HAND) if first is UPGRADE else (BY_HAND, UPGRADE):
        control.pause(pause)
    assert control.look().pause == BY_HAND
    with pytest.raises(BlockedError, match="it's me <me@there>") as caught:
        control.resume("UPGRADE")
    assert caught.value.reason == "PausedByHand"
    assert (control.look().status, control.look().pause) == ("STOPPED", BY_HAND)
    assert nodes.run("systemctl start rsync; systemctl is-active rsync").stdout == "inactive\n"
    with pytest.raises(BlockedError):
        control.resume("UPGRADE")
    control.resume("MANUAL")
    assert (control.look().status, control.look().pause) == ("RUNNING", None)


def test_an_upgrades_pause_outlasts_that_of_an_operator(nodes: RsyncNodes) -> None:
    control = nodes.control()
    control.pause(BY_HAND)
    control.pause(UPGRADE)
    with pytest.raises(BlockedError, match=RUN) as caught:
        control.resume("MANUAL")
    assert (caught.value.reason, control.look().status, control.look().pause) == ("PausedByUpgrade", "STOPPED", UPGRADE)
    control.resume("UPGRADE")
    assert (control.look().status, control.look().pause) == ("RUNNING", None)


def test_a_marker_that_nobody_can_read_stops_rsync_too_and_no_upgrade_removes_it(nodes: RsyncNodes) -> None:
    control = nodes.control()
    control.pause(UPGRADE)
    nodes.tell("echo nonsense > /var/lib/reconciler-node/pairs/web/rsync-pause-873")
    pause = control.look().pause
    assert pause is not None
    assert (pause.reason, pause.by) == ("MANUAL", "somebody")
    with pytest.raises(BlockedError):
        control.resume("UPGRADE")
    control.resume("MANUAL")
    assert control.look().status == "RUNNING"


def test_on_the_backup_comes_back_what_ran_and_nothing_else(nodes: RsyncNodes) -> None:
    with_timers(nodes, "backup")
    nodes.tell("systemctl disable --now rsync 2>/dev/null", "backup")
    before = nodes.state("backup")
    control = nodes.control("backup", timers=TIMERS)
    control.pause(UPGRADE)
    assert control.look().timers == ()
    control.resume("UPGRADE")
    control.forget()
    assert nodes.state("backup") == before
    absent = nodes.control("backup", unit="nothing", port=9999, timers=("nothing.timer", "/etc/cron.d/nothing"))
    absent.pause(UPGRADE)
    seen = absent.look()
    assert (seen.status, seen.exists, seen.pause, seen.timers) == ("STOPPED", False, UPGRADE, ())
    absent.resume("UPGRADE")
    assert (absent.look().status, absent.look().pause) == ("STOPPED", None)


def test_on_the_master_the_daemon_is_started_whatever_ran_before(nodes: RsyncNodes) -> None:
    control = nodes.control()
    nodes.tell("systemctl stop rsync")
    control.pause(UPGRADE)
    control.resume("UPGRADE")
    assert control.look().status == "RUNNING"
    nodes.tell("systemctl stop rsync")
    control.resume("UPGRADE")
    assert control.look().status == "RUNNING"


def test_a_daemon_that_a_socket_starts_is_paused_by_its_socket(nodes: RsyncNodes) -> None:
    units = "/etc/systemd/system"
    nodes.tell(f"printf '[Socket]\\nListenStream={OTHER_PORT}\\nAccept=yes\\n' > {units}/lazy.socket")
    serve = "[Service]\\nExecStart=-/usr/bin/rsync --daemon\\nStandardInput=socket\\n"
    nodes.tell(f"printf '{serve}' > {units}/lazy@.service; systemctl daemon-reload; systemctl start lazy.socket")
    control = nodes.control(unit="lazy", port=OTHER_PORT)
    seen = control.look()
    assert (seen.status, seen.exists, seen.timers) == ("RUNNING", True, ("lazy.socket",))
    nodes.tell(TRANSFER.replace(f":{PORT}/", f":{OTHER_PORT}/"))
    until(lambda: control.look().children > 0, "the transfer begins")
    control.pause(UPGRADE)
    seen = control.look()
    assert (seen.status, seen.timers, seen.children) == ("STOPPED", (), 0)
    nodes.tell("systemctl start lazy.socket")
    assert control.look().status == "STOPPED"
    control.resume("UPGRADE")
    seen = control.look()
    assert (seen.status, seen.timers) == ("RUNNING", ("lazy.socket",))
    assert nodes.tell(f"rsync rsync://127.0.0.1:{OTHER_PORT}/data/conf/ | wc -l") != "0"
    nodes.tell("systemctl stop lazy.socket")


def test_a_connection_to_somewhere_else_from_its_port_is_no_transfer(nodes: RsyncNodes) -> None:
    nodes.tell("systemctl stop rsync")
    nodes.tell(f"cat > /srv/connect.py <<'END'\n{CONNECT}END")
    pid = nodes.tell("setsid python3 /srv/connect.py >/dev/null 2>&1 </dev/null & echo $!")
    until(lambda: nodes.run(f"grep -q ':{PORT:04X} .* 01 ' /proc/net/tcp").returncode == 0, "it is connected")
    control = nodes.control()
    assert (control.look().status, control.look().children) == ("STOPPED", 0)
    control.pause(UPGRADE)
    nodes.tell(f"kill {pid}")


def test_stopping_again_leaves_no_mark_and_keeps_a_pause(nodes: RsyncNodes) -> None:
    control = nodes.control()
    control.stop()
    assert (control.look().status, control.look().pause) == ("STOPPED", None)
    nodes.tell("systemctl start rsync")
    control.pause(UPGRADE)
    control.stop()
    assert (control.look().status, control.look().pause) == ("STOPPED", UPGRADE)


def test_forgetting_puts_back_what_was_moved_and_starts_nothing(nodes: RsyncNodes) -> None:
    with_timers(nodes)
    control = nodes.control(timers=TIMERS)
    before = nodes.state()
    control.pause(UPGRADE)
    control.forget()
    assert control.look().status == "STOPPED"
    nodes.tell("systemctl start rsync config-sync.timer")
    assert nodes.state() == before
    control.forget()
    assert nodes.run("test -e /var/lib/reconciler-node/pairs").returncode == 1


def test_a_file_of_cron_that_came_meanwhile_stays_and_the_older_one_is_kept(nodes: RsyncNodes) -> None:
    with_timers(nodes)
    control = nodes.control(timers=TIMERS)
    control.pause(UPGRADE)
    nodes.tell(f"echo '# new' > {CRON}")
    control.resume("UPGRADE")
    assert nodes.tell(f"cat {CRON}") == "# new"
    assert nodes.tell("cat /etc/cron.d/.sync.reconciler-paused-older") == "0 5 * * * root true"
    assert "is a new one" in "".join(nodes.said)
    control.pause(UPGRADE)
    nodes.tell(f"echo '# newer' > {CRON}")
    control.pause(UPGRADE)
    assert nodes.run(f"test -e {CRON}").returncode == 1
    control.resume("UPGRADE")
    assert nodes.tell(f"cat {CRON}") == "# newer"


@pytest.mark.parametrize("every", [0.3, pytest.param(0.02, marks=pytest.mark.soak)])
def test_killed_anywhere_it_is_finished_by_being_run_again(nodes: RsyncNodes, every: float) -> None:
    with_timers(nodes)
    before = nodes.state()
    counted = RsyncControl(counting := nodes.counting(), spec_of(timers=TIMERS), PAIR)
    counted.pause(UPGRADE)
    of_pause, marker = counting.counted, nodes.marker()
    counted.resume("UPGRADE")
    of_resume, control = counting.counted, nodes.control(timers=TIMERS)
    assert min(of_pause, of_resume) > 100
    parts = [every * number for number in range(1, int(1 / every) + 1)]
    deaths = 0
    for part in parts:  # how often something is waited for differs, so one near the end may not be reached
        dying = RsyncControl(nodes.dying(round(part * of_pause)), spec_of(timers=TIMERS), PAIR)
        deaths += fails(lambda: dying.pause(UPGRADE))  # noqa: B023 - called at once
        control.pause(UPGRADE)
        assert (control.look().status, nodes.marker()) == ("STOPPED", marker), part
        dying = RsyncControl(nodes.dying(round(part * of_resume)), spec_of(timers=TIMERS), PAIR)
        deaths += fails(lambda: dying.resume("UPGRADE"))  # noqa: B023 - likewise
        control.resume("UPGRADE")
        control.forget()
        assert nodes.state() == before, part
    assert deaths >= len(parts)


def fails(call: Callable[[], None]) -> bool:
    try:
        call()
    except TerminalError:
        return True
    return False


def test_an_operator_does_it_by_sudo_and_not_without(nodes: RsyncNodes) -> None:
    place = replace(nodes.ground.place("master"), user="operator")
    with Ssh(place) as ssh:
        by_sudo = RsyncControl(Node(NodeSpec("master", place, "sudo"), ssh), spec_of(), PAIR)
        without = RsyncControl(Node(NodeSpec("master", place), ssh), spec_of(), PAIR)
        with pytest.raises(TerminalError, match=r"rsync\.service.*cannot be written"):
            without.pause(UPGRADE)
        assert nodes.control().look().status == "RUNNING"
        by_sudo.pause(UPGRADE)
        assert (by_sudo.look().status, nodes.control().look().pause) == ("STOPPED", UPGRADE)
        by_sudo.resume("UPGRADE")
        assert by_sudo.look().status == "RUNNING"


def test_one_of_us_waits_for_another(nodes: RsyncNodes) -> None:
    control = nodes.control()
    control.pause(UPGRADE)
    nodes.tell(
        "setsid flock /var/lib/reconciler-node/pairs/web/lock-873 sleep 1.5 >/dev/null 2>&1 </dev/null & sleep 0.3"
    )
    began = time.monotonic()
    control.resume("UPGRADE")
    assert time.monotonic() - began > 0.5
    assert control.look().status == "RUNNING"
