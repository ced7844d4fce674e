"""The network of a lab with machines: a bridge, and for each node a network namespace with one address on it.

Nothing leads out of it. Names begin with `rl` and the lab's own name, so that two labs never meet, and what a lab that
was killed left behind is found by its record. Called by `rooted`.
"""

from __future__ import annotations

import ipaddress
import json

from reconciler.errors import TerminalError
from reconciler.lab.commands import run
from reconciler.lab.record import Lab

_RANGE = ipaddress.IPv4Network("10.77.0.0/16")


def free_subnet(name: str) -> str:
    """A network of 254 addresses that no interface and no route of this machine knows.

    Looked for from a place that the lab's name says, so that two that are made at the same time do not meet.
    """
    addresses = json.loads(run("ip", "-j", "-4", "addr").stdout or "[]")
    routes = json.loads(run("ip", "-j", "-4", "route", "show", "table", "all").stdout or "[]")
    taken = [f"{one['local']}/{one['prefixlen']}" for link in addresses for one in link.get("addr_info", ())]
    taken += [route["dst"] for route in routes if route.get("dst", "default") != "default"]
    used = [ipaddress.ip_network(text, strict=False) for text in taken if _is_network(text)]
    subnets = list(_RANGE.subnets(new_prefix=24))
    first = int(name, 16) % len(subnets)
    for subnet in (*subnets[first:], *subnets[:first]):
        if not any(subnet.overlaps(other) for other in used if isinstance(other, ipaddress.IPv4Network)):
            return str(subnet)
    raise TerminalError("LabFailed", f"no network of {_RANGE} is free")


def address_of(subnet: str, number: int) -> str:
    """The address of a node, from 1; 0 is this machine's own."""
    return str(ipaddress.ip_network(subnet)[10 + number if number else 1])


def namespace_of(lab: Lab, node: str) -> str:
    """The network namespace of a node."""
    return f"rl{lab.name}-{node}"


def connect(lab: Lab) -> None:
    """Make the bridge and the namespaces."""
    bridge = f"rl{lab.name}b"
    run("ip", "link", "add", bridge, "type", "bridge")
    run("ip", "addr", "add", f"{address_of(lab.subnet, 0)}/24", "dev", bridge)
    run("ip", "link", "set", bridge, "up")
    for number, node in enumerate(lab.nodes, 1):
        space, outer = namespace_of(lab, node.name), f"rl{lab.name}v{number}"
        run("ip", "netns", "add", space)
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "link", "set", outer, "master", bridge, "up")
        run("ip", "-n", space, "link", "set", "lo", "up")
        run("ip", "-n", space, "addr", "add", f"{node.address}/24", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "eth0", "up")


def disconnect(lab: Lab) -> None:
    """Remove what there is of it."""
    for number, node in enumerate(lab.nodes, 1):
        run("ip", "link", "delete", f"rl{lab.name}v{number}", check=False)
        run("ip", "netns", "delete", namespace_of(lab, node.name), check=False)
    run("ip", "link", "delete", f"rl{lab.name}b", check=False)


def link_of(lab: Lab, node: str) -> str:
    """The bridge's end of a node's cable: setting it down cuts the node off."""
    number = [one.name for one in lab.nodes].index(node) + 1
    return f"rl{lab.name}v{number}"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
