"""A place to test in: home, specs, a live system, the real command line. Used through the fixtures of conftest."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from forking import Forked, run_forked

PLUGINS = Path(__file__).parent
STOPPING = PLUGINS / "stopping.py"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as one JSON document."""
        return json.loads(self.out)

    @property
    def stream(self) -> list[dict[str, Any]]:
        """Its output as a stream of JSON objects, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Place:
    """One home with its specs and its live system (a JSON file), and the command line on them."""

    def __init__(self, root: Path, template: Path | None = None) -> None:
        self.root = root
        self.home = root / "home"
        self.specs = root / "specs"
        self.live = root / "live.json"
        self.settings: dict[str, Any] = {}
        self._started: list[subprocess.Popen[str] | Forked] = []
        self.home.mkdir(mode=0o700)
        self.specs.mkdir()
        if template is not None:
            shutil.copy(template, self.database_file)

    @property
    def database_file(self) -> Path:
        """The store."""
        return self.home / "reconciler.db"

    @property
    def environ(self) -> dict[str, str]:
        """What every command of this place is given: nothing of the machine's own settings."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.root),
            "PYTHONPATH": os.pathsep.join([str(PLUGINS), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONWARNINGS": "error",
            "RECONCILER_HOME": str(self.home),
            "RECONCILER_PLUGINS": "entry_kind",
            "RECONCILER_KINDS": json.dumps({"Entry": {"file": str(self.live), "hang": 3600}}),
            **{f"RECONCILER_{name}": str(value) for name, value in self.settings.items()},
        }

    def write(self, name: str, *documents: Mapping[str, Any]) -> Path:
        """A spec file with these documents."""
        path = self.specs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        return path

    def run(
        self,
        *arguments: str | Path,
        code: int | None = 0,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        cwd: Path | None = None,
    ) -> Ran:
        """Run the command line. code: the exit code that it must have; None: any.

        Its process is a fork of one that has imported it, like that of `start`; `start_program` begins with nothing.
        """
        command = ["reconciler", *map(str, arguments)]
        environ = {**self.environ, **(env or {})}
        ended = run_forked(command, environ, timeout=240, cwd=cwd or self.root, stdin=stdin)
        ran = Ran(ended.returncode, ended.stdout, ended.stderr)
        assert code is None or ran.code == code, f"exit code {ran.code}, not {code}\n{ran.out}\n{ran.err}"
        assert "Traceback" not in ran.err or code is None, ran.err
        return ran

    def start(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, stop: str = "", cwd: Path | None = None
    ) -> Forked:
        """Start the command line. stop: a moment of `stopping.py` at which it stops itself."""
        process = Forked(
            ["reconciler", *([stop] if stop else []), *map(str, arguments)],
            {**self.environ, **(env or {})},
            cwd=cwd or self.root,
            script=STOPPING if stop else "",
        )
        self._started.append(process)
        return process

    def start_program(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the installed program, with nothing imported before, and with pipes to read from while it runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler.cli.main", *map(str, arguments)],
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.root,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """Kill what a failed test left running."""
        for process in self._started:
            if process.returncode is None:
                kill(process)
            if isinstance(process, Forked):
                process.close()

    def apply(self, *arguments: str | Path, code: int | None = 0, env: Mapping[str, str] | None = None) -> Ran:
        """`reconciler apply` of the specs, without asking."""
        return self.run("apply", self.specs, "--yes", *arguments, code=code, env=env)

    def plan(self, *arguments: str | Path, code: int | None = 0) -> dict[str, dict[str, Any]]:
        """The changes that `reconciler plan` shows, by reference."""
        document = self.run("plan", self.specs, "-o", "json", *arguments, code=code).json
        return {change["ref"]: change for change in document["changes"]}

    def there(self) -> dict[str, Any]:
        """The live system."""
        return dict(json.loads(self.live.read_text())) if self.live.exists() else {}

    def put(self, there: Mapping[str, Any]) -> None:
        """Change the live system by hand."""
        temporary = self.live.with_suffix(".by-hand")
        temporary.write_text(json.dumps(there))
        temporary.replace(self.live)

    def calls(self, what: str = "") -> list[str]:
        """Which steps ran on which entries, `write one` each, in order."""
        path = Path(f"{self.live}.calls")
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.rpartition(" ")[0] for line in lines if line.startswith(what)]

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the store, read apart from the program."""
        with closing(sqlite3.connect(f"file:{self.database_file}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement, values)]

    def is_whole(self) -> bool:
        """SQLite's own opinion of the store."""
        return self.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]

    def status(self, name: str) -> dict[str, Any]:
        """What `reconciler describe` says of an entry."""
        return dict(self.run("describe", f"Entry/{name}", "-o", "json").json)


def entry(name: str, lifecycle: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """The document of an entry."""
    document = {"apiVersion": "reconciler.dev/v1", "kind": "Entry", "metadata": {"name": name}}
    return {**document, **({"lifecycle": dict(lifecycle)} if lifecycle else {}), "spec": {"text": "hello", **spec}}


def wait_for(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer of `what`; fails when there is none in time."""
    give_up = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)
    return answer


def wait_until_stopped(process: Forked, seconds: float = 60.0) -> bool:
    """True once the process has stopped itself, False when it ended instead."""
    wait_for(lambda: process.is_stopped or process.poll() is not None, seconds)
    return process.returncode is None


def kill(process: subprocess.Popen[str] | Forked) -> None:
    """kill -9, and reap."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def said_by_processes() -> bytes:
    """Arguments and environment of every process of this machine that we may look at."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found.append((process / name).read_bytes())
            except OSError:
                continue
    return b"\0".join(found)


def living(pids: Iterable[int]) -> list[int]:
    """Which of these processes still run (a zombie does not)."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            found.append(pid)
    return found
