"""A lab without root: two folders, each with an sshd and a daemon of rsync on free ports of the loopback interface.

There is no systemd: `control` in a node's folder starts and stops its rsync, as a `command` of the spec would. Called
by `labs`.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

from reconciler.lab.keys import public_key
from reconciler.lab.record import Lab, Node, Process, write
from reconciler.lab.strays import end_all
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
    ports = _free_ports(2 * len(names))
    nodes = (
        Node(node, "127.0.0.1", ports[2 * number], ports[2 * number + 1], getpass.getuser())
        for number, node in enumerate(names)
    )
    return Lab(name, "plain", tuple(nodes))


def make(folder: Path, lab: Lab) -> Lab:
    """Make all of it."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation insists on it
    for node in lab.nodes:
        lab = lab.with_node(_made(folder / node.name, node, public_key(folder)))
        write(folder, lab)
    return lab


def remove(folder: Path, lab: Lab) -> None:
    """Remove what there is of it."""
    for node in lab.nodes:
        end_all(folder / node.name, node.processes)
        shutil.rmtree(folder / node.name, ignore_errors=True)


def _made(folder: Path, node: Node, key: str) -> Node:
    for name in ("data", "ssh"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    as_whom = _AS_ROOT if os.geteuid() == 0 else ""
    files = {"sshd_config": _SSHD, "rsyncd.conf": _RSYNCD, "control": _CONTROL}
    ports = {"sshd_config": node.port, "rsyncd.conf": node.rsync_port, "control": 0}
    for name, text in files.items():
        (folder / name).write_text(text.format(folder=folder, port=ports[name], as_whom=as_whom))
    (folder / "control").chmod(0o700)
    (folder / "authorized_keys").write_text(key)
    (folder / "data" / "version").write_text("1.0.0\n")
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    pid = spawn_detached([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], folder / "log")
    rsync = ["rsync", "--daemon", "--no-detach", f"--config={folder / 'rsyncd.conf'}"]
    return replace(node, processes=(Process.of(pid), Process.of(spawn_detached(rsync, folder / "log"))))


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
