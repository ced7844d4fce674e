"""Where a benchmark runs: a home, specs and a live system of its own below `.bench/`, and the real program on them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.measuring import BrokenError, Whole, cpu_of, memory_of, run

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / ".bench"
RECONCILER = Path(sys.executable).with_name("reconciler")
TIMED = Path(__file__).with_name("timed.py")
PATIENCE = 300.0
"""Seconds after which what is awaited will not come any more."""


@dataclass(frozen=True, slots=True)
class Call:
    """What one call of the kind cost. what: observe or change. wall, cpu: seconds. at: its end, since the epoch."""

    what: str
    at: float
    wall: float
    cpu: float


class Ground:
    """One home with its specs. name: of its folder, which is emptied first."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.root = BENCH / name
        shutil.rmtree(self.root, ignore_errors=True)
        self.home = self.root / "home"
        self.specs = self.root / "specs"
        self.live = self.root / "live.json"
        self.costs = self.root / "costs"
        self.home.mkdir(parents=True, mode=0o700)
        self.specs.mkdir()
        document = {"plugins": ["entry_kind"], "kinds": {"Entry": {"file": str(self.live), "hang": 3600}}, **settings}
        self._file("config.yaml", json.dumps(document))

    @property
    def environ(self) -> dict[str, str]:
        """What the program sees: nothing of this machine's own settings, and compiled modules as after an install."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        plugins = str(ROOT / "tests" / "plugins")
        return {**kept, "HOME": str(self.root), "RECONCILER_HOME": str(self.home), "PYTHONPATH": plugins}

    def _file(self, name: str, text: str) -> None:
        path = self.home / name
        path.write_text(text)
        path.chmod(0o600)

    def entries(self, count: int, per_file: int = 10, interval: str = "1h") -> list[Path]:
        """Specs of so many entries, and the live system just as they want it."""
        files = []
        for number in range(0, count, per_file):
            numbers = range(number, min(number + per_file, count))
            path = self.specs / f"entries-{number // per_file:05}.yaml"
            path.write_text("---\n".join(document(f"entry-{one:05}", one, interval) for one in numbers))
            files.append(path)
        self.live.write_text(
            json.dumps({f"entry-{one:05}": {"text": f"entry number {one}", "size": one} for one in range(count)})
        )
        return files

    def command(self, *arguments: str | Path) -> Whole:
        """The program, to its end."""
        return run([RECONCILER, *arguments], self.environ, self.root)

    def timed_command(self, *arguments: str | Path) -> Whole:
        """The same, while what the kind itself costs is noted in `costs`."""
        return run([sys.executable, TIMED, self.costs, *arguments], self.environ, self.root)

    def calls(self, since: float) -> list[Call]:
        """What was noted from then on; seconds since the epoch."""
        lines = self.costs.read_text().splitlines() if self.costs.exists() else []
        calls = (Call(what, float(at), float(wall), float(cpu)) for what, at, wall, cpu in map(str.split, lines))
        return [call for call in calls if call.at >= since]

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the store, read apart from the program."""
        with closing(self.store()) as connection:
            return connection.execute(statement, values).fetchall()

    def store(self) -> sqlite3.Connection:
        """The store, to read."""
        return sqlite3.connect(f"file:{self.home / 'reconciler.db'}?mode=ro", uri=True, timeout=30)

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """A daemon on the specs, ended at the end."""
        log, since = self.root / "daemon.log", time.time()
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, str(TIMED), str(self.costs), "daemon", str(self.specs), "--port", "0"],
                env=self.environ,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().partition("page: ")[2].strip()
            if not url:
                raise BrokenError(f"the daemon did not start: {log.read_text()[-2000:]}")
            yield Daemon(self, process, url, since)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


@dataclass(slots=True)
class Daemon:
    """A daemon that runs. since: when it was started, seconds since the epoch."""

    ground: Ground
    process: subprocess.Popen[str]
    url: str
    since: float

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        return cpu_of(self.process.pid)

    @property
    def memory(self) -> dict[str, float]:
        """VmRSS and VmHWM in MB."""
        return memory_of(self.process.pid)

    def get(self, path: str) -> bytes:
        """What the page answers. Raises OSError."""
        with urllib.request.urlopen(self.url.rstrip("/") + path, timeout=60) as answer:
            return bytes(answer.read())

    def metrics(self) -> Mapping[str, float]:
        """The metrics without labels."""
        text = self.get("/metrics").decode()
        return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}

    def await_loaded(self) -> None:
        """Until the specs were loaded for the first time."""

        def is_ready() -> bool:
            try:
                return bool(self.get("/readyz"))
            except OSError:  # 503 until then
                return False

        self.wait_for(is_ready)

    def await_rest(self, count: int) -> None:
        """Until this daemon has looked at so many resources and nothing is left to be done."""
        seen = "SELECT count(*) FROM statuses WHERE checked_at > ?"
        self.wait_for(lambda: self.ground.rows(seen, self.since)[0][0] >= count, 0.2)
        self.wait_for(lambda: not any(self._queue()), 0.2)

    def wait_for(self, what: Callable[[], bool], pause: float = 0.02) -> None:
        """Until it is true. Raises BrokenError when the daemon ends before, or when it never comes."""
        until = time.monotonic() + PATIENCE
        while not what():
            if self.process.poll() is not None:
                raise BrokenError(f"the daemon ended: {(self.ground.root / 'daemon.log').read_text()[-2000:]}")
            if time.monotonic() > until:
                raise BrokenError("what was awaited did not come")
            time.sleep(pause)

    def _queue(self) -> tuple[float, float]:
        figures = self.metrics()
        return figures["reconciler_queue_depth"], figures["reconciler_queue_in_work"]


def document(name: str, size: int, interval: str = "1h", **spec: Any) -> str:
    """The document of an entry, as people write them."""
    more = "".join(f"  {field}: {json.dumps(value)}\n" for field, value in spec.items())
    return (
        "apiVersion: reconciler.dev/v1\nkind: Entry\n"
        f"metadata:\n  name: {name}\n  labels: {{env: dev, team: t{size % 7}}}\n"
        f"lifecycle:\n  interval: {interval}\n"
        f"spec:\n  text: entry number {size}\n  size: {size}\n{more}"
    )
