"""What goes wrong with a pair of real nodes, on request. All of it ends with the ground's `reset`.

The link of a node is a cable of the lab's network; without machines a proxy stands between us and its sshd.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from pair_ground import Ground, until

from reconciler.lab import labs
from reconciler.lab.network import link_of

_STATE = "/var/lib/reconciler-node"
_SMALL_DISK = f"""set -e
mkdir -p -m 700 {_STATE} /root/small
mount -t tmpfs -o size=48m,mode=0700 tmpfs /root/small
cp -a {_STATE}/. /root/small/
mount --bind /root/small {_STATE}
umount /root/small
! cat /dev/zero > {_STATE}/ballast
"""
_OLD_DISK = f"""set -e
cp -a {_STATE}/. /root/small/
umount {_STATE}
cp -a /root/small/. {_STATE}/
rm -rf /root/small
"""
_SSHD_IS_DEAD = """systemctl stop ssh; pkill -9 -x sshd
while test -e /opt/service/no-sshd; do sleep 0.1; done
systemctl start ssh"""
_RUNNING = "systemctl list-units --plain --no-legend --state=running 'reconciler-*.service'"
_CLOCK = """#!/bin/sh
case "$*" in *-d*|*--date*) exec /usr/bin/date "$@" ;; esac
exec /usr/bin/date -d "@$(( $(/usr/bin/date +%s) + {seconds} ))" "$@"
"""


def fault(ground: Ground, role: str, call: str, do: str = "fail", **rest: Any) -> None:
    """Let a call of the service's tool go wrong: see `Fault` in the lab's service program for `do` and the rest."""
    folder = ground.service(role) / "faults"
    partial = folder / f".{call}"
    partial.write_text(json.dumps({"do": do, **rest}))
    (folder / f"{call}.count").unlink(missing_ok=True)
    partial.replace(folder / f"{call}.json")


def heal(ground: Ground, role: str, call: str) -> None:
    """Take a fault away; a call that it holds goes on."""
    (ground.service(role) / "faults" / f"{call}.json").unlink(missing_ok=True)


def await_held(ground: Ground, role: str, call: str, seconds: float = 60.0) -> None:
    """Until a call is held by its fault."""
    until(lambda: any(one.name == call and one.held for one in ground.calls(role)), f"{call} on the {role}", seconds)


def set_link(ground: Ground, role: str, state: str) -> None:
    """Cut the cable of a machine, or mend it. state: `up` or `down`."""
    subprocess.run(["ip", "link", "set", link_of(ground.lab, role), state], check=True, timeout=30)


@contextmanager
def cut_off(ground: Ground, role: str) -> Iterator[None]:
    """A machine whose cable is cut."""
    set_link(ground, role, "down")
    try:
        yield
    finally:
        set_link(ground, role, "up")


def reboot(ground: Ground, role: str) -> None:
    """Boot a machine again, and wait until it is there."""
    ground.run(role, "systemd-run --quiet --on-active=0.1 --timer-property=AccuracySec=10ms systemctl reboot --force")
    node = ground.lab.node(role)
    until(lambda: not labs.answers(node, 0.5), f"the {role} goes down")
    until(lambda: labs.answers(node) and labs.serves(node), f"the {role} comes back")


def set_clock(ground: Ground, role: str, seconds: int) -> None:
    """Let a node's `date` be wrong by so much."""
    folder = ground.service(role).parent / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "date").write_text(_CLOCK.format(seconds=seconds))
    (folder / "date").chmod(0o755)


@contextmanager
def slow_link(ground: Ground, role: str) -> Iterator[None]:
    """A node to which 32 kB go in a second."""
    link = link_of(ground.lab, role)
    shape = ["tc", "qdisc", "add", "dev", link, "root", "tbf", "rate", "256kbit", "burst", "16kb", "latency", "2s"]
    subprocess.run(shape, check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["tc", "qdisc", "del", "dev", link, "root"], check=True, timeout=30)


@contextmanager
def no_sshd(ground: Ground, role: str) -> Iterator[None]:
    """A node whose sshd is killed with all its connections, and is not started again before long."""
    mark = ground.service(role) / "no-sshd"
    mark.touch()
    ground.run(role, f"systemd-run --quiet sh -c '{_SSHD_IS_DEAD}'")
    until(lambda: not labs.answers(ground.lab.node(role), 0.5), f"sshd of the {role} is dead")
    try:
        yield
    finally:
        mark.unlink()
        ground.await_both()


@contextmanager
def full_disk(ground: Ground, role: str) -> Iterator[None]:
    """A node on which nothing of ours can be written any more: what is there lies on a small disk that is full."""
    ground.said(role, _SMALL_DISK)
    try:
        yield
    finally:
        ground.await_both()
        ground.run(role, f"rm {_STATE}/ballast")
        until(lambda: not ground.run(role, _RUNNING).stdout, f"nothing of ours runs on the {role}")
        ground.said(role, _OLD_DISK)


@contextmanager
def no_sudo(ground: Ground, role: str) -> Iterator[None]:
    """A node whose operator may become nobody."""
    ground.said(role, "mv /etc/sudoers.d/operator /root/")
    try:
        yield
    finally:
        ground.said(role, "mv /root/operator /etc/sudoers.d/")


@contextmanager
def wrong_clock(ground: Ground, role: str, seconds: int) -> Iterator[None]:
    """A node whose `date` is wrong by so much."""
    set_clock(ground, role, seconds)
    try:
        yield
    finally:
        (ground.service(role).parent / "bin/date").unlink()


class Proxy:
    """Stands between us and an sshd. delay: seconds for what passes, either way. drops: what passes is thrown away."""

    def __init__(self, address: str, port: int) -> None:
        self.delay, self.drops = 0.0, False
        self._to = (address, port)
        self._over = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, name="proxy")]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.cut()
        self._listener.close()

    def cut(self) -> None:
        """End every connection, as a reset does."""
        for one in [end for pair in self._pairs for end in pair]:
            one.close()
        self._pairs.clear()

    def _accept(self) -> None:
        while not self._over.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            inner, _ = self._listener.accept()
            try:
                outer = socket.create_connection(self._to, 5)
            except OSError:
                inner.close()
                continue
            self._pairs.append((inner, outer))
            self._threads.append(threading.Thread(target=self._pass_on, args=(inner, outer), name="proxied"))
            self._threads[-1].start()

    def _pass_on(self, inner: socket.socket, outer: socket.socket) -> None:
        other = {inner: outer, outer: inner}
        try:
            while not self._over.is_set():
                for one in select.select([inner, outer], [], [], 0.05)[0]:
                    part = one.recv(65536)
                    if not part:
                        return
                    time.sleep(self.delay)
                    if not self.drops:
                        other[one].sendall(part)
        except (OSError, ValueError):  # cut
            return
        finally:
            inner.close()
            outer.close()
