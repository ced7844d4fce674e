"""Whether both nodes of a pair are as an upgrade needs them, for `reconciler doctor`. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from reconciler.errors import ReconcilerError
from reconciler.kind import Context
from reconciler.kinds.node_pair.nodes.checking import NodeFacts, facts_of
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.spec import ROLES, NodePairSpec, NodeSpec, Role
from reconciler.model.finding import Finding
from reconciler.model.resource import Resource
from reconciler.transports.ssh_trust import host_name

_SUDOERS = "let {user} run everything there without a password: `{user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d"


def check_up(resource: Resource, context: Context) -> Sequence[Finding]:
    """What there is to say of the pair, node by node; both are asked at the same time."""
    spec = NodePairSpec.of(resource)
    with ThreadPoolExecutor(len(ROLES), thread_name_prefix="checkup") as pool:
        found = list(pool.map(lambda role: list(_node(spec, role, context)), ROLES))
    return [*_artifact(spec), *found[0], *found[1]]


def _artifact(spec: NodePairSpec) -> Iterator[Finding]:
    if spec.artifact is not None and not spec.artifact.source.is_file():
        message = f"its artifact is not there: {spec.artifact.source}"
        yield Finding("error", f"NodePair/{spec.name}", message, "put it there before the next upgrade")


def _node(spec: NodePairSpec, role: Role, context: Context) -> Iterator[Finding]:
    node = Node(spec.nodes[role], context.ssh(spec.nodes[role].place), sleep=context.sleep)
    subject = f"NodePair/{spec.name} {role}"
    try:
        facts = facts_of(node, spec)
    except ReconcilerError as error:
        yield Finding("error", subject, error.message, _remedy(error.reason, node.spec))
        return
    failed = [*_faults(spec, facts, subject), *_shortages(spec, facts, subject)]
    if not any(one.level == "error" for one in failed):
        answers = f"{node.spec.place} answers and is root{' by sudo' if node.spec.become == 'sudo' else ''}"
        yield Finding("ok", subject, f"{answers}; {'systemd' if facts.has_systemd else 'no systemd'}, all tools")
    yield from failed


def _faults(spec: NodePairSpec, facts: NodeFacts, subject: str) -> Iterator[Finding]:
    """Without which there is no upgrade, or a lesser one."""
    if not facts.is_root:
        yield Finding("error", subject, "what we run there is not run by root", "log in as root, or set become: sudo")
    if facts.missing_tools:
        missing = ", ".join(facts.missing_tools)
        yield Finding("error", subject, f"programs are missing: {missing}", "install them there")
    configuration = spec.configuration
    if configuration is not None and configuration.lock != "none" and not facts.has_systemd:
        message = "there is no systemd: its configuration is locked as `readonly`, and its lock cannot expire"
        yield Finding("warning", subject, message, "should we die in an upgrade, apply again to have it unlocked")


def _shortages(spec: NodePairSpec, facts: NodeFacts, subject: str) -> Iterator[Finding]:
    """What the first step of an upgrade would refuse."""
    if abs(facts.clock_skew) > spec.max_clock_skew:
        message = f"its clock is {abs(facts.clock_skew):.0f} s {'ahead' if facts.clock_skew > 0 else 'behind'}"
        yield Finding("error", subject, message, f"an upgrade allows {spec.max_clock_skew:g} s: set it right")
    for path, free in facts.free_mb.items():
        if free < spec.min_disk_space:
            message = f"{free} MB are left for {path}"
            yield Finding("error", subject, message, f"an upgrade asks for {spec.min_disk_space} MB: make room")


def _remedy(reason: str, node: NodeSpec) -> str:
    place = node.place
    name = host_name(place.address, place.port)
    address = place.address if place.port == 22 else name.replace("[", "").replace("]", "")
    if ":" in place.address:
        address = f"[{place.address}]:{place.port}"
    remedies = {
        "UnknownHostKey": f"reconciler host trust {address}",
        "HostKeyChanged": f"if it was made anew: reconciler host trust {address} --replace, or correct the document",
        "HostKeyRevoked": "give it a new host key",
        "Unauthorized": f"put the public key into ~{place.user}/.ssh/authorized_keys there, or start your ssh agent",
        "NoSudo": _SUDOERS.format(user=place.user),
    }
    return remedies.get(reason, f"look whether `ssh -p {place.port} {place.user}@{place.address}` works from here")
