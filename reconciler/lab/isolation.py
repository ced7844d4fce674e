"""Letting a node that is only a folder see places of its own: its state in /var/lib, and itself at a path that is the
same on every node. Called by `plain`.

A mount namespace does it, for root, and for others where the kernel lets them have a user namespace. What runs in it
finds no systemd. Without it the nodes share this machine's file system, and documents have to tell them apart.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from reconciler.lab.commands import run

THIS_NODE = "this-node"
_INSIDE = """mount --bind {folder} {seen} && mount --bind {folder}/state /var/lib || exit
test ! -d /run/systemd || mount -t tmpfs tmpfs /run/systemd || exit
exec {drop} "$@"
"""
_AS_USER = ("--user", "--map-current-user", "--keep-caps")
_DROP = ("setpriv", "--ambient-caps=-all", "--inh-caps=-all")


def is_possible(lab_folder: Path) -> bool:
    """Whether this machine allows it. A lab below /var/lib would hide itself."""
    if shutil.which("unshare") is None or lab_folder.resolve().is_relative_to("/var/lib"):
        return False
    return run(*_unshare(), "mount", "--bind", "/tmp", "/var/lib", check=False).returncode == 0  # noqa: S108 - seen by nobody


def entering(folder: Path) -> Sequence[str]:
    """The words before a command that runs on the node of this folder."""
    drop = shlex.join(_DROP) if os.geteuid() else ""
    seen = shlex.quote(str(folder.parent / THIS_NODE))
    script = _INSIDE.format(folder=shlex.quote(str(folder)), seen=seen, drop=drop)
    return (*_unshare(), "/bin/sh", "-c", script, "sh")


def _unshare() -> tuple[str, ...]:
    return ("unshare", "--mount", *(_AS_USER if os.geteuid() else ()))
