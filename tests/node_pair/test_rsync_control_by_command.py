"""The same without units: by a script of /etc/init.d, and by commands of the spec on nodes that are only folders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pair_ground import Ground, until
from rsync_nodes import OTHER_PORT, UPGRADE, RsyncNodes, nodes_of

from reconciler.errors import TerminalError
from reconciler.kinds.node_pair.nodes.rsync_control import RsyncControl

SCRIPT = f"""#!/bin/sh
case $1 in
start) rsync --daemon --port={OTHER_PORT} --config=/srv/sysv.conf ;;
stop) test ! -e /srv/sysv.pid || kill "$(cat /srv/sysv.pid)" ;;
*) exit 3 ;;
esac
"""
CONF = "pid file = /srv/sysv.pid\\n[data]\\npath = /srv/data\\n"
STATUS = 'test -z "$(cat "$LAB_NODE/data/odd" 2>/dev/null)" || exit 77; "$LAB_NODE/control" status'


@pytest.fixture
def rooted(ground: Ground) -> Iterator[RsyncNodes]:
    with nodes_of(ground) as made:
        yield made


@pytest.fixture
def plain(plain_ground: Ground) -> Iterator[RsyncNodes]:
    with nodes_of(plain_ground) as made:
        yield made


def by_command(nodes: RsyncNodes, stop_timeout: float = 30.0, **changes: Any) -> RsyncControl:
    commands = {verb: f'"$LAB_NODE/control" {verb}' for verb in ("start", "stop", "status")}
    port = nodes.ground.lab.node("master").rsync_port
    return nodes.control(control="command", port=port, stop_timeout=stop_timeout, **{**commands, **changes})


def test_a_script_of_init_d_is_stopped_and_started(rooted: RsyncNodes) -> None:
    rooted.tell(f"printf '{CONF}' > /srv/sysv.conf; cat > /etc/init.d/other <<'END'\n{SCRIPT}END")
    control = rooted.control(control="sysv", unit="other", port=OTHER_PORT, timers=("/etc/cron.d/nothing",))
    assert (control.look().status, control.look().exists) == ("STOPPED", False)
    with pytest.raises(TerminalError, match=r"there is no /etc/init\.d/other; check `/etc/init\.d/other status`"):
        control.pause(UPGRADE)
    control.forget()
    rooted.tell("chmod 755 /etc/init.d/other; /etc/init.d/other start")
    try:
        until(lambda: control.look().status == "RUNNING", "it runs")
        control.pause(UPGRADE)
        seen = control.look()
        assert (seen.status, seen.exists, seen.pause) == ("STOPPED", True, UPGRADE)
        assert "a reboot may start it again" in seen.detail
        rooted.tell("systemctl is-active rsync")
        control.resume("UPGRADE")
        assert (control.look().status, control.look().pause) == ("RUNNING", None)
    finally:
        rooted.run("/etc/init.d/other stop; rm /etc/init.d/other")


def test_commands_of_the_spec_stop_and_start_it_and_transfers_end(plain: RsyncNodes) -> None:
    control = by_command(plain)
    seen = control.look()
    assert (seen.status, seen.exists, seen.pause, seen.children) == ("RUNNING", True, None, 0)
    port = plain.ground.lab.node("master").rsync_port
    plain.tell(
        'head -c 50000000 /dev/zero > "$LAB_NODE/data/big"; cd "$LAB_NODE"\n'
        f"setsid rsync --bwlimit=200 rsync://127.0.0.1:{port}/data/big copy </dev/null >/dev/null 2>&1 &"
    )
    until(lambda: control.look().children > 0, "the transfer begins")
    control.pause(UPGRADE)
    seen = control.look()
    assert (seen.status, seen.pause, seen.children) == ("STOPPED", UPGRADE, 0)
    assert "a reboot may start it again" in seen.detail
    control.pause(UPGRADE)
    with pytest.raises(TerminalError, match="start command ended with 7: no disk"):
        by_command(plain, start="echo no disk; exit 7").resume("UPGRADE")
    assert control.look().pause == UPGRADE
    control.resume("UPGRADE")
    control.resume("UPGRADE")
    assert (control.look().status, control.look().pause) == ("RUNNING", None)
    assert plain.tell('test ! -e "$LAB_NODE/copy" && echo none') == "none"


def test_commands_know_their_node_and_what_they_say_is_told(plain: RsyncNodes) -> None:
    control = by_command(plain, stop='echo "$ROLE:$PORT says no"; exit 1')
    port = plain.ground.lab.node("master").rsync_port
    said = f"the stop command ended with 1: master:{port} says no"
    with pytest.raises(TerminalError, match=rf"{said}.*rsync \(pid \d+\) listens on port {port}.*; check `echo"):
        control.pause(UPGRADE)
    with pytest.raises(TerminalError, match=said) as caught:
        control.stop()
    assert caught.value.reason == "StillRunning"
    deaf = by_command(plain, stop_timeout=1.0, stop="sleep 60")
    with pytest.raises(TerminalError, match="the stop command ended with 124"):
        deaf.pause(UPGRADE)
    assert (control.look().status, control.look().pause) == ("RUNNING", UPGRADE)
    by_command(plain).forget()
    assert control.look().pause is None


def test_a_status_that_is_no_answer_is_unknown(plain: RsyncNodes) -> None:
    plain.tell('echo odd > "$LAB_NODE/data/odd"')
    odd = by_command(plain, status=STATUS)
    with pytest.raises(TerminalError, match="the status command ended with 77") as caught:
        odd.look()
    assert caught.value.reason == "RsyncUnknown"
    plain.tell('rm "$LAB_NODE/data/odd"')
    assert odd.look().status == "RUNNING"
    lies = by_command(plain, status="exit 3")
    assert lies.look().status == "RUNNING", "somebody listens on its port"
    boasts = by_command(plain, status="true")
    by_command(plain).stop()
    assert boasts.look().status == "RUNNING"
    assert by_command(plain).look().status == "STOPPED"


def test_whatever_stands_in_a_name_reaches_the_node_as_it_is(plain: RsyncNodes) -> None:
    odd = ("/etc/cron.d/$(touch $LAB_NODE/data/pwned)", "/etc/cron.d/a b';touch x", "/etc/cron.d/-n")
    control = by_command(plain, status='test \'a  b*\' = "a  b*" && "$LAB_NODE/control" status', timers=odd)
    control.pause(UPGRADE)
    assert control.look().status == "STOPPED"
    control.resume("UPGRADE")
    assert plain.tell('ls "$LAB_NODE/data"').count("pwned") == 0
