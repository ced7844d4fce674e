"""Docker networks of clusters: their names, their bridges, making and removing them. Used by `docker_clusters`."""

from __future__ import annotations

from hashlib import sha256
from ipaddress import IPv4Network

from reconciler.errors import SpecError, TerminalError, TransientError
from reconciler.kind import Context
from reconciler.kinds.cluster import rows
from reconciler.kinds.cluster.providers.docker import Tools
from reconciler.kinds.cluster.spec import ClusterSpec

BRIDGE_LENGTH = 15
"""What the kernel allows the name of a network interface."""
_HASH_LENGTH = 8


def bridge_of(network: str) -> str:
    """The name of a network's bridge: `br-` and its name, or the end of a hash where that would be too long."""
    name = f"br-{network}"
    if len(name) <= BRIDGE_LENGTH:
        return name
    return f"br-k3d-{sha256(network.encode()).hexdigest()[:_HASH_LENGTH]}"


def network_of(subnet: str) -> IPv4Network:
    """The network that a subnet names. Raises SpecError for one with bits set that belong to its hosts."""
    try:
        return IPv4Network(subnet)
    except ValueError as error:
        near = IPv4Network(subnet, strict=False)
        raise SpecError("BadSubnet", f"subnet {subnet} is an address in {near}: write that") from error


def check_overlap(spec: ClusterSpec, others: list[dict[str, object]]) -> None:
    """Raise TerminalError naming the cluster whose subnet overlaps. others: rows of clusters."""
    if not spec.subnet:
        return
    own = network_of(spec.subnet)
    for other in others:
        subnet, name = other["subnet"], other["name"]
        if name != spec.name and isinstance(subnet, str) and subnet and own.overlaps(IPv4Network(subnet, strict=False)):
            raise TerminalError("SubnetTaken", f"subnet {spec.subnet} overlaps with {subnet} of cluster {name}")


def claim(spec: ClusterSpec, context: Context) -> None:
    """Record the cluster's subnet, unless another cluster's overlaps: who comes first has it."""
    with context.records.transaction() as records:
        check_overlap(spec, records.list(rows.TABLE))
        records.put(rows.TABLE, {"name": spec.name}, {"subnet": spec.subnet or None})


def creation(network: str, subnet: str) -> list[str]:
    """The command that makes a network. subnet: "" lets the engine choose."""
    addresses: list[str] = []
    if subnet:
        own = network_of(subnet)
        addresses = ["--subnet", str(own), "--gateway", str(own[1])]
    bridge = f"com.docker.network.bridge.name={bridge_of(network)}"
    return ["docker", "network", "create", network, *addresses, "--opt", bridge]


def ensure(tools: Tools, network: str, subnet: str) -> None:
    """The network is there. Raises TerminalError when one of this name has another subnet."""
    there = _subnets(tools, network)
    if there is None:
        try:
            tools.do(*creation(network, subnet))
        except TransientError:
            there = _subnets(tools, network)  # somebody else may have made it at the same moment
            if there is None:
                raise
    if there is not None and subnet and str(network_of(subnet)) not in there:
        raise TerminalError("AnotherNetwork", f"docker network {network} has {', '.join(there)}, not {subnet}")


def remove(tools: Tools, network: str) -> None:
    """The network is gone. Containers of others that were connected to it are let go first."""
    attached = tools.network(network, "{{json .Containers}}")
    if attached is None:
        return
    for entry in attached.values():
        tools.do("docker", "network", "disconnect", "--force", network, entry["Name"])
    tools.do("docker", "network", "rm", network)


def _subnets(tools: Tools, network: str) -> list[str] | None:
    """The subnets of a network; None when there is none of this name."""
    found = tools.network(network, "{{json .IPAM}}")
    if found is None:
        return None
    return [entry["Subnet"] for entry in found.get("Config") or () if entry.get("Subnet")]
