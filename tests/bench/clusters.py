"""Fifty clusters on the sandbox at once: the wall time, and how much of the work was ours."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.bench.figures import Figure, seconds, told
from tests.bench.ground import Ground
from tests.bench.measuring import BrokenError, cpu_of

COUNT = 50
FORKS = 8


def figures() -> Iterator[Figure]:
    """One creation of all, then one look at all, then one deletion of all."""
    ground = Ground("clusters")
    try:
        yield from _measured(ground)
    finally:
        ground.command("sandbox", "stop")


def _measured(ground: Ground) -> Iterator[Figure]:
    (ground.specs / "first.yaml").write_text(_document("first", "present"))  # it starts the sandbox
    ground.command("apply", ground.specs, "--yes")
    sandbox = json.loads((ground.home / "sandbox" / "process.json").read_text())["pid"]
    for what, state in ((f"{COUNT} clusters made", "present"), ("the same, deleted", "absent")):
        _write(ground, state)
        before = cpu_of(sandbox)
        whole = ground.command("apply", ground.specs, "--yes", "--forks", str(FORKS), "--max-deletes", str(COUNT))
        theirs = cpu_of(sandbox) - before
        found = ground.rows("SELECT count(*) FROM clusters WHERE actual_state = 'running'")[0][0]
        if found != 1 + (COUNT if state == "present" else 0):
            raise BrokenError(f"{found} clusters run: {whole.out[-2000:]}")
        share = whole.cpu / (whole.cpu + theirs)
        yield told(
            f"{what}, --forks {FORKS}",
            seconds(whole.wall),
            f"of the work {share:.0%} is ours: {whole.cpu:.1f} s of CPU, the sandbox's {theirs:.1f} s",
            f"{whole.wall / COUNT * 1000:.0f} ms a cluster",
        )


def _write(ground: Ground, state: str) -> None:
    documents = (_document(f"c{number:02}", state) for number in range(COUNT))
    (ground.specs / "clusters.yaml").write_text("---\n".join(documents))


def _document(name: str, state: str) -> str:
    envelope = f"apiVersion: reconciler.dev/v1\nkind: Cluster\nmetadata: {{name: {name}}}\n"
    return f"{envelope}lifecycle: {{state: {state}}}\nspec: {{provider: sandbox}}\n"
