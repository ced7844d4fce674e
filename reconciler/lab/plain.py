"""A lab without root: two folders, each with an sshd and a daemon of rsync on free ports of the loopback interface.

There is no systemd: `control` in a node's folder starts and stops its rsync, as a `command` of the spec would. What
runs for a node has its folder in the environment, by which it is found when the node is removed. Called by `labs`.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

from reconciler.lab import isolation
from reconciler.lab.equipment import equip, of_plain
from reconciler.lab.keys import public_key
from reconciler.lab.record import Lab, Node, Process, write
from reconciler.lab.strays import MARK, end_all, end_marked
from reconciler.transports.process import spawn_detached

TOOLS: tuple[str, ...] = ("sshd", "rsync", "ssh-keygen")
_SSHD = """Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/ssh/ssh_host_ed25519_key
PidFile none
UsePAM no
StrictModes no
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
SetEnv {mark}={folder} HOME={folder}/home PATH={folder}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
_RSYNCD = """port = {port}
address = 127.0.0.1
use chroot = no
pid file = {folder}/rsyncd.pid
[data]
  path = {folder}/data
  read only = no
{as_whom}"""
_AS_ROOT = "  uid = root\n  gid = root\n"  # else rsync would take nobody's place, who may read nothing here
_CONTROL = """#!/bin/sh
# Starts and stops the rsync of this node: control start|stop|status
pid=$(cat {folder}/rsyncd.pid 2>/dev/null)
runs() {{ test -n "$pid" && kill -0 "$pid" 2>/dev/null && ! grep -qs '^State:.[ZX]' "/proc/$pid/status"; }}
case $1 in
start) runs && exit 0; rm -f {folder}/rsyncd.pid; exec rsync --daemon --config={folder}/rsyncd.conf ;;
stop) runs || exit 0; kill "$pid"; for _ in 1 2 3 4 5 6 7 8 9 10; do runs || exit 0; sleep 0.2; done; exit 1 ;;
status) runs ;;
*) echo "control start|stop|status" >&2; exit 64 ;;
esac
"""


def plan(name: str, names: tuple[str, ...]) -> Lab:
    """What the lab is going to be."""
    user, ports = getpass.getuser(), iter(_free_ports(3 * len(names)))
    nodes = [Node(node, "127.0.0.1", next(ports), next(ports), next(ports), user) for node in names]
    return Lab(name, "plain", tuple(nodes))


def make(folder: Path, lab: Lab) -> Lab:
    """Make all of it."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation insists on it
    (folder / isolation.THIS_NODE).mkdir(exist_ok=True)
    lab = replace(lab, isolated=isolation.is_possible(folder))
    for node in lab.nodes:
        lab = lab.with_node(_made(folder / node.name, lab, node, public_key(folder)))
        write(folder, lab)
    return lab


def remove(folder: Path, lab: Lab) -> None:
    """Remove what there is of it."""
    for node in lab.nodes:
        end_all(folder / node.name, node.processes)
        end_marked(folder / node.name)
        shutil.rmtree(folder / node.name, ignore_errors=True)
    if (folder / isolation.THIS_NODE).is_dir():
        (folder / isolation.THIS_NODE).rmdir()


def seen_by_itself(folder: Path, lab: Lab) -> Path:
    """The folder of a node as the node sees it."""
    return folder.parent / isolation.THIS_NODE if lab.isolated else folder


def _made(folder: Path, lab: Lab, node: Node, key: str) -> Node:
    for name in ("data", "ssh", "bin", "home", "state"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    as_whom = _AS_ROOT if os.geteuid() == 0 else ""
    files = {"sshd_config": _SSHD, "rsyncd.conf": _RSYNCD, "control": _CONTROL}
    ports = {"sshd_config": node.port, "rsyncd.conf": node.rsync_port, "control": 0}
    for name, text in files.items():
        (folder / name).write_text(text.format(folder=folder, port=ports[name], as_whom=as_whom, mark=MARK))
    (folder / "control").chmod(0o700)
    (folder / "authorized_keys").write_text(key)
    (folder / "data" / "version").write_text("1.0.0\n")
    what = of_plain(folder, seen_by_itself(folder, lab))
    equip(lab, node, what)
    on_it = isolation.entering(folder) if lab.isolated else ()
    marked, log = {MARK: str(folder)}, folder / "log"
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    pid = spawn_detached([*on_it, sshd, "-D", "-e", "-f", str(folder / "sshd_config")], log, marked)
    spawn_detached([*on_it, "rsync", "--daemon", "--no-detach", f"--config={folder / 'rsyncd.conf'}"], log, marked)
    spawn_detached([*on_it, what.python, "-I", "-S", str(what.service / "service.py"), "listen"], log, marked)
    return replace(node, processes=(Process.of(pid),))


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
