"""What upgrades leave on nodes, and how it goes: commands that ran detached, and copies of the configuration.

Called by `recording` (of older upgrades) and by `releasing` (of all).
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.spec import Role
from reconciler.kinds.node_pair.steps.securing import configuration_of
from reconciler.kinds.node_pair.steps.work import Work
from reconciler.transports.ssh_detached import BASE_OF_ROOT

_BASE = f'if test "$(id -u)" = 0; then base={BASE_OF_ROOT}; else base="$HOME/.local/state/reconciler-node"; fi\n'
_FORGET = (
    _BASE
    + """for run in "$@"; do
  for one in "$base/$run"-*; do
    if test -d "$one"; then rm -rf -- "$one"; fi
  done
done
"""
)


def clear_older(work: Work) -> None:
    """Forget the commands of this pair's other upgrades, and all but the newest copies of the configuration."""
    runs = runs_of(work, but=work.run)

    def clear(role: Role) -> None:
        forget_commands(work.nodes[role], runs)
        if work.spec.configuration is not None:
            configuration_of(work, role).prune_backups()

    work.on_both(clear)


def runs_of(work: Work, but: str = "") -> list[str]:
    """The identities of the pair's upgrades, but for one."""
    rows = work.context.records.list("upgrade_history", pair=work.spec.name)
    return [row["identity"] for row in rows if row["identity"] != but]


def forget_commands(node: Node, runs: Sequence[str]) -> None:
    """Forget what ran on a node for these upgrades, which are over."""
    if runs:
        node.read(["/bin/sh", "-c", _FORGET, "sh", *runs])


def forget_all(work: Work, role: Role, runs: Sequence[str]) -> None:
    """Remove from a node whatever was kept there for this pair."""
    node, name = work.nodes[role], work.spec.name
    forget_commands(node, runs)
    node.read(["/bin/sh", "-c", f'{_BASE}rm -rf -- "$base/pairs/$1"', "sh", name])
    if work.spec.configuration is not None:
        node.read(["/bin/sh", "-c", 'rm -rf -- "$1"', "sh", f"{work.spec.configuration.backup_directory}/{name}"])
