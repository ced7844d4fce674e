"""Upgrading two nodes over SSH: against Ansible and pyinfra with the same commands, and an artifact against scp.

The nodes are those of the lab, and everybody takes turns on them. Each contestant runs the same twenty trivial commands
on one node after the other, as a whole process; that they were run, and once each, is looked at after every turn.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from reconciler.errors import ReconcilerError
from reconciler.lab import labs
from reconciler.model.secret import Secret
from reconciler.transports.ssh import Ssh, SshPlace
from reconciler.transports.ssh_trust import read_known_hosts
from reconciler.transports.ssh_upload import Upload
from tests.bench.figures import Figure, at_most_times, faster, seconds, told
from tests.bench.ground import BENCH, Ground
from tests.bench.measuring import BrokenError, Series, take_turns
from tests.bench.pair_peers import Peers
from tests.bench.peers import AbsentError

ROUNDS = 3
UPLOADS = 5
SIZE = 100_000_000
GROUPS = ("prepare", "stop", "install", "start")
EACH = 5
_PLACE = "${LAB_NODE:-/srv}"
SCRIPTS: Mapping[str, list[str]] = {
    group: [f'echo "{group} {number}" >>"{_PLACE}/bench-log"' for number in range(EACH)] for group in GROUPS
}
_TAKE_OVER = f'echo "$VERSION" >"{_PLACE}/bench-version"'
_VERSION = f'cat "{_PLACE}/bench-version"'


def figures() -> Iterator[Figure]:
    """Two upgrades of ours, one of each peer, in turn; then uploads in turn with scp."""
    labs.down(BENCH / "node-pairs" / "home")  # of a run that was killed
    ground = Ground("node-pairs", plugins=[], kinds={})
    try:
        lab = labs.up(ground.home)
    except ReconcilerError as error:
        raise AbsentError(f"there is no lab: {error}") from error
    try:
        with ExitStack() as stack:
            nodes = {node.name: stack.enter_context(Ssh(_place(ground.home, node.name))) for node in lab.nodes}
            pair = _Pair(ground, nodes)
            yield from _uploads(ground, nodes["master"])
            yield from _upgrades(pair)
    finally:
        labs.down(ground.home)


class _Pair:
    """The pair of the lab. nodes: logins to look at them, which no contestant uses."""

    def __init__(self, ground: Ground, nodes: Mapping[str, Ssh]) -> None:
        self.ground, self.nodes = ground, nodes
        document = labs.document(ground.home)
        assert document is not None
        self._spec: dict[str, Any] = yaml.safe_load(document.read_text())["spec"]
        self._number = 0
        for node in nodes.values():
            _said(node, f'echo 1.0.0 >"{_PLACE}/bench-version"; : >"{_PLACE}/bench-log"')

    @property
    def scripts(self) -> list[str]:
        """What is run on each node, in order."""
        return [script for group in GROUPS for script in _of(group)]

    def upgrade(self, repeatable: bool) -> Callable[[], float]:
        """`reconciler apply` of the pair with another version. Gives seconds."""
        return lambda: self._turn(lambda version: self._apply(version, repeatable))

    def by(self, program: Callable[[str], Any]) -> Callable[[], float]:
        """The same by somebody else."""
        return lambda: self._turn(lambda version: program(version).wall)

    def own_time(self) -> float:
        """Seconds that the commands themselves take on both nodes."""
        script = "\n".join(f"/bin/sh -c {script!r}" for script in ["VERSION=0; " + one for one in self.scripts])
        script = f"cp {_PLACE}/bench-version /tmp/kept-$$; s=$(date +%s%N)\n{script}\ne=$(date +%s%N)\n"
        script += f"mv /tmp/kept-$$ {_PLACE}/bench-version; : >{_PLACE}/bench-log; echo $((e - s))"
        return sum(int(_said(node, script)) for node in self.nodes.values()) / 1e9

    def _turn(self, contestant: Callable[[str], float]) -> float:
        self._number += 1
        version = f"1.0.{self._number}"
        wall = contestant(version)
        for name, node in self.nodes.items():
            found = _said(node, f'{_VERSION}; sort "{_PLACE}/bench-log" | uniq | wc -l; wc -l <"{_PLACE}/bench-log"')
            count = len(GROUPS) * EACH
            if found.split() != [version, str(count), str(count)]:
                raise BrokenError(f"{name}: {version} and {count} commands, once each, were wanted: {found.split()}")
            _said(node, f': >"{_PLACE}/bench-log"')
        return wall

    def _apply(self, version: str, repeatable: bool) -> float:
        commands = {group: {"run": _of(group), "repeatable": repeatable} for group in GROUPS}
        spec = {name: self._spec[name] for name in ("master", "backup")}
        commands["version"] = {"run": _VERSION, "repeatable": True}
        document = {
            "apiVersion": "reconciler.dev/v1",
            "kind": "NodePair",
            "metadata": {"name": "bench"},
            "spec": {**spec, "version": version, "commands": commands},
        }
        (self.ground.specs / "pair.yaml").write_text(yaml.safe_dump(document))
        return self.ground.command("apply", self.ground.specs, "--yes").wall


def _upgrades(pair: _Pair) -> Iterator[Figure]:
    folder = pair.ground.home / "lab"
    places = {name: node.place for name, node in pair.nodes.items()}
    peers = Peers(places, folder / "id", folder / "known_hosts", pair.scripts)
    try:
        contestants = {
            "repeatable": pair.upgrade(repeatable=True),
            "detached": pair.upgrade(repeatable=False),
            "ansible": pair.by(peers.ansible),
            "pyinfra": pair.by(peers.pyinfra),
        }
        took = take_turns(ROUNDS, contestants)
        versions = peers.versions()
    finally:
        peers.close()
    count = f"{len(pair.scripts)} commands on each of two nodes"
    yield faster(f"{count}, against Ansible", took["repeatable"], took["ansible"], 5, "repeatable commands", versions)
    yield faster("the same, against pyinfra", took["repeatable"], took["pyinfra"], 2)
    yield faster("commands that outlive their connection, to Ansible", took["detached"], took["ansible"], 3)
    own = pair.own_time()
    for name in ("repeatable", "detached"):
        each = (took[name].median - own) / (2 * len(pair.scripts)) * 1000
        yield told(
            f"overhead over the commands' own {own * 1000:.0f} ms, {name}",
            seconds(took[name].median - own),
            f"{each:.0f} ms a command, start of the process, both looks and all records included",
        )


def _uploads(ground: Ground, node: Ssh) -> Iterator[Figure]:
    """A new file each time, so that nothing is there already; both connect anew, and only we verify what arrived."""
    source = ground.root / "artifact"
    try:
        took = take_turns(UPLOADS, {"ours": lambda: _upload(source, node), "scp": lambda: _scp(ground, source, node)})
        alone = Series(tuple(_sum_there(node) for _ in range(3)))
    finally:
        source.unlink(missing_ok=True)
    yield at_most_times(
        f"an artifact of {SIZE // 1_000_000} MB, against scp",
        took["ours"],
        took["scp"],
        1 / 0.7,
        f"{took['scp'].median / took['ours'].median:.2f} of its speed; wanted is 0.7",
        f"with its sum computed here and there, which alone takes the node {seconds(alone.median)}",
    )


def _upload(source: Path, node: Ssh) -> float:
    _fill(source)
    digest = sha256(source.read_bytes()).hexdigest()
    started = time.perf_counter()
    with Ssh(node.place) as ssh:
        upload = Upload(source, "/tmp/bench-artifact", digest)
        done = upload.send(ssh, progress=lambda _percent: None, sleep=time.sleep, timeout=300)
    wall = time.perf_counter() - started
    if done.sent != SIZE:
        raise BrokenError(f"{done} instead of {SIZE} bytes")
    _said(node, "rm -f /tmp/bench-artifact")
    return wall


def _scp(ground: Ground, source: Path, node: Ssh) -> float:
    folder, place = ground.home / "lab", node.place
    options = ["-q", "-F", "/dev/null", "-i", folder / "id", "-o", f"UserKnownHostsFile={folder / 'known_hosts'}"]
    command = ["scp", *options, "-P", str(place.port), source, f"{place.user}@{place.address}:/tmp/bench-scp"]
    started = time.perf_counter()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    if done.returncode:
        raise BrokenError(f"scp: {done.stderr}")
    _said(node, "rm -f /tmp/bench-scp")
    return wall


def _sum_there(node: Ssh) -> float:
    """What the host alone needs for the sum of such a file, which it has just read."""
    _said(node, f"head -c {SIZE} /dev/zero >/tmp/bench-sum")
    program = "openssl dgst -sha256" if _said(node, "command -v openssl || echo") else "sha256sum"
    started = time.perf_counter()
    _said(node, f"{program} </tmp/bench-sum")
    wall = time.perf_counter() - started
    _said(node, "rm -f /tmp/bench-sum")
    return wall


def _fill(path: Path) -> None:
    block = secrets.token_bytes(1_000_000)
    with path.open("wb") as file:
        for _ in range(SIZE // len(block)):
            file.write(block)


def _of(group: str) -> list[str]:
    """The commands of a group; what makes a version the one that runs is part of one of them."""
    first, *others = SCRIPTS[group]
    return [f"{_TAKE_OVER} && {first}" if group == "install" else first, *others]


def _place(home: Path, name: str) -> SshPlace:
    lab = labs.look(home)
    assert lab is not None
    node, folder = lab.node(name), home / "lab"
    identity = Secret((folder / "id").read_text(), "file:id")
    return SshPlace(node.address, node.port, node.user, identity, read_known_hosts(folder / "known_hosts"))


def _said(node: Ssh, script: str) -> str:
    done = node.run(script, timeout=120)
    if done.returncode:
        raise BrokenError(f"{node.place}: {script}: {done.last_lines(3)}")
    return done.stdout.strip()
