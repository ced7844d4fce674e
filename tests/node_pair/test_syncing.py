"""Synchronizations between two real nodes with a real rsync daemon: what they do, what they refuse, how they end."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest
from pair_ground import Ground, until
from pair_nodes import PAIR, busybox_node, configuration_spec, node_of
from pair_store import spec_of

from reconciler.errors import TerminalError, WaitingError
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.spec import NodePairSpec, NodeSpec, Role, SyncSpec
from reconciler.kinds.node_pair.syncing import UNKNOWN_SUM, Synced, preview, synchronize
from reconciler.transports.ssh import Ssh

ODD = "a b'\"\n-c"
FILL = f"""rm -rf /srv/data/conf2 /srv/app; mkdir -p /srv/data/conf2/sub /srv/app/sub; cd /srv/data/conf2
echo one >one; echo two >'{ODD.replace("'", "'" + chr(92) + "''")}'; echo three >sub/-three; ln -s one link
cp -a . /srv/app; rm /srv/app/sub/-three; echo old >/srv/app/one; echo extra >/srv/app/extra
find /srv/data/conf2 /srv/app -exec touch -h -d @1700000000 {{}} +"""
"""What differs on both is of the same size and time: rsync would take it for the same without a checksum."""


@dataclass
class Syncing:
    """Both nodes, what a pair says of its synchronization, and what was heard of it."""

    ground: Ground
    nodes: Mapping[Role, Node]
    spec: NodePairSpec
    said: list[str] = field(default_factory=list)
    alarms: list[tuple[str, str]] = field(default_factory=list)

    def run(self, **rsync: object) -> Synced:
        assert self.spec.rsync is not None
        spec = replace(self.spec, rsync=replace(self.spec.rsync, **rsync))  # type: ignore[arg-type]
        return synchronize(self.nodes, spec, log=self.said.append, alarm=lambda *told: self.alarms.append(told))

    def command(self, command: str, dry_run: str = "", **rsync: object) -> Synced:
        return self.run(sync=SyncSpec(command, dry_run), **rsync)

    def listing(self, role: Role, folder: str) -> str:
        return self.ground.said(role, f"cd {folder}; find . | sort; cat one; cat extra 2>/dev/null || true")


@pytest.fixture(scope="module")
def nodes(machines: Ground) -> Iterator[dict[Role, Node]]:
    with node_of(machines, "master", patience=2.0) as master, node_of(machines, "backup", patience=2.0) as backup:
        for node in (master, backup):
            node.read("true")  # the connection is the module's, not that of a test
        yield {"master": master, "backup": backup}


@pytest.fixture
def syncing(ground: Ground, nodes: dict[Role, Node]) -> Syncing:
    for role in ("master", "backup"):
        ground.said(role, FILL)
    values = {
        "master": {"address": nodes["master"].address},
        "backup": {"address": nodes["backup"].address},
        "version": "2.0",
        "commands": {"version": "true"},
        "rsync": {"sync": {"module": "data", "paths": {"conf2": "/srv/app"}}, "timeout": "30s"},
    }
    spec = replace(spec_of(PAIR, values), configuration=configuration_spec("/srv/app"))
    ground.said("master", "rm -rf /srv/app; cp -a /srv/data/conf2 /srv/app")  # what the checksums are of
    return Syncing(ground, nodes, spec)


def rsyncs(ground: Ground) -> str:
    """The rsync and sleep processes on the backup that are none of the daemon's."""
    return ground.run("backup", "pgrep -a 'rsync|sleep' | grep -v -e --daemon -e config-sync || true").stdout.strip()


def test_what_differs_is_named_and_then_alike(syncing: Syncing) -> None:
    seen = preview(syncing.nodes, syncing.spec, log=syncing.said.append)
    before = syncing.listing("backup", "/srv/app")
    assert "extra" in before, "a preview changes nothing"
    synced = syncing.run()
    expected = {
        ("/srv/app/one", "updated", "ok"),
        ("/srv/app/sub/-three", "created", "ok"),
        ("/srv/app/extra", "deleted", "ok"),
    }
    assert {(one.path, one.action, one.status) for one in synced.files} == expected
    assert (seen.files, seen.deletions, seen.error) == (synced.files, 1, "")
    assert (synced.status, synced.error, syncing.alarms) == ("SUCCESS", "", [])
    assert synced.checksum_before == synced.checksum_after != UNKNOWN_SUM
    assert len(synced.checksum_after) == 64
    assert 0 < synced.duration < 30
    assert abs(synced.started_at - time.time()) < 60
    assert syncing.listing("backup", "/srv/app") == syncing.listing("master", "/srv/app")
    again = syncing.run()
    assert (again.status, again.files) == ("SUCCESS", ())


def test_more_deletions_than_the_limit_and_nothing_is_done(syncing: Syncing) -> None:
    syncing.ground.said("backup", "cd /srv/app; touch x1 x2 x3")
    before = syncing.listing("backup", "/srv/app")
    synced = syncing.run(max_delete=3)
    assert synced.status == "FAILED"
    assert "would delete 4 files, and the limit is 3 (maxDelete)" in synced.error
    assert "nothing was done" in synced.error
    assert [reason for reason, _ in syncing.alarms] == ["TooManyDeletions"]
    assert (synced.files, syncing.listing("backup", "/srv/app")) == ((), before)
    assert synced.checksum_before != synced.checksum_after
    assert syncing.run(max_delete=4).status == "SUCCESS"


