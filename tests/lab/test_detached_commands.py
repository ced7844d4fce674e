"""Commands that outlive their connection, on the lab's nodes: at most once, whatever happens to link, sshd and host."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab_nodes import PLAIN, ROOTED, place_of

from reconciler.errors import DeadlineError, TerminalError, TransientError
from reconciler.lab import labs
from reconciler.lab.network import link_of
from reconciler.lab.record import Lab
from reconciler.transports.ssh import Ssh
from reconciler.transports.ssh_detached import DetachedCommands, Found


@dataclass
class Host:
    """A node with its commands. folder: for files of tests, on the node's own disk."""

    home: Path
    lab: Lab
    ssh: Ssh
    commands: DetachedCommands
    folder: str

    def said(self, command: str) -> str:
        return self.ssh.run(command, timeout=30).stdout.strip()


def until(path: str) -> str:
    """A script that waits for a file."""
    return f"while ! test -e {path}; do sleep 0.05; done"


def runs(host: Host, name: str) -> Found:
    """Wait until a command that was started does run."""
    give_up = time.monotonic() + 20
    while (found := host.commands.ask(name)).standing == "never" and time.monotonic() < give_up:
        time.sleep(0.05)
    assert found.standing == "running"
    return found


@pytest.fixture(scope="module", params=[ROOTED, PLAIN])
def lab_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("lab")
    labs.up(home, request.param)
    yield home
    labs.down(home)


