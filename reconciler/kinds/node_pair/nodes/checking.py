"""What a node is like before anything is done with it, which version it runs, and whether it serves. Reads only.

Called by the first steps of an upgrade and by looks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.errors import TerminalError
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.versions import compare_versions as compare_versions
from reconciler.kinds.node_pair.spec import Command, NodePairSpec
from reconciler.transports.process import Completed

_LONGEST_VERSION = 100
_TOOLS = (
    *("awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname", "env", "find", "flock"),
    *("grep", "head", "id", "ls", "mkdir", "mkfifo", "mktemp", "mv", "readlink", "rm", "rmdir", "sed", "setsid"),
    *("sha256sum", "sleep", "sort", "stat", "sync", "tail", "timeout", "touch", "tr"),
)
_FACTS = r"""PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
now=$(date +%s.%N)
case $now in *N*) now=$(date +%s).5 ;; esac    # a date without fractions: the middle of this second
echo "now $now"
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
echo "user $(id -u)"
test ! -d /run/systemd/system || echo systemd
for one in $1; do command -v "$one" >/dev/null 2>&1 || echo "missing $one"; done
shift
for path in "$@"; do
  while ! test -d "$path"; do path=$(dirname "$path"); done
  df -Pk "$path" | awk 'NR > 1 { for (i = NF; i > 1; i--) if ($i ~ /^([0-9]+%|-)$/) { print "free " $(i - 1); exit } }'
done
echo end
"""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a node is like. clock_skew: seconds that its clock is ahead of ours, against the middle of the round trip.

    free_mb: megabytes (a million bytes) that are free where the artifact and the backups go, by the path in the spec.
    is_root: whether what we run there is run by root. missing_tools: names of programs that it does not have.
    """

    boot_id: str
    clock_skew: float
    free_mb: Mapping[str, int]
    is_root: bool
    has_systemd: bool
    missing_tools: tuple[str, ...]


def facts_of(node: Node, spec: NodePairSpec) -> NodeFacts:
    """What a node is like, in one round trip.

    Raises TerminalError: `NoSudo` when nothing may be run as root there, `NotChecked` when it gives no answer to read.
    """
    paths = _places(spec)
    done = node.run(["/bin/sh", "-c", _FACTS, "sh", " ".join(_tools(spec)), *paths])
    middle = time.time() - done.duration / 2
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest)
    free = found.get("free", [])
    if "now" not in found and node.spec.become == "sudo":
        raise TerminalError("NoSudo", f"{_where(node)}: sudo without a password is refused: {_said(done)}")
    try:
        return NodeFacts(
            boot_id=found["boot"][0],
            clock_skew=float(found["now"][0]) - middle,
            free_mb={path: int(one) * 1024 // 1_000_000 for path, one in zip(paths, free, strict=True)},
            is_root=found["user"] == ["0"],
            has_systemd="systemd" in found,
            missing_tools=tuple(found.get("missing", ())),
        )
    except (KeyError, ValueError) as error:
        raise TerminalError("NotChecked", f"{_where(node)}: no answer that can be read: {_said(done)}") from error


def version_of(node: Node, spec: NodePairSpec) -> str:
    """The version that a node runs: one line of at most 100 characters. Raises TerminalError("NoVersion")."""
    done = _ask(node, spec, spec.commands["version"], spec.version)
    version = done.stdout.strip()
    if done.returncode or not version.isprintable() or not 0 < len(version) <= _LONGEST_VERSION:
        why = f"ended with {done.returncode}: {_said(done)}" if done.returncode else f"prints {version[:100]!r}"
        raise TerminalError("NoVersion", f"{_where(node)}: commands.version tells no version: it {why}")
    return version


def serves(node: Node, spec: NodePairSpec, version: str = "") -> bool:
    """Whether a node serves now. version: for the command's environment, "" for the desired one.

    Raises TerminalError("ServingUnknown") for any answer but yes (0) and no (1).
    """
    if spec.serving is None:
        raise TerminalError("ServingUnknown", f"{_where(node)}: the spec has no command `serving`")
    done = _ask(node, spec, spec.serving, version or spec.version)
    if done.returncode not in (0, 1):
        message = f"{_where(node)}: `serving` is to end with 0 or 1, and ended with {done.returncode}: {_said(done)}"
        raise TerminalError("ServingUnknown", message)
    return done.returncode == 0


def _ask(node: Node, spec: NodePairSpec, command: Command, version: str) -> Completed:
    return node.run(command.script, timeout=command.timeout, env=spec.environment(node.role, version))


def _places(spec: NodePairSpec) -> list[str]:
    """Where the upgrade puts something: the artifact, and the backups of the configuration."""
    artifact = [spec.artifact.destination] if spec.artifact is not None else []
    backups = [spec.configuration.backup_directory] if spec.configuration is not None else []
    return list(dict.fromkeys([*artifact, *backups]))


def _tools(spec: NodePairSpec) -> list[str]:
    """The programs that our own scripts and the spec's settings need on a node."""
    tools = list(_TOOLS)
    if spec.configuration is not None and spec.configuration.lock == "immutable":
        tools += ["chattr", "lsattr"]
    if spec.rsync is not None:
        tools += ["systemctl"] if spec.rsync.control == "systemd" else []
        tools += ["rsync"] if spec.rsync.sync is not None and spec.rsync.sync.module else []
    return tools


def _where(node: Node) -> str:
    return f"{node.role} ({node.address})"


def _said(done: Completed) -> str:
    return re.sub(r"\s*\n\s*", "; ", done.last_lines(3).strip()) or "it says nothing"
