"""The lab's variants as parameters of tests, and how to log in on its nodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.lab import plain, rooted
from reconciler.lab.commands import missing
from reconciler.lab.record import Lab
from reconciler.model.secret import Secret
from reconciler.transports.ssh import SshPlace
from reconciler.transports.ssh_trust import read_known_hosts

_NO_MACHINES = os.geteuid() != 0 or bool(missing(rooted.TOOLS))
ROOTED = pytest.param(
    "rooted", marks=pytest.mark.skipif(_NO_MACHINES, reason="machines need root, systemd-container and iproute2")
)
PLAIN = pytest.param("plain", marks=pytest.mark.skipif(bool(missing(plain.TOOLS)), reason="needs sshd and rsync"))
VARIANTS = [ROOTED, PLAIN]


def place_of(home: Path, lab: Lab, name: str, user: str = "") -> SshPlace:
    """A login on a node."""
    node, folder = lab.node(name), home / "lab"
    identity = Secret((folder / "id").read_text(), "file:id")
    known = read_known_hosts(folder / "known_hosts")
    return SshPlace(node.address, node.port, user or node.user, identity, known, connect_timeout=20)
