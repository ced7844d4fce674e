"""The lab: nodes that can be logged in to, gone without a trace when they are taken down, whenever they were killed."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_nodes import ROOTED, VARIANTS, place_of

from reconciler.errors import TerminalError
from reconciler.lab import labs, plain
from reconciler.lab.commands import missing
from reconciler.lab.network import link_of
from reconciler.lab.record import Lab
from reconciler.transports.ssh import Ssh

MAKE = "import sys, pathlib; from reconciler.lab import labs; labs.up(pathlib.Path(sys.argv[1]), sys.argv[2])"
RECONCILER = [sys.executable, "-m", "reconciler.cli.main"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    labs.down(tmp_path)


def said(home: Path, lab: Lab, name: str, command: str) -> str:
    with Ssh(place_of(home, lab, name)) as one:
        done = one.run(command, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def traces(home: Path, lab: Lab) -> list[str]:
    """What is left of a lab outside of its folder."""
    found: list[str] = []
    if shutil.which("ip"):
        found += [line for line in _words("ip", "netns") if lab.name in line]
        found += [line for line in _words("ip", "-o", "link") if lab.name in line]
    for root in ("unified", "systemd", "."):
        found += [str(path) for path in Path("/sys/fs/cgroup", root).glob(f"*{lab.name}*")]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = process.read_bytes()
        except OSError:
            continue
        if lab.name.encode() in text or f"{home}/lab/".encode() in text:
            found.append(text.decode())
    return found


def _words(*argv: str) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_nodes_take_commands_and_each_other_s_files(home: Path, variant: str) -> None:
    lab = labs.up(home, variant)
    master, backup = lab.node("master"), lab.node("backup")
    assert said(home, lab, "master", "echo here") == "here"
    data = "/srv/data" if variant == "rooted" else f"{home}/lab/master/data"
    said(home, lab, "master", f"echo hello > {data}/greeting")
    source = f"rsync://{master.address}:{master.rsync_port}/data/greeting"
    copy = home / "copy" if variant == "plain" else Path("/tmp/copy")
    assert said(home, lab, "backup", f"rsync {source} {copy} && cat {copy}") == "hello"
    assert backup.processes != master.processes
    assert labs.up(home) == lab, "a lab that runs is left as it is"
    assert labs.down(home)
    assert traces(home, lab) == []
    assert not labs.down(home)


@pytest.mark.parametrize("variant", [ROOTED])
def test_a_machine_has_a_real_systemd_and_survives_a_reboot(home: Path, variant: str) -> None:
    lab = labs.up(home, variant)
    assert said(home, lab, "master", "cat /proc/1/comm; systemctl is-system-running --wait") == "systemd\nrunning"
    said(home, lab, "master", "systemctl stop rsync")
    assert said(home, lab, "master", "systemctl is-active rsync || true") == "inactive"
    assert said(home, lab, "backup", "systemctl is-active rsync") == "active"
    soon = "systemd-run --quiet --on-active=0.2 --timer-property=AccuracySec=10ms systemctl reboot"
    said(home, lab, "master", f"touch /srv/data/kept /run/lost; {soon}")
    give_up = time.monotonic() + 60
    while labs.answers(lab.node("master")):
        assert time.monotonic() < give_up, "it does not reboot"
        time.sleep(0.05)
    while not labs.answers(lab.node("master")):
        assert time.monotonic() < give_up, "it does not come back"
        time.sleep(0.05)
    after = said(home, lab, "master", "systemctl is-active rsync; ls /srv/data/kept; ls /run/lost 2>/dev/null || true")
    assert after == "active\n/srv/data/kept"
    assert labs.is_up(lab)


@pytest.mark.parametrize("variant", [ROOTED])
def test_a_machine_can_be_cut_off_and_nothing_leads_out_of_the_lab(home: Path, variant: str) -> None:
    lab = labs.up(home, variant)
    link = link_of(lab, "master")
    subprocess.run(["ip", "link", "set", link, "down"], check=True)
    assert not labs.answers(lab.node("master"), 0.5)
    assert labs.answers(lab.node("backup"))
    subprocess.run(["ip", "link", "set", link, "up"], check=True)
    (route,) = said(home, lab, "master", "ip route").splitlines()
    assert route.startswith(f"{lab.subnet} dev eth0")


@pytest.mark.parametrize("variant", [ROOTED])
def test_an_operator_may_use_sudo_and_a_node_holds_nothing_of_this_machine_s_secrets(home: Path, variant: str) -> None:
    lab = labs.up(home, variant)
    with Ssh(place_of(home, lab, "backup", "operator")) as one:
        assert one.run("sudo -n id -u", timeout=30).stdout == "0\n"
    root = home / "lab/backup/root"
    assert "*" in (root / "etc/shadow").read_text()
    etc = {path.name for path in (root / "etc").iterdir()}
    assert not etc & {"ssl", "letsencrypt", "kubernetes", "mysql"}
    size = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_symlink() and path.is_file())
    assert size < 10_000_000


@pytest.mark.parametrize("variant", VARIANTS)
def test_whenever_it_was_killed_it_can_be_taken_down(home: Path, variant: str) -> None:
    seen: set[str] = set()
    for hundredths in (5, 15, 25, 40, 60, 90):
        maker = subprocess.Popen([sys.executable, "-c", MAKE, str(home), variant], start_new_session=True)
        until = time.monotonic() + 10
        while labs.look(home) is None and maker.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(hundredths / 100)
        os.killpg(maker.pid, signal.SIGKILL)
        maker.wait()
        lab = labs.look(home)
        assert lab is not None
        seen.add(f"{sum(bool(node.processes) for node in lab.nodes)} started")
        assert labs.down(home)
        give_up = time.monotonic() + 20  # what was just about to start finds its files gone, and ends
        while traces(home, lab) and time.monotonic() < give_up:
            time.sleep(0.05)
        assert traces(home, lab) == []
    assert seen


def test_two_labs_do_not_meet(tmp_path: Path) -> None:
    if missing(plain.TOOLS):
        pytest.skip("needs sshd and rsync")
    homes = [tmp_path / "a", tmp_path / "b"]
    try:
        one, two = (labs.up(home) for home in homes)
        places = {(node.address, node.port) for lab in (one, two) for node in lab.nodes}
        assert len(places) == 4
        labs.down(homes[0])
        assert all(labs.answers(node) for node in two.nodes)
    finally:
        for home in homes:
            labs.down(home)


def test_what_is_missing_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "TOOLS", ("sshd", "no-such-tool"))
    with pytest.raises(TerminalError, match="missing: no-such-tool"):
        labs.up(home, "plain")


def test_the_command_makes_shows_and_removes(home: Path) -> None:
    if missing(plain.TOOLS):
        pytest.skip("needs sshd and rsync")
    environ = {**os.environ, "RECONCILER_HOME": str(home)}

    def command(*words: str) -> str:
        done = subprocess.run([*RECONCILER, "lab", *words], env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert command("status") == "there is no lab; make one with: reconciler lab up\n"
    shown = command("up", "--variant", "plain")
    assert "master: answers" in shown
    assert f"the pair of them: {home}/lab/pair.yaml" in shown
    assert {path.name for path in (home / "secrets").iterdir()} == {"lab-app.conf", "lab-id"}
    login = next(line.strip() for line in shown.splitlines() if line.strip().startswith("ssh "))
    words = [*shlex.split(login), "-o", "BatchMode=yes", "echo", "hi"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout == "hi\n", done.stderr
    assert command("down") == "the lab is gone\n"
    assert list((home / "secrets").iterdir()) == []
    assert {path.name for path in (home / "lab").iterdir()} == {"lock"}
    assert command("down") == "there is no lab\n"
