"""What goes wrong when rsync is paused or resumed: each is told with what to check, and can be tried again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pair_ground import Ground
from rsync_nodes import OTHER_PORT, UPGRADE, PathNode, RsyncNodes, nodes_of

from reconciler.errors import TerminalError


@pytest.fixture
def nodes(ground: Ground) -> Iterator[RsyncNodes]:
    with nodes_of(ground) as made:
        yield made


def test_a_pause_that_fails_says_what_to_check_and_can_be_taken_back(nodes: RsyncNodes) -> None:
    missing = nodes.control(unit="nothing")
    with pytest.raises(
        TerminalError, match=r"there is no unit nothing\.service; check `systemctl status nothing"
    ) as one:
        missing.pause(UPGRADE)
    assert one.value.reason == "PauseFailed"
    assert missing.look().pause == UPGRADE, "it is tried again later"
    with pytest.raises(TerminalError, match=r"listens on port 873.*ss -ltnp 'sport = :873'") as two:
        missing.stop()
    assert two.value.reason == "StillRunning"
    with pytest.raises(TerminalError, match=r"nothing\.service not found") as three:
        missing.resume("UPGRADE")
    assert three.value.reason == "ResumeFailed"
    missing.forget()
    assert missing.look().pause is None
    nodes.tell("systemctl is-active rsync")


def test_a_daemon_that_ignores_being_stopped_is_told_of(nodes: RsyncNodes) -> None:
    nodes.tell("printf '#!/bin/sh\\ntrap \"\" TERM\\nwhile :; do sleep 1; done\\n' > /srv/deaf; chmod 755 /srv/deaf")
    nodes.tell(
        "printf '[Service]\\nExecStart=/srv/deaf\\nTimeoutStopSec=infinity\\n' > /etc/systemd/system/deaf.service"
    )
    nodes.tell("systemctl daemon-reload; systemctl start deaf")
    control = nodes.control(unit="deaf", port=OTHER_PORT, stop_timeout=1.0)
    try:
        with pytest.raises(TerminalError, match=r"systemctl stop ended with 124.*deaf\.service is deactivating"):
            control.pause(UPGRADE)
        assert (control.look().status, control.look().pause) == ("RUNNING", UPGRADE)
    finally:
        nodes.tell("systemctl kill --signal=KILL deaf.service")


def test_a_daemon_that_does_not_start_is_told_of_and_may_be_tried_again(nodes: RsyncNodes) -> None:
    control = nodes.control()
    control.pause(UPGRADE)
    broken = "/etc/systemd/system/rsync.service.d/broken.conf"
    nodes.tell(f"printf '[Service]\\nExecStartPre=/bin/false\\nRestart=no\\n' > {broken}")
    for _ in range(2):
        with pytest.raises(
            TerminalError, match=r"systemctl start ended with 1.*check `systemctl status rsync"
        ) as caught:
            control.resume("UPGRADE")
        assert caught.value.reason == "ResumeFailed"
        assert (control.look().status, control.look().pause) == ("STOPPED", UPGRADE)
    nodes.tell(f"rm {broken}; mv /etc/rsyncd.conf /etc/rsyncd.kept")
    with pytest.raises(TerminalError, match=r"nothing listens on port 873 .*: a condition of the unit is not met"):
        control.resume("UPGRADE")
    nodes.tell("mv /etc/rsyncd.kept /etc/rsyncd.conf")
    control.resume("UPGRADE")
    assert (control.look().status, control.look().pause) == ("RUNNING", None)


def test_what_cannot_be_seen_is_not_stopped(nodes: RsyncNodes) -> None:
    nodes.tell("mkdir /srv/first; printf '#!/bin/sh\\necho no bus >&2; exit 1\\n' > /srv/first/systemctl")
    nodes.tell("chmod 755 /srv/first/systemctl")
    blind = nodes.control(kind=PathNode)
    with pytest.raises(TerminalError, match="systemctl does not answer: no bus") as caught:
        blind.look()
    assert caught.value.reason == "RsyncUnknown"
    with pytest.raises(TerminalError, match="no bus") as caught:
        blind.pause(UPGRADE)
    assert caught.value.reason == "PauseFailed"
    assert nodes.control().look().status == "RUNNING"


def test_on_a_full_disk_it_is_stopped_all_the_same(nodes: RsyncNodes) -> None:
    nodes.tell(
        "mkdir -p /var/lib/reconciler-node; mount -t tmpfs -o size=4k,nr_inodes=1 tmpfs /var/lib/reconciler-node"
    )
    control = nodes.control()
    try:
        with pytest.raises(TerminalError, match="rsync-pause-873 cannot be written, so the pause does not survive"):
            control.pause(UPGRADE)
        assert (control.look().status, control.look().pause) == ("STOPPED", None)
        nodes.tell("systemctl start rsync")
        control.stop()
        assert control.look().status == "STOPPED"
    finally:
        nodes.tell("umount /var/lib/reconciler-node")
