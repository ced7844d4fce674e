"""What both variants put on a node beside sshd and rsync: the small service, its tool, and its configuration.

Called by `rooted` (through `tree`) and by `plain`.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from reconciler.lab import service_program
from reconciler.lab.record import Lab, Node

UNIT = "small.service"
FIRST_VERSION = "1.0.0"
CONFIGURATION = "conf/app.conf"
ROOT_KEY = "conf/root.key"
GREETING = "greeting = hello"
_CTL = """#!/bin/sh
# The tool of the small service: ctl version|prepare|stop|install|start|verify|serving|switchover|switchback|rollback
exec {python} -I -S {folder}/service.py "$@"
"""


@dataclass(frozen=True, slots=True)
class Equipment:
    """Where it lies on a node: service and data, as the node sees them, and as this machine does. python: the node's.

    unit: of systemd, "" without it.
    """

    service: Path
    data: Path
    service_here: Path
    data_here: Path
    python: str
    unit: str = ""


def of_plain(folder: Path, seen: Path) -> Equipment:
    """Of a node that is a folder. seen: the folder as the node sees it."""
    return Equipment(seen / "service", seen / "data", folder / "service", folder / "data", sys.executable)


def of_rooted(root: Path) -> Equipment:
    """Of a node that is a machine."""
    service, data = Path("/opt/service"), Path("/srv/data")
    return Equipment(service, data, root / "opt/service", root / "srv/data", "/usr/bin/python3", UNIT)


def equip(lab: Lab, node: Node, what: Equipment) -> None:
    """Put it there. The first node of a lab serves."""
    here = what.service_here
    (here / "faults").mkdir(parents=True)
    shutil.copy(service_program.__file__, here / "service.py")
    text = _CTL.format(python=shlex.quote(what.python), folder=shlex.quote(str(what.service)))
    (here / "ctl").write_text(text)
    (here / "ctl").chmod(0o755)
    (here / "installed").write_text(f"{FIRST_VERSION}\n")
    (here / "claim").write_text(f"1 {lab.nodes[0].name}\n")
    (here / "settings.json").write_text(json.dumps(_settings(lab, node, what), indent=1) + "\n")
    _configure(lab, what.data_here)


def root_key(lab: Lab) -> str:
    """What must never be read anywhere but on the nodes."""
    return f"root-key-{hashlib.sha256(lab.name.encode()).hexdigest()[:32]}"


def _settings(lab: Lab, node: Node, what: Equipment) -> dict[str, object]:
    others = [one for one in lab.nodes if one.name != node.name]
    peer = {"address": others[0].address, "port": others[0].service_port} if others else None
    return {
        "role": node.name,
        "address": node.address,
        "port": node.service_port,
        "peer": peer,
        "unit": what.unit,
        "configuration": str(what.data / CONFIGURATION),
    }


def _configure(lab: Lab, data: Path) -> None:
    """Alike on all nodes."""
    (data / "conf").mkdir(parents=True, exist_ok=True)
    for name, text in ((CONFIGURATION, GREETING), (ROOT_KEY, root_key(lab))):
        (data / name).write_text(text)
        (data / name).chmod(0o600)
