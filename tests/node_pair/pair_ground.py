"""A lab of two real nodes for many tests: booted once a module, and put back between tests as it was at first.

Nothing of the reconciler's own is used to look at the nodes or to put them back: only ssh, files and their tools.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from reconciler.kinds.node_pair.spec import ROLES
from reconciler.lab import labs
from reconciler.lab.record import Lab
from reconciler.model.secret import Secret
from reconciler.transports.process import Completed
from reconciler.transports.ssh import Ssh, SshPlace
from reconciler.transports.ssh_trust import read_known_hosts

OLD, NEW = "1.0.0", "2.0.0"
OLD_TEXT, NEW_TEXT = "greeting = hello", "greeting = welcome"
ONCE = ("stop", "install", "start", "switchover", "switchback", "rollback")
"""The commands of the lab's document that must not run twice."""
_QUIET = """for one in $(grep -lsaE 'reconciler-node/[^ ]*/(runner|script)' /proc/[0-9]*/cmdline); do
  grep -qsaF "$1" "${one%/cmdline}/environ" && kill -9 "$(basename "${one%/cmdline}")" 2>/dev/null
done
"""
_KEEP = {
    "rooted": "tar -C / -cf /root/kept.tar etc/systemd/system etc/cron.d etc/sudoers.d etc/rsyncd.conf srv opt",
    "plain": 'cd "$LAB_NODE" && tar -cf kept.tar data service rsyncd.conf bin control',
}
_STILL = {
    "rooted": f"""systemctl stop 'reconciler-*' config-sync.timer config-sync.service small.service rsync 2>/dev/null
set -- =
{_QUIET}
chattr -R -f -i /srv /var/lib/reconciler-node 2>/dev/null
umount /var/lib/reconciler-node /srv/data 2>/dev/null
rm -rf /etc/systemd/system /run/systemd/system /run/systemd/transient /etc/cron.d /etc/sudoers.d /srv /opt
rm -rf /var/lib/reconciler-node /var/lib/systemd/timers
tar -C / -xf /root/kept.tar""",
    "plain": f""""$LAB_NODE/service/ctl" stop; "$LAB_NODE/control" stop
set -- "LAB_NODE=$LAB_NODE"
{_QUIET}
chattr -R -f -i "$LAB_NODE/data" /var/lib/reconciler-node 2>/dev/null
cd "$LAB_NODE" && rm -rf data service state/* home/.local bin && tar -xf kept.tar""",
}
_AGAIN = {
    "rooted": """mkdir -p /run/systemd/system; systemctl daemon-reload; systemctl reset-failed
systemctl start small.service rsync config-sync.timer""",
    "plain": '"$LAB_NODE/service/ctl" start; "$LAB_NODE/control" start; rm -f "$LAB_NODE/service/calls.jsonl"',
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the service's tool. under: the detached command that it belongs to. ended: None while it runs.

    held: a fault made it wait.
    """

    at: float
    role: str
    name: str
    under: str
    environ: Mapping[str, str]
    ended: int | None = None
    held: bool = False


class Ground:
    """The lab of a test module. home: the lab's own, which is no reconciler's."""

    def __init__(self, home: Path, variant: str) -> None:
        self.home = home
        self.lab: Lab = labs.up(home, variant)
        self.variant = self.lab.variant
        found = labs.document(home)
        assert found is not None
        self.document: dict[str, Any] = yaml.safe_load(found.read_text())
        self.document["spec"].get("artifact", {})["source"] = str(home / "lab/release.bin")
        self._ssh = {role: Ssh(self.place(role)) for role in ROLES}
        self.everywhere(_KEEP[self.variant])
        self.disconnect()

    @cached_property
    def root_key(self) -> str:
        """What must never be seen outside of the nodes."""
        return (self.data("master") / "conf/root.key").read_text().strip()

    def close(self) -> None:
        """Take it down."""
        self.disconnect()
        labs.down(self.home)

    def disconnect(self) -> None:
        """End the connections; the next command makes new ones."""
        for ssh in self._ssh.values():
            ssh.close()

    def run(self, role: str, script: str, timeout: float = 60.0) -> Completed:
        """A script on a node, as root."""
        return self._ssh[role].run(script, timeout=timeout)

    def said(self, role: str, script: str) -> str:
        """What a script says that has to succeed."""
        done = self.run(role, script)
        assert done.returncode == 0, f"{role}: {script}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def everywhere(self, script: str) -> None:
        """A script on both nodes at the same time."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda role: self.run(role, script), ROLES))

    def service(self, role: str) -> Path:
        """The folder of a node's service, as this machine sees it."""
        return self._root(role) / ("opt/service" if self.variant == "rooted" else "service")

    def data(self, role: str) -> Path:
        """The folder that rsync serves."""
        return self._root(role) / ("srv/data" if self.variant == "rooted" else "data")

    def state(self, role: str) -> Path:
        """Where everything of ours lies on a node."""
        state = "var/lib/reconciler-node" if self.variant == "rooted" else "state/reconciler-node"
        return self._root(role) / state

    def calls(self, role: str) -> list[Call]:
        """What was called on a node since the last reset, in order."""
        path, found = self.service(role) / "calls.jsonl", dict[str, dict[str, Any]]()
        for line in path.read_text().splitlines() if path.exists() else ():
            told = json.loads(line)
            found.setdefault(told["id"], {}).update({key: value for key, value in told.items() if key != "at"})
            found[told["id"]].setdefault("at", told["at"])
        return [_call(role, told) for told in found.values()]

    def reset(self) -> None:
        """Both nodes as they were at first: nothing of ours, the old version, the master serving, rsync running."""
        self.await_both()
        self.everywhere(_STILL[self.variant])
        self.everywhere(_AGAIN[self.variant])
        for role in ROLES:
            assert not self.calls(role), "the log of calls goes with the rest"
            until(lambda role=role: labs.serves(self.lab.node(role)), f"the service of the {role}")  # type: ignore[misc]

    def await_both(self) -> None:
        """Until both nodes can be logged in to."""
        for role in ROLES:
            until(lambda role=role: labs.answers(self.lab.node(role)), f"sshd of the {role}")  # type: ignore[misc]

    def _root(self, role: str) -> Path:
        return self.home / "lab" / role / ("root" if self.variant == "rooted" else "")

    def place(self, role: str) -> SshPlace:
        """How to log in on a node."""
        node, folder = self.lab.node(role), self.home / "lab"
        identity = Secret((folder / "id").read_text(), "file:id")
        known = read_known_hosts(folder / "known_hosts")
        return SshPlace(node.address, node.port, node.user, identity, known, connect_timeout=20)


def until(what: Callable[[], Any], named: str, seconds: float = 60.0) -> Any:
    """The first true answer; fails when there is none in time."""
    give_up = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < give_up, f"{named}: not within {seconds:g} s"
        time.sleep(0.02)
    return answer


def _call(role: str, told: Mapping[str, Any]) -> Call:
    environ = {name: told.get(name, "") for name in ("VERSION", "ROLE", "PEER", "ARTIFACT", "SERVING")}
    held = bool(told.get("held"))
    return Call(told["at"], role, told["call"], told.get("under", ""), environ, told.get("ended"), held)
