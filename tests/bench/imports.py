"""What importing costs a command, by package: `python -X importtime` several times, the least of each module.

Only the modules' own time is summed, so that a package is not charged with what it imports from others.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator

from tests.bench.figures import Figure, told
from tests.bench.ground import Ground, document

ROUNDS = 5
SHOWN = 12
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


def figures() -> Iterator[Figure]:
    """A table for each of three commands."""
    ground = Ground("imports")
    (ground.specs / "one.yaml").write_text(document("one", 1))
    ground.command("apply", ground.specs, "--yes")
    for arguments in (("--help",), ("validate", str(ground.specs)), ("plan", str(ground.specs))):
        least = _least(ground, arguments)
        packages: dict[str, list[int]] = defaultdict(list)
        for module, microseconds in least.items():
            packages[_package(module)].append(microseconds)
        ranked = sorted(packages.items(), key=lambda entry: -sum(entry[1]))
        lines = [f"{name:28} {sum(own) / 1000:7.1f} ms in {len(own)} modules" for name, own in ranked[:SHOWN]]
        total = sum(least.values()) / 1000
        yield told(f"imports of {arguments[0]}: {len(least)} modules", f"{total:.1f} ms", *lines)


def _least(ground: Ground, arguments: tuple[str, ...]) -> dict[str, int]:
    """Microseconds of each module's own, the least of all rounds."""
    found: dict[str, int] = {}
    for _ in range(ROUNDS):
        told_by_python = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "from reconciler.cli.main import main; main()", *arguments],
            env=ground.environ,
            cwd=ground.root,
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        for own, module in _LINE.findall(told_by_python):
            found[module] = min(int(own), found.get(module, int(own)))
    return found


def _package(module: str) -> str:
    """The package that people know; everything of Python itself together."""
    first = module.split(".")[0]
    if first in sys.stdlib_module_names or first.startswith("_"):
        return "Python itself"
    return ".".join(module.split(".")[:2]) if first == "reconciler" else first
