"""The ground itself: what a test left behind is gone for the next one, and the client sees when nobody serves."""

from __future__ import annotations

import re
import time

import pytest
from pair import Pair
from pair_faults import cut_off, fault, set_clock
from pair_ground import NEW, NEW_TEXT, OLD, OLD_TEXT, Ground, until
from pair_invariants import invariants
from pair_serving import ServingClient

from reconciler.kinds.node_pair.spec import ROLES

MESS = """mkdir -p /var/lib/reconciler-node/pairs/lab && touch /var/lib/reconciler-node/pairs/lab/marker
systemctl mask --now rsync config-sync.timer
echo changed > /srv/data/conf/app.conf; chattr +i /srv/data/conf/app.conf
mkdir -p /etc/systemd/system/rsync.service.d; printf '[Unit]\\n' > /etc/systemd/system/rsync.service.d/x.conf
/opt/service/ctl stop; VERSION=9.9 /opt/service/ctl install; /opt/service/ctl start
SERVING=master /opt/service/ctl switchover || true"""

TWICE = """at=/var/lib/reconciler-node/0123456789ab-start-master; mkdir -p $at
echo '/opt/service/ctl start' > $at/script; sh $at/script; sh $at/script"""


def test_a_reset_puts_everything_back(ground: Ground) -> None:
    for role in ROLES:
        ground.run(role, MESS)
        fault(ground, role, "version")
        set_clock(ground, role, 3600)
    ground.reset()
    for role in ROLES:
        assert ground.said(role, "/opt/service/ctl version") == OLD
        assert (ground.data(role) / "conf/app.conf").read_text() == OLD_TEXT
        assert ground.said(role, "systemctl is-active rsync small") == "active\nactive"
        assert ground.run(role, "systemctl cat rsync").stdout.count("x.conf") == 0
        assert not ground.state(role).exists()
        assert abs(float(ground.said(role, "date +%s")) - time.time()) < 300
        assert [call.name for call in ground.calls(role)] == ["version"]
    assert ground.said("backup", "systemctl is-active config-sync.timer") == "active"
    assert [ground.run(role, "/opt/service/ctl serving").returncode for role in ROLES] == [0, 1]


def test_the_client_sees_when_nobody_serves_and_only_then(ground: Ground) -> None:
    ground.reset()
    with ServingClient(ground) as client:
        ground.said("backup", "SERVING=master /opt/service/ctl switchover")
        ground.said("master", "SERVING=backup /opt/service/ctl switchback")
        ground.said("backup", "/opt/service/ctl stop && /opt/service/ctl start")
        with cut_off(ground, "master"):
            passes = client.passes
            until(lambda: client.passes > passes + 10, "it goes on asking")
        assert client.gaps == []
        with client.excused():
            ground.said("master", "/opt/service/ctl stop && sleep 0.2 && /opt/service/ctl start")
            passes = client.passes
            until(lambda: client.passes > passes + 5, "it goes on asking")
        assert client.gaps == []
        ground.said("master", "/opt/service/ctl stop && sleep 0.3 && /opt/service/ctl start")
        passes = client.passes
        until(lambda: client.passes > passes + 5, "it goes on asking")
    assert len(client.gaps) == 1
    assert "nobody served for" in str(client.gaps[0])


def test_a_call_is_known_by_the_command_that_it_ran_in(ground: Ground) -> None:
    ground.reset()
    folder = "/var/lib/reconciler-node/0123456789ab-stop-backup"
    ground.said("backup", f"mkdir -p {folder} && echo '/opt/service/ctl stop' > {folder}/script && sh {folder}/script")
    ground.said("backup", f"VERSION={NEW} /opt/service/ctl prepare")
    assert [(call.name, call.under, call.ended) for call in ground.calls("backup")] == [
        ("stop", "0123456789ab-stop-backup", 0),
        ("prepare", "", 0),
    ]


WRONG = {
    "rsync or its timer does not run on the master": "systemctl stop rsync",
    "on the master is still locked: /srv/data/conf/app.conf": "chattr +i /srv/data/conf/app.conf",
    "the configuration of the master is neither": "echo half >> /srv/data/conf/app.conf",
    "the configurations differ, and nobody is asked": f"printf '{NEW_TEXT}' > /srv/data/conf/app.conf",
    "the root keys differ": "echo x > /srv/data/conf/root.key",
    "start ran on the master on a connection": "/opt/service/ctl start",
    "start ran 2 times on the master as 0123456789ab-start-master": TWICE,
    "upgrade 0123456789ab ran commands on a node and has no row": TWICE,
}


def test_what_always_holds_is_missed_when_it_does_not(pair: Pair) -> None:
    invariants(pair)
    for why, script in WRONG.items():
        pair.ground.said("master", script)
        with pytest.raises(AssertionError, match=re.escape(why)):
            invariants(pair)
        pair.ground.reset()
    (pair.place.home / "log").write_text(f"it said {pair.ground.root_key}")
    with pytest.raises(AssertionError, match="the root key is in home/log"):
        invariants(pair)


def test_plain_nodes_are_put_back_too(plain_ground: Ground) -> None:
    for role in ROLES:
        tool = '"$LAB_NODE/service/ctl"'
        plain_ground.run(role, f'{tool} stop; VERSION=9 {tool} install; {tool} start; "$LAB_NODE/control" stop')
        plain_ground.run(role, "mkdir -p /var/lib/reconciler-node/pairs; echo x > /var/lib/reconciler-node/pairs/y")
    plain_ground.reset()
    for role in ROLES:
        assert plain_ground.said(role, '"$LAB_NODE/service/ctl" version; "$LAB_NODE/control" status') == OLD
        assert not plain_ground.state(role).exists()
