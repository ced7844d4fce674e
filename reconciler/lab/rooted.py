"""A lab of machines with a real systemd: as root on Linux, with systemd-container and iproute2. Called by `labs`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconciler.lab import machines, network
from reconciler.lab.equipment import equip, of_rooted
from reconciler.lab.keys import public_key
from reconciler.lab.record import Lab, Node, write
from reconciler.lab.tree import add_timer, make_root

TOOLS: tuple[str, ...] = ("systemd-nspawn", "unshare", "ip", "sshd", "rsync", "ssh-keygen")
SSH, RSYNC, SERVICE = 22, 873, 8000


def plan(name: str, names: tuple[str, ...]) -> Lab:
    """What the lab is going to be."""
    subnet = network.free_subnet(name)
    nodes = (
        Node(node, network.address_of(subnet, number), SSH, RSYNC, SERVICE) for number, node in enumerate(names, 1)
    )
    return Lab(name, "rooted", tuple(nodes), subnet)


def make(folder: Path, lab: Lab) -> Lab:
    """Make all of it; the machines boot while this returns."""
    network.connect(lab)
    for node in lab.nodes:
        root = folder / node.name / "root"
        make_root(root, node.name, public_key(folder))
        equip(lab, node, of_rooted(root))
        if node != lab.nodes[0]:
            add_timer(root, lab.nodes[0].address)
    for node in lab.nodes:
        lab = lab.with_node(replace(node, processes=(machines.boot(lab, node.name, folder / node.name),)))
        write(folder, lab)
    return lab


def remove(folder: Path, lab: Lab) -> None:
    """Remove what there is of it."""
    for node in lab.nodes:
        machines.remove(lab, node, folder / node.name)
    network.disconnect(lab)
