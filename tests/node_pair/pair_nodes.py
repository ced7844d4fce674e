"""Single nodes of the ground, as the modules in `nodes/` use them; and a node on which our scripts are killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pair_ground import Ground

from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.spec import ConfigurationSpec, Lock, NodeSpec, Role
from reconciler.transports.process import Completed
from reconciler.transports.ssh import Ssh

PAIR = "shop"
_TOOLS = "cat chattr chmod chown cp date find gzip head ln lsattr mkdir mktemp mountpoint mv readlink rm rmdir"
TOOLS = f"{_TOOLS} sha256sum sleep sort stat sync systemctl tail xargs sed flock"
_SHIM = """#!/bin/sh
# Counts the calls of a script's tools; the one whose turn it is kills the script with all that belongs to it.
tool=$(basename "$0")
if test -n "$KILL_AT"; then
  echo "$tool" >>/srv/killing/calls
  test "$(wc -l </srv/killing/calls)" -lt "$KILL_AT" || kill -9 0
fi
PATH=${PATH#/srv/killing/bin:}
exec "$tool" "$@"
"""


@contextmanager
def node_of(ground: Ground, role: Role = "master", **values: object) -> Iterator[Node]:
    """A node, over a connection of its own."""
    place = ground.place(role)
    with Ssh(place) as ssh:
        yield Node(NodeSpec(role, place), ssh, **values)  # type: ignore[arg-type]


def configuration_spec(*paths: str, lock: Lock = "immutable", backups: str = "/srv/backups") -> ConfigurationSpec:
    """The configuration of a pair."""
    return ConfigurationSpec(paths, {}, lock, 3600.0, backups)


@dataclass(slots=True)
class BusyboxNode(Node):
    """A node whose tools are busybox's, where that has them: without the options of the others."""

    def run(
        self,
        script: str | Sequence[str],
        *,
        timeout: float = 60.0,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> Completed:
        """As a node does, with other tools."""
        words = list(script) if not isinstance(script, str) else ["/bin/sh", "-c", script]
        words = ["busybox", "sh", *words[1:]]
        env = {**(env or {}), "PATH": "/srv/busybox:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        return Node.run(self, words, timeout=timeout, stdin=stdin, env=env, private=private)


@contextmanager
def busybox_node(ground: Ground, role: Role = "master") -> Iterator[Node]:
    """A node with the tools of busybox."""
    ground.said(role, "mkdir -p /srv/busybox; busybox --install -s /srv/busybox")
    place = ground.place(role)
    with Ssh(place) as ssh:
        yield BusyboxNode(NodeSpec(role, place), ssh)


@dataclass(slots=True)
class FragileNode(Node):
    """A node on which the script is killed right before its n-th tool would run; 0: never. Ours alone are counted."""

    kill_at: int = 0
    private: list[bool] = field(default_factory=list)

    def run(
        self,
        script: str | Sequence[str],
        *,
        timeout: float = 60.0,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> Completed:
        """As a node does, with the tools that count."""
        self.private.append(private)
        path = "/srv/killing/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        at = {"KILL_AT": str(self.kill_at)} if self.kill_at else {}
        env = {**(env or {}), "PATH": path, **at}
        return Node.run(self, script, timeout=timeout, stdin=stdin, env=env, private=private)


def put_shims(ground: Ground, role: Role = "master") -> None:
    """Put the tools that count on a node."""
    script = "mkdir -p /srv/killing/bin && cd /srv/killing/bin && cat >shim && chmod 755 shim || exit\n"
    script += f"for one in {TOOLS}; do ln -sf shim $one; done"
    with Ssh(ground.place(role)) as ssh:
        done = ssh.run(script, timeout=60, stdin=_SHIM)
        assert done.returncode == 0, done.stderr


def fragile(ground: Ground, ssh: Ssh, kill_at: int, role: Role = "master") -> FragileNode:
    """A node whose n-th call of a tool is the script's last; the count begins anew."""
    ground.said(role, "rm -f /srv/killing/calls")
    return FragileNode(NodeSpec(role, ssh.place), ssh, kill_at=kill_at)