@pytest.fixture
def host(lab_home: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    lab = labs.look(lab_home)
    assert lab is not None
    folder = "/srv" if lab.variant == "rooted" else str(lab_home)
    with Ssh(place_of(lab_home, lab, "master")) as ssh:
        base = f"{folder}/commands"
        yield Host(lab_home, lab, ssh, DetachedCommands(ssh, base=base), folder)
        ssh.run(f"rm -rf {base} {folder}/count*", timeout=30)


def test_it_says_what_it_said_and_how_it_ended(host: Host) -> None:
    heard: list[str] = []
    host.commands.start("test-one", "echo $GREETING; echo err >&2; exit 3", timeout=20, env={"GREETING": "it's me"})
    found = host.commands.wait("test-one", timeout=20, on_output=heard.append)
    assert (found.standing, found.status, "".join(heard)) == ("ended", 3, "it's me\nerr\n")
    host.commands.forget("test-one")
    assert host.commands.ask("test-one").standing == "never"


def test_however_often_it_is_started_it_runs_once(host: Host) -> None:
    script = f"echo run >> {host.folder}/count; sleep 0.5"
    threads = [
        threading.Thread(target=host.commands.start, args=("test-once", script), kwargs={"timeout": 20})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    host.commands.start("test-once", script, timeout=20)
    assert host.commands.wait("test-once", timeout=20).status == 0
    host.commands.start("test-once", script, timeout=20)
    time.sleep(0.3)
    assert host.said(f"cat {host.folder}/count") == "run"


def test_it_goes_on_when_its_connection_is_gone(host: Host) -> None:
    go = f"{host.folder}/count-go"
    host.commands.start("test-gone", f"{until(go)}; echo done > {host.folder}/count", timeout=60)
    host.ssh.close()
    runs(host, "test-gone")
    host.said(f"touch {go}")
    assert host.commands.wait("test-gone", timeout=20).status == 0
    assert host.said(f"cat {host.folder}/count") == "done"


def test_past_its_deadline_the_host_ends_it(host: Host) -> None:
    host.commands.start("test-late", "sleep 600", timeout=1)
    assert host.commands.wait("test-late", timeout=20).status == 124


def test_who_waits_no_longer_leaves_it_running(host: Host) -> None:
    host.commands.start("test-long", "sleep 600", timeout=30)
    with pytest.raises(DeadlineError):
        host.commands.wait("test-long", timeout=0.3)
    stop = TransientError("ShuttingDown", "stopped")

    def sleep(_seconds: float) -> None:
        raise stop

    with pytest.raises(TransientError) as caught:
        host.commands.wait("test-long", timeout=20, sleep=sleep)
    assert caught.value is stop
    runs(host, "test-long")


def test_what_it_says_without_end_is_bounded_and_does_not_stop_it(host: Host) -> None:
    host.commands.start("test-loud", "head -c 3000000 /dev/zero | tr '\\0' x; echo ready >&2; exit 5", timeout=30)
    assert host.commands.wait("test-loud", timeout=30).status == 5
    assert host.said(f"stat -c %s {host.folder}/commands/test-loud/log") == "1000000"


def test_what_it_leaves_behind_goes_on_and_holds_nothing_up(host: Host) -> None:
    host.commands.start("test-daemon", f"setsid sleep 30 & echo $! > {host.folder}/count", timeout=20)
    found = host.commands.wait("test-daemon", timeout=10)
    assert (found.standing, found.status) == ("ended", 0)
    pid = host.said(f"cat {host.folder}/count")
    assert host.said(f"kill -0 {pid} && echo alive; kill {pid}") == "alive"


def test_one_whose_runner_was_killed_still_runs_until_it_is_gone(host: Host) -> None:
    go = f"{host.folder}/count-go"
    host.commands.start("test-killed", until(go), timeout=60)
    runs(host, "test-killed")
    host.said(f"read pid start < {host.folder}/commands/test-killed/running/pid; kill -9 $pid")
    runs(host, "test-killed")
    host.said(f"touch {go}")
    assert host.commands.wait("test-killed", timeout=20).standing == "interrupted"


def test_nobody_else_may_read_what_runs(host: Host) -> None:
    host.commands.start("test-private", "true", timeout=20)
    assert host.said(f"stat -c %a {host.folder}/commands {host.folder}/commands/test-private").split() == ["700", "700"]


@pytest.mark.parametrize("name", ["../x", "", "A", "a b", "a;b", "-x", "x" * 101])
def test_a_name_that_is_none_reaches_no_host(host: Host, name: str) -> None:
    with pytest.raises(TerminalError):
        host.commands.start(name, "true", timeout=5)


def test_a_reboot_interrupts_it_and_a_cut_cable_does_not(host: Host) -> None:
    if host.lab.variant != "rooted":
        pytest.skip("only machines reboot")
    host.commands.start("test-cut", "sleep 1", timeout=20)
    runs(host, "test-cut")
    link = link_of(host.lab, "master")
    subprocess.run(["ip", "link", "set", link, "down"], check=True)
    time.sleep(1.5)
    subprocess.run(["ip", "link", "set", link, "up"], check=True)
    host.ssh.close()
    assert host.commands.wait("test-cut", timeout=20).status == 0
    host.commands.start("test-boot", "sleep 600", timeout=600)
    before = runs(host, "test-boot")
    host.said("systemd-run --quiet --on-active=0.2 --timer-property=AccuracySec=10ms systemctl reboot")
    node, give_up = host.lab.node("master"), time.monotonic() + 60
    while labs.answers(node) and time.monotonic() < give_up:
        time.sleep(0.05)
    while not labs.answers(node) and time.monotonic() < give_up:
        time.sleep(0.05)
    host.ssh.close()
    after = host.commands.ask("test-boot")
    assert (after.standing, after.boot_id) == ("interrupted", before.boot_id)


def test_an_operator_becomes_root_by_sudo(host: Host) -> None:
    if host.lab.variant != "rooted":
        pytest.skip("only machines have an operator")
    with Ssh(place_of(host.home, host.lab, "backup", "operator")) as ssh:
        as_root, as_self = DetachedCommands(ssh, ("sudo", "-n")), DetachedCommands(ssh)
        heard: list[str] = []
        as_root.start("test-root", "id -un", timeout=20)
        as_root.wait("test-root", timeout=20, on_output=heard.append)
        assert as_self.ask("test-root").standing == "never"
        as_self.start("test-self", "id -un", timeout=20)
        as_self.wait("test-self", timeout=20, on_output=heard.append)
        assert "".join(heard) == "root\noperator\n"
