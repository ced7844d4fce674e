"""10,000 resources in 1,000 files: reading and checking them, against the YAML parser and a schema validator alone.

Each contestant is a process of its own (`load_contestants.py`) that prints the seconds of the work without its imports.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure, at_most_times
from tests.bench.ground import Ground
from tests.bench.measuring import run, take_turns

COUNT = 10_000
ROUNDS = 5
CONTESTANTS = Path(__file__).with_name("load_contestants.py")


def figures() -> Iterator[Figure]:
    """Against jsonschema, which is what was promised, and against jsonschema-rs."""
    ground = Ground("load")
    ground.entries(COUNT)
    schema = ground.root / "schema.json"
    schema.write_text(ground.command("schema", "Entry").out)

    def seconds(contestant: str) -> float:
        command = [sys.executable, CONTESTANTS, contestant, ground.specs, schema]
        return float(run(command, ground.environ, ground.root).out)

    found = take_turns(ROUNDS, {name: lambda name=name: seconds(name) for name in ("ours", "jsonschema", "rust")})
    what = f"load and validate {COUNT:,} resources in {COUNT // 10:,} files"
    yield at_most_times(what, found["ours"], found["jsonschema"], 1.5, "against yaml.CSafeLoader and jsonschema")
    yield at_most_times("the same", found["ours"], found["rust"], 1.5, "against yaml.CSafeLoader and jsonschema-rs")
