"""Booting and ending the machines of a lab: systemd-nspawn, each in a PID namespace and a cgroup of its own.

The outer process outlives us; killing it leaves nothing, because the kernel ends the namespace with it. A machine that
reboots makes nspawn end with 133, and is booted again. Called by `rooted`.
"""

from __future__ import annotations

import shlex
import shutil
from contextlib import suppress
from pathlib import Path

from reconciler.lab.network import namespace_of
from reconciler.lab.record import Lab, Node, Process
from reconciler.lab.strays import end_all
from reconciler.transports.process import spawn_detached

_REBOOTS = 133
_IN_GROUPS = 'for d in {groups}; do mkdir -p "$d"; echo $$ >"$d/cgroup.procs"; done; exec {boot}'
_AGAIN = f'while :; do "$@"; test $? = {_REBOOTS} || exit; done'


def boot(lab: Lab, node: str, folder: Path) -> Process:
    """Start a machine; it is not up yet when this returns. folder: of the node, with its `root`."""
    nspawn = [
        *("systemd-nspawn", "--quiet", "--boot", f"--directory={folder / 'root'}", "--bind-ro=/usr"),
        *(f"--machine={namespace_of(lab, node)}", f"--network-namespace-path=/run/netns/{namespace_of(lab, node)}"),
        *("--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe"),
    ]
    boot_it = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _AGAIN, "sh", *nspawn]
    groups = shlex.join(str(path) for path in _groups(lab, node))
    script = _IN_GROUPS.format(groups=groups, boot=shlex.join(boot_it))
    return Process.of(spawn_detached(["/bin/sh", "-c", script], folder / "log"))


def remove(lab: Lab, node: Node, folder: Path) -> None:
    """End a machine as a power cut would, and remove its cgroup and its folder."""
    end_all(folder, node.processes, grace=0.0)
    shutil.rmtree(folder, ignore_errors=True)
    for group in _groups(lab, node.name):
        _remove(group)


def _groups(lab: Lab, node: str) -> list[Path]:
    """Where its cgroups are: two machines in one would share the place of their own services."""
    mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    found: list[Path] = []
    for fields in mounts:
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options):
            found.append(Path(fields[4]) / namespace_of(lab, node))
    return found


def _remove(group: Path) -> None:
    if group.is_dir():
        for path in sorted(group.rglob("*"), reverse=True):
            if path.is_dir():
                with suppress(OSError):
                    path.rmdir()
        with suppress(OSError):
            group.rmdir()
