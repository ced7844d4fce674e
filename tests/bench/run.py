"""Prints the project's figures, as ratios wherever there is something to compare with: `make bench`.

    python tests/bench/run.py               all of them
    python tests/bench/run.py startup load  some

Every figure is measured here and now, ours and theirs in turn; medians, with the least in brackets. A busy machine
shows in the load that is printed, and a figure that was missed on one is worth a second run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time

from tests.bench.figures import HEADER, Figure, row
from tests.bench.measuring import BrokenError
from tests.bench.peers import AbsentError

BENCHMARKS = (
    "startup",
    "imports",
    "noop_plan",
    "one_more",
    "load",
    "edits",
    "resync",
    "isolation",
    "idle",
    "git",
    "pages",
    "clusters",
    "gitops",
    "node_pairs",
)


def main() -> int:
    """Run what was asked for; 1 when a benchmark could not be measured at all."""
    parser = argparse.ArgumentParser(description="Print figures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)}")
    names = parser.parse_args().names or BENCHMARKS
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, load {_load()}\n\n{row(HEADER)}")
    missed: list[str] = []
    broken = [name for name in names if not _measured(name, missed)]
    print(f"\nload at the end: {_load()}")
    print(f"missed: {'; '.join(missed) or 'nothing that was measured'}")
    if broken:
        print(f"broken: {', '.join(broken)}")
    return 1 if broken else 0


def _measured(name: str, missed: list[str]) -> bool:
    """Print the figures of one benchmark as they come. False when it broke."""
    started = time.monotonic()
    try:
        for figure in importlib.import_module(f"tests.bench.{name}").figures():
            _tell(figure)
            if figure.verdict == "MISSED":
                missed.append(figure.what)
    except AbsentError as error:
        print(f"{name}: not compared: {error}")
    except BrokenError as error:
        print(f"{name}: BROKEN: {error}", file=sys.stderr)
        return False
    print(f"    ({name}: {time.monotonic() - started:.0f} s, load {_load()})", flush=True)
    return True


def _tell(figure: Figure) -> None:
    print("\n".join(figure.lines()), flush=True)


def _load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main())
