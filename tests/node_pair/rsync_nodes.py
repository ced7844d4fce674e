"""The rsync of a lab's nodes for tests of what controls it: made by a spec, looked at with the nodes' own tools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pair_ground import Ground

from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.rsync_control import Pause, RsyncControl
from reconciler.kinds.node_pair.spec import NodeSpec, Role, RsyncSpec
from reconciler.transports.process import Completed
from reconciler.transports.ssh import Ssh

PAIR, RUN, PORT, OTHER_PORT = "web", "3f2a9c1b7d20", 873, 8730
UPGRADE = Pause("UPGRADE", RUN, 1_700_000_000.25)
BY_HAND = Pause("MANUAL", "it's me <me@there>", 1_700_000_100.0)
CRON = "/etc/cron.d/sync"
TIMERS = ("config-sync.timer", "idle.timer", CRON)
_STATE = """systemctl show --property=Id,ActiveState,UnitFileState -- rsync.service config-sync.timer idle.timer
systemctl show --property=DropInPaths --value -- rsync.service config-sync.timer config-sync.service
find /etc/cron.d /etc/systemd/system /var/lib/reconciler-node -type f -exec sha256sum {} + | sort -k 2
"""
_DYING = "set -T; ran_=0; trap 'ran_=$((ran_ + 1)); test $ran_ -lt %d || kill -9 $$' DEBUG\n"
_COUNTING = "set -T; ran_=0; trap 'ran_=$((ran_ + 1))' DEBUG; trap 'echo \"ran $ran_\" >&2' EXIT\n"


class CountedSsh(Ssh):
    """Counts its commands."""

    commands = 0

    def run(self, *words: Any, **how: Any) -> Completed:
        self.commands += 1
        return super().run(*words, **how)


class BashNode(Node):
    """A node whose scripts are run by bash, with a prefix of ours: bash can count the commands that it runs."""

    prefix = ""
    counted = 0

    def run(self, script: str | Sequence[str], **how: Any) -> Completed:
        assert not isinstance(script, str)
        words = ["/bin/bash", "--posix", "-c", self.prefix + script[2], *script[3:]]
        done = super().run(words, **how)
        if found := re.search(r"^ran (\d+)$", done.stderr, re.MULTILINE):
            self.counted = int(found[1])
        return done


class PathNode(Node):
    """A node on which a folder of ours comes first on the path."""

    def run(self, script: str | Sequence[str], **how: Any) -> Completed:
        return super().run(script, **{**how, "env": {"PATH": "/srv/first:/usr/sbin:/usr/bin:/sbin:/bin"}})


@dataclass
class RsyncNodes:
    """Both nodes of a ground. said: what the controls logged."""

    ground: Ground
    ssh: Mapping[Role, CountedSsh]
    said: list[str] = field(default_factory=list)

    def control(
        self, role: Role = "master", *, kind: type[Node] = Node, stop_timeout: float = 30.0, **changes: Any
    ) -> RsyncControl:
        """Of the daemon that the lab runs, unless changed."""
        return RsyncControl(self.node(role, kind), spec_of(**changes), PAIR, stop_timeout=stop_timeout)

    def node(self, role: Role = "master", kind: type[Node] = Node) -> Any:
        place = self.ground.place(role)
        return kind(NodeSpec(role, place), self.ssh[role], log=self.said.append)

    def run(self, script: str, role: Role = "master") -> Completed:
        return self.ground.run(role, script)

    def tell(self, script: str, role: Role = "master") -> str:
        return self.ground.said(role, script)

    def state(self, role: Role = "master") -> str:
        """All that a pause might change there, as systemd and the files say it."""
        return self.tell(_STATE, role)

    def marker(self, role: Role = "master", port: int = PORT) -> list[str]:
        """The lines of the marker."""
        return self.tell(f"cat /var/lib/reconciler-node/pairs/{PAIR}/rsync-pause-{port}", role).splitlines()

    def dying(self, at: int) -> BashNode:
        """A master whose script is killed before its command number `at`."""
        made: BashNode = self.node(kind=BashNode)
        made.prefix = _DYING % at
        return made

    def counting(self) -> BashNode:
        """A master that says how many commands its script ran."""
        made: BashNode = self.node(kind=BashNode)
        made.prefix = _COUNTING
        return made


def spec_of(**changes: Any) -> RsyncSpec:
    """The rsync of a machine of the lab."""
    port = changes.pop("port", PORT)
    settings: dict[str, Any] = {
        **{"control": "systemd", "unit": "rsync", "start": "", "stop": "", "status": "", "timers": ()},
        **{"ports": {"master": port, "backup": port}, "interval": 300.0, "monitor": 15.0, "sync": None},
        **{"max_delete": 10, "timeout": 120.0, "resume_tries": 3},
    }
    return RsyncSpec(**{**settings, **changes})


@contextmanager
def nodes_of(ground: Ground) -> Iterator[RsyncNodes]:
    """The nodes as they were at first."""
    ground.reset()
    ssh: dict[Role, CountedSsh] = {
        "master": CountedSsh(ground.place("master")),
        "backup": CountedSsh(ground.place("backup")),
    }
    try:
        yield RsyncNodes(ground, ssh)
    finally:
        for one in ssh.values():
            one.close()


def with_timers(nodes: RsyncNodes, role: Role = "master") -> None:
    """Give a node a file of cron, one timer that runs and one that does not."""
    files = {
        CRON: "0 5 * * * root true\n",
        "/etc/systemd/system/idle.timer": "[Timer]\nOnActiveSec=1h\nUnit=config-sync.service\n",
        "/etc/systemd/system/config-sync.timer": "[Timer]\nOnActiveSec=1h\n[Install]\nWantedBy=timers.target\n",
        "/etc/systemd/system/config-sync.service": "[Service]\nType=oneshot\nExecStart=/bin/sleep 300\n",
    }
    for path, text in files.items():
        nodes.tell(f"printf '%s' '{text}' > {path}", role)
    nodes.tell(f"chmod 640 {CRON}; systemctl daemon-reload; systemctl enable --now config-sync.timer 2>/dev/null", role)
