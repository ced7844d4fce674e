"""The commands of a synchronization, run on the backup: one for each path of the module, or the spec's own. Pure.

For `syncing`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from reconciler.errors import TerminalError
from reconciler.kinds.node_pair.nodes.sums import NEW
from reconciler.kinds.node_pair.spec import NodePairSpec, RsyncSpec

_CONNECT_WITHIN = 10


@dataclass(frozen=True, slots=True)
class Part:
    """One run of rsync. words: without a limit of deletions. dry_run: () where the spec has none.

    target: the folder on the backup, path: what it is in the module; both "" for a command of the spec's own.
    """

    words: tuple[str, ...]
    dry_run: tuple[str, ...]
    target: str = ""
    path: str = ""

    def command(self, deletions: int) -> tuple[str, ...]:
        """The words of the real run. deletions: how many it may make."""
        if not self.target:
            return self.words
        program, *rest = self.words
        return (program, f"--max-delete={deletions}", *rest)


def parts_of(spec: NodePairSpec, rsync: RsyncSpec) -> list[Part]:
    """The runs, in the order of the spec. Raises TerminalError("NoSync")."""
    sync = rsync.sync
    if sync is None:
        raise TerminalError("NoSync", f"rsync.sync of {spec.name} does not say how a synchronization is run")
    if sync.command:
        dry_run = ("/bin/sh", "-c", sync.dry_run) if sync.dry_run else ()
        return [Part(("/bin/sh", "-c", sync.command), dry_run)]
    host = spec.nodes["master"].address
    source = f"rsync://[{host}]" if ":" in host else f"rsync://{host}"
    source += f":{rsync.ports['master']}/{sync.module}/"
    return [_part(f"{source}{_inner(path)}", target, path, rsync) for path, target in (sync.paths or {}).items()]


def _part(source: str, target: str, path: str, rsync: RsyncSpec) -> Part:
    timeout = max(1, math.ceil(rsync.timeout))
    # --checksum: a file that was changed within a second to one of the same size would else pass for the same
    options = (
        *("--archive", "--checksum", "--delete", "--itemize-changes", f"--exclude={NEW}*"),
        *(f"--timeout={timeout}", f"--contimeout={min(_CONNECT_WITHIN, timeout)}"),
    )
    places = ("--", source, f"{target.rstrip('/')}/")
    return Part(
        ("rsync", *options, *places), ("rsync", "--dry-run", *options, *places), target.rstrip("/") or "/", path
    )


def _inner(path: str) -> str:
    """A path in the module, as the end of a source: what is in the folder, not the folder."""
    inner = path.strip("/").removeprefix("./")
    return "" if inner in ("", ".") else f"{inner}/"
