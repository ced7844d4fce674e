"""Our scripts on a node: what they begin with, where they keep things, and what their failures mean.

Called by `sums`, `configuration`, `locks` and `syncing`. Everything of a pair lies in one folder of the node; what
changes something there holds its lock, so that a script whose connection was lost and the one that is run again in its
place never meet. Texts of the scripts are for any POSIX shell; values reach them as arguments or through stdin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reconciler.errors import TerminalError
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.transports.process import Completed
from reconciler.transports.ssh_detached import BASE_OF_ROOT

CHANGE_TIMEOUT = 120.0
_ALONE_WITHIN = 60
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}")
_FULL = ("No space left on device", "Disk quota exceeded")
_PROLOGUE = f"""export LC_ALL=C
umask 077
trap '' HUP PIPE
refuse() {{
  reason=$1
  shift
  printf '!%s %s\\n' "$reason" "$*" >&2
  exit 1
}}
if test "$(id -u)" = 0; then base={BASE_OF_ROOT}; else base="$HOME/.local/state/reconciler-node"; fi
name=$1
pair="$base/pairs/$1"
shift
alone() {{
  mkdir -p "$pair" && chmod 700 "$base" "$base/pairs" "$pair" || exit 1
  exec 9>>"$pair/busy"
  flock -w {_ALONE_WITHIN} 9 || refuse Busy "something else of $name still runs here"
}}
"""


def run_script(
    node: Node,
    script: str,
    arguments: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = CHANGE_TIMEOUT,
) -> Completed:
    """Run a script as root; arguments: the pair's name, which becomes $name and $pair (its folder), then $1 and so on.

    What it reads and says is nobody's business but the caller's. Raises what `Node.run` raises.
    """
    words = ["/bin/sh", "-c", _PROLOGUE + script, "sh", checked_name(arguments[0]), *arguments[1:]]
    return node.run(words, timeout=timeout, stdin=stdin, env=env, private=True)


def check(done: Completed, node: Node) -> None:
    """Raise TerminalError for a script that failed: with the reason that it refused for, or `DiskFull`."""
    refused = re.search(r"^!([A-Za-z]+) (.*?)(?=\n!|\Z)", done.stderr, re.MULTILINE | re.DOTALL)
    if done.returncode == 0 and refused is None:
        return
    where = f"{node.role} ({node.address})"
    if full := [line for line in done.stderr.splitlines() if any(sign in line for sign in _FULL)]:
        raise TerminalError("DiskFull", f"{where}: no space is left, and nothing was changed: {full[0]}")
    said = refused[2].strip() if refused else done.last_lines(3) or f"failed with {done.returncode}"
    raise TerminalError(refused[1] if refused else "CommandFailed", f"{where}: {said}")


def checked_name(name: str) -> str:
    """A name that may become part of a path on a node. Raises TerminalError."""
    if not _NAME.fullmatch(name):
        raise TerminalError("BadName", f"{name[:100]!r} is no name: a-z, 0-9, dots and dashes")
    return name