def test_an_emptied_or_a_missing_source_deletes_nothing(syncing: Syncing) -> None:
    syncing.ground.said("master", "mv /srv/data/conf2 /srv/data/away")
    before = syncing.listing("backup", "/srv/app")
    gone = syncing.run()
    assert gone.status == "PARTIAL"
    syncing.ground.said("master", "mkdir /srv/data/conf2")
    assert syncing.run(max_delete=2).status == "FAILED"
    assert syncing.listing("backup", "/srv/app") == before
    syncing.ground.said("master", "rm -rf /srv/data/away")


def test_some_files_that_fail_make_it_partial(syncing: Syncing) -> None:
    syncing.ground.said("backup", "chattr +i /srv/app/one")
    try:
        synced = syncing.run()
    finally:
        syncing.ground.said("backup", "chattr -i /srv/app/one")
    assert synced.status == "PARTIAL"
    assert "not all files could be synchronized (exit status 23)" in synced.error
    states = {one.path: one.status for one in synced.files}
    assert states["/srv/app/one"] == "failed"
    assert states["/srv/app/sub/-three"] == "ok"


def test_a_daemon_that_hangs_is_given_up_in_time_and_nothing_runs_on(syncing: Syncing) -> None:
    pid = syncing.ground.said("master", "cat /run/rsyncd.pid")
    syncing.ground.said("master", f"kill -STOP {pid}")
    try:
        synced = syncing.run(timeout=2.0)
    finally:
        syncing.ground.said("master", f"kill -CONT {pid}")
    assert synced.status == "TIMEOUT"
    assert "not done within 2 s" in synced.error
    assert synced.duration < 60
    assert rsyncs(syncing.ground) == ""


def test_a_command_and_all_that_it_started_is_killed_at_its_time_out(syncing: Syncing) -> None:
    stubborn = "(trap '' TERM; while :; do sleep 1; done) & sleep 600"
    synced = syncing.command(stubborn, timeout=2.0)
    assert synced.status == "TIMEOUT"
    until(lambda: rsyncs(syncing.ground) == "", "what the command started", 10)
    assert syncing.ground.run("backup", "pgrep -f '[w]hile :'").returncode == 1


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox")
def test_with_other_tools_it_is_the_same(syncing: Syncing) -> None:
    with busybox_node(syncing.ground, "backup") as small:
        syncing.nodes = {**syncing.nodes, "backup": small}
        synced = syncing.run()
        assert (synced.status, len(synced.files)) == ("SUCCESS", 3)
        late = syncing.command("(trap '' TERM; while :; do sleep 1; done) & sleep 600", timeout=2.0)
    assert late.status == "TIMEOUT"
    until(lambda: rsyncs(syncing.ground) == "", "what the command started", 10)
    until(lambda: syncing.ground.run("backup", "pgrep -f '[w]hile :'").returncode == 1, "what outlives the kill", 20)


def test_the_time_out_is_kept_on_a_node_that_nobody_can_reach(syncing: Syncing) -> None:
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(syncing.command("touch /srv/began; sleep 600", timeout=3.0))
        except WaitingError as error:
            ended.append(error)

    syncing.ground.said("backup", "rm -f /srv/began")
    with node_of(syncing.ground, "backup", patience=5.0) as backup:
        syncing.nodes = {**syncing.nodes, "backup": backup}
        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: syncing.ground.run("backup", "test -e /srv/began").returncode == 0, "it begins")
        backup.ssh.close()
        until(lambda: rsyncs(syncing.ground) == "", "the end of what nobody waits for", 30)
        thread.join(60)
    assert not thread.is_alive()
    assert isinstance(ended[0], Synced)
    assert ended[0].status == "TIMEOUT"


def test_a_command_of_the_spec_s_own_with_its_dry_run(syncing: Syncing) -> None:
    copy = "rsync -ac --delete --itemize-changes rsync://$PEER/data/conf2/ /srv/app/"
    refused = syncing.command(copy, f"{copy} --dry-run", max_delete=0)
    assert (refused.status, [one for one, _ in syncing.alarms]) == ("FAILED", ["TooManyDeletions"])
    synced = syncing.command(copy, f"{copy} --dry-run")
    assert synced.status == "SUCCESS"
    assert ("extra", "deleted") in {(one.path, one.action) for one in synced.files}
    assert synced.checksum_before == synced.checksum_after
    failed = syncing.command("echo it is broken >&2; exit 7")
    assert (failed.status, failed.files) == ("FAILED", ())
    assert "it is broken" in failed.error
    assert "neither a preview nor a limit" in "".join(syncing.said)


def test_why_it_failed_is_said(syncing: Syncing) -> None:
    assert syncing.spec.rsync is not None
    unknown = syncing.run(sync=SyncSpec(module="nothing", paths={".": "/srv/app"}))
    assert unknown.status == "FAILED"
    assert "the daemon refused (exit status 5)" in unknown.error
    closed = syncing.run(ports={"master": 9, "backup": 9})
    assert "there is no connection to the master's daemon (exit status 10)" in closed.error
    with pytest.raises(TerminalError, match=r"rsync\.sync"):
        syncing.run(sync=None)


def test_a_side_that_cannot_be_asked_has_a_checksum_of_zeros_and_it_is_said(syncing: Syncing) -> None:
    place = replace(syncing.ground.place("master"), port=9)
    with Ssh(place) as nobody:
        syncing.nodes = {**syncing.nodes, "master": Node(NodeSpec("master", place), nobody)}
        synced = syncing.run()
    assert synced.status == "SUCCESS"
    assert synced.checksum_before == UNKNOWN_SUM
    assert "the checksum of the master is not known" in synced.error
    assert synced.checksum_after != UNKNOWN_SUM
