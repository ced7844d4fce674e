"""Measuring from outside: whole processes with their CPU time and memory, and fair turns. Used by every benchmark."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = 1 / 1024


class BrokenError(Exception):
    """Something that is measured did not do what it should: its figure would mean nothing."""


@dataclass(frozen=True, slots=True)
class Whole:
    """One process from start to end. wall, cpu: seconds, children included in cpu. out: what it printed."""

    wall: float
    cpu: float
    out: str


@dataclass(frozen=True, slots=True)
class Series:
    """Seconds, in the order in which they were measured."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle."""
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        """The one that was disturbed least."""
        return min(self.values)

    def percentile(self, share: float) -> float:
        """The smallest value that at least this share of all does not exceed."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def run(command: Sequence[str | Path], env: Mapping[str, str], cwd: Path, codes: Sequence[int] = (0,)) -> Whole:
    """Run a program to its end. Raises BrokenError for another exit code than `codes`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = [_text(stream) for stream in (out, err)]
    if process.returncode not in codes:
        shown = " ".join(str(part) for part in command)
        raise BrokenError(f"{shown}: exit {process.returncode}\n{texts[0][-2000:]}{texts[1][-2000:]}")
    return Whole(wall, usage.ru_utime + usage.ru_stime, texts[0])


def take_turns(rounds: int, contestants: Mapping[str, Callable[[], float]]) -> dict[str, Series]:
    """Each contestant once a round, in turn: what disturbs the machine disturbs all. The first round is dropped.

    What a contestant returns is its seconds.
    """
    values: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, measure in contestants.items():
            seconds = measure()
            if number:
                values[name].append(seconds)
    return {name: Series(tuple(found)) for name, found in values.items()}


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_of(pid: int) -> dict[str, float]:
    """VmRSS and VmHWM (the highest so far) of a process, in MB."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = int(value.split()[0]) * PAGE_MB
    return found


def _text(stream: tempfile._TemporaryFileWrapper[bytes] | object) -> str:
    stream.seek(0)  # type: ignore[attr-defined]  # the type of TemporaryFile() has no public name
    return str(stream.read().decode(errors="replace"))  # type: ignore[attr-defined]  # likewise
