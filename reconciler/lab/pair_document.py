"""A ready document for the pair of nodes of a lab: HOME/lab/pair.yaml, and the secrets that it names. Called by `labs`.

`reconciler plan HOME/lab/pair.yaml` finds nothing to do; another `version` in it, or another configuration in
HOME/secrets/lab-app.conf, plans an upgrade.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import yaml

from reconciler.lab import plain
from reconciler.lab.equipment import CONFIGURATION, FIRST_VERSION, GREETING, Equipment, of_plain, of_rooted
from reconciler.lab.record import Lab, Node
from reconciler.lab.tree import SYNC_TIMER
from reconciler.transports.ssh_trust import host_name

DOCUMENT = "pair.yaml"
IDENTITY, CONTENT = "lab-id", "lab-app.conf"
_ARTIFACT = "release.bin"
_CALLS = ("version", "prepare", "stop", "install", "start", "verify", "switchover", "switchback", "rollback")
_REPEATABLE = ("version", "prepare", "verify")


def write(home: Path, lab: Lab) -> None:
    """Write it, for the lab of a home. A lab whose nodes are not master and backup gets none."""
    if {node.name for node in lab.nodes} != {"master", "backup"}:
        return
    folder, secrets = home / "lab", home / "secrets"
    secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    _put(secrets / IDENTITY, (folder / "id").read_text())
    _put(secrets / CONTENT, GREETING)
    _put(folder / _ARTIFACT, f"the small service, for lab {lab.name}\n" * 1000)
    document = {"apiVersion": "reconciler.dev/v1", "kind": "NodePair", "metadata": {"name": "lab"}}
    spec = _spec(folder, lab)
    _put(folder / DOCUMENT, yaml.safe_dump({**document, "spec": spec}, sort_keys=False, width=120))


def remove(home: Path) -> None:
    """Remove what `write` wrote."""
    for path in (home / "secrets" / IDENTITY, home / "secrets" / CONTENT):
        path.unlink(missing_ok=True)
    for name in (DOCUMENT, _ARTIFACT):
        (home / "lab" / name).unlink(missing_ok=True)


def _put(path: Path, text: str) -> None:
    """A file that nobody else may read, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(path)


def _spec(folder: Path, lab: Lab) -> dict[str, Any]:
    what = _equipment(folder, lab)
    shares_disk = lab.variant == "plain" and not lab.isolated
    tool = '"$LAB_NODE/service/ctl"' if shares_disk else f"{what.service}/ctl"
    spec: dict[str, Any] = {node.name: _node(folder, node) for node in lab.nodes}
    spec["version"] = FIRST_VERSION
    if not shares_disk:
        sha256 = hashlib.sha256((folder / _ARTIFACT).read_bytes()).hexdigest()
        spec["artifact"] = {"source": _ARTIFACT, "destination": str(what.service / _ARTIFACT), "sha256": sha256}
    spec["commands"] = {name: _command(tool, name) for name in _CALLS}
    spec["serving"] = _command(tool, "serving")
    spec["verify"] = {"retries": 5, "delay": "500ms", "soak": "1s"}
    if not shares_disk:
        new = {str(what.data / CONFIGURATION): {"content": {"fromFile": CONTENT}}}
        lock = "immutable" if lab.variant == "rooted" else "readonly"
        spec["configuration"] = {"paths": [str((what.data / CONFIGURATION).parent)], "new": new, "lock": lock}
    spec["rsync"] = _rsync(lab, tool, what.data)
    return spec


def _equipment(folder: Path, lab: Lab) -> Equipment:
    """Of the backup, which is also the master's wherever documents can tell no node from the other."""
    node = folder / "backup"
    return of_rooted(node / "root") if lab.variant == "rooted" else of_plain(node, plain.seen_by_itself(node, lab))


def _node(folder: Path, node: Node) -> dict[str, Any]:
    """How one logs in; its host key is the one that was made with it."""
    at = host_name(node.address, node.port)
    lines = [line.split() for line in (folder / "known_hosts").read_text().splitlines()]
    key = next(" ".join(words[1:3]) for words in lines if words[0] == at)
    login = {"address": node.address, "port": node.port, "user": node.user}
    return {**login, "identity": {"fromFile": IDENTITY}, "hostKey": key}


def _command(tool: str, name: str) -> str | dict[str, Any]:
    return {"run": f"{tool} {name}", "repeatable": True} if name in _REPEATABLE else f"{tool} {name}"


def _rsync(lab: Lab, tool: str, data: Path) -> dict[str, Any]:
    ports = {node.name: node.rsync_port for node in lab.nodes}
    sync = {"module": "data", "paths": {"conf": str(data / "conf")}}
    if lab.variant == "rooted":
        return {"control": "systemd", "unit": "rsync", "timers": [SYNC_TIMER], "port": ports["master"], "sync": sync}
    control = tool.replace("service/ctl", "control")
    commands = {verb: f"{control} {verb}" for verb in ("start", "stop", "status")}
    return {
        "control": "command",
        "commands": commands,
        "port": ports["master"],
        "backupPort": ports["backup"],
        "sync": sync,
    }
