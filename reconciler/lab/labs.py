"""Making, removing and looking at the lab of a home. Called by `cli.lab_commands` and by tests."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from reconciler.errors import TerminalError, TransientError, UsageError
from reconciler.lab import pair_document, plain, record, rooted
from reconciler.lab.commands import missing
from reconciler.lab.keys import host_key, public_key
from reconciler.lab.record import Lab, Node
from reconciler.transports.ssh_trust import host_name

NODES = ("master", "backup")
_UP_TIMEOUT = 60.0


class Variant(Protocol):
    """What `rooted` and `plain` have in common."""

    TOOLS: tuple[str, ...]

    def plan(self, name: str, names: tuple[str, ...]) -> Lab:
        """What the lab is going to be; nothing is made."""
        ...

    def make(self, folder: Path, lab: Lab) -> Lab:
        """Make it, writing the record after each process that was started."""
        ...

    def remove(self, folder: Path, lab: Lab) -> None:
        """Remove what there is of it."""
        ...


_VARIANTS: Mapping[str, Variant] = {"rooted": rooted, "plain": plain}


def up(home: Path, variant: str = "", nodes: Sequence[str] = NODES) -> Lab:
    """Make the lab of a home and wait until both nodes answer; one that is there and whole is left as it is.

    variant: `rooted` or `plain`, "" for what is possible here. Raises TerminalError("MissingTool") naming what is not
    installed, and TransientError("LabSlow") for nodes that do not answer within a minute.
    """
    folder = home / "lab"
    chosen = _variant(variant)
    with record.alone(folder):
        there = record.read(folder)
        if there is not None and is_up(there) and variant in ("", there.variant):
            if document(home) is None:
                pair_document.write(home, there)
            return there
        if there is not None:
            _remove(home, there)
        lab = chosen.plan(secrets.token_hex(3), tuple(nodes))
        record.write(folder, lab)  # before anything is made, so that all of it can be found
        public_key(folder)
        lines = [_trusted(folder, lab, node) for node in lab.nodes]
        (folder / "known_hosts").write_text("".join(lines))
        lab = chosen.make(folder, lab)
        pair_document.write(home, lab)
        _await(lab, folder)
        return lab


def down(home: Path) -> bool:
    """Remove the lab of a home, also one that was killed while it was made. False when there is none."""
    folder = home / "lab"
    if not folder.exists():
        return False
    with record.alone(folder):
        lab = record.read(folder)
        if lab is None:
            return False
        _remove(home, lab)
        return True


def look(home: Path) -> Lab | None:
    """The lab of a home, None where there is none."""
    return record.read(home / "lab")


def is_up(lab: Lab) -> bool:
    """Whether every process of it runs."""
    return all(node.processes and all(one.is_alive for one in node.processes) for node in lab.nodes)


def answers(node: Node, timeout: float = 1.0) -> bool:
    """Whether a node's sshd says who it is."""
    try:
        with socket.create_connection((node.address, node.port), timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def serves(node: Node, timeout: float = 1.0) -> bool:
    """Whether a node's small service takes connections."""
    try:
        socket.create_connection((node.address, node.service_port), timeout).close()
    except OSError:
        return False
    return True


def document(home: Path) -> Path | None:
    """The document for the pair of nodes of a home's lab, where there is one."""
    path = home / "lab" / pair_document.DOCUMENT
    return path if path.exists() else None


def login(home: Path, node: Node) -> str:
    """The command that logs in on a node."""
    folder = home / "lab"
    options = ["-F", "/dev/null", "-i", str(folder / "id"), "-o", f"UserKnownHostsFile={folder / 'known_hosts'}"]
    port = ["-p", str(node.port)] if node.port != 22 else []
    return shlex.join(["ssh", *options, *port, f"{node.user}@{node.address}"])


def _variant(named: str) -> Variant:
    if named and named not in _VARIANTS:
        raise UsageError("UnknownVariant", f"there is no lab {named}; there are rooted and plain")
    can_be_rooted = sys.platform == "linux" and os.geteuid() == 0
    if named == "rooted" and not can_be_rooted:
        raise TerminalError("NotRoot", "machines need root on Linux; take the plain lab")
    best = "rooted" if can_be_rooted and not missing(rooted.TOOLS) else "plain"
    chosen = _VARIANTS[named or best]
    if lacking := missing(chosen.TOOLS):
        packages = "openssh-server, rsync" + (", systemd-container, iproute2" if (named or best) == "rooted" else "")
        raise TerminalError("MissingTool", f"missing: {', '.join(lacking)} (Debian: {packages})")
    return chosen


def _trusted(folder: Path, lab: Lab, node: Node) -> str:
    """Make a node's own key where its sshd will look for it, and say so in known_hosts."""
    place = folder / node.name / ("root/etc/ssh" if lab.variant == "rooted" else "ssh")
    place.mkdir(parents=True, exist_ok=True)
    return f"{host_name(node.address, node.port)} {host_key(place)}\n"


def _await(lab: Lab, folder: Path) -> None:
    give_up = time.monotonic() + _UP_TIMEOUT
    for node in lab.nodes:
        while not (answers(node) and serves(node)):
            if time.monotonic() >= give_up:
                log = folder / node.name / "log"
                raise TransientError("LabSlow", f"{node.name} does not answer at {node.address}:{node.port}; see {log}")
            time.sleep(0.05)


def _remove(home: Path, lab: Lab) -> None:
    folder = home / "lab"
    _VARIANTS[lab.variant].remove(folder, lab)
    pair_document.remove(home)
    for name in ("known_hosts", "id", "id.pub", "lab.json"):  # the record last: until then it can be tried again
        (folder / name).unlink(missing_ok=True)
