"""A place to try the real program in: a home, a spec folder, settings, and every process that a test starts.

Used by the tests here and in tests/clusters. Nothing is faked: commands and daemons are the installed `reconciler`, the
live system is the file of the entry kind (tests/plugins) or the sandbox. Tests look at the database with sqlite3.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from forking import Forked, run_forked
from prepared import put_store

ROOT = Path(__file__).resolve().parents[2]
RECONCILER = str(Path(sys.executable).with_name("reconciler"))
PLUGINS = (ROOT / "tests" / "plugins", ROOT / "tests" / "daemon" / "plugins")
DEADLINE = 45.0
"""Seconds that anything may take on a loaded machine. Generous: waiting ends as soon as what is awaited is there."""

T = TypeVar("T")
Process = subprocess.Popen[bytes] | Forked


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it printed."""
        return self.out + self.err


@dataclass
class Lab:
    """One home and what works on it. root: an empty folder with a short path (Unix sockets lie below it)."""

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    started: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home = self.root / "home"
        self.home.mkdir(mode=0o700, parents=True)
        put_store(self.home, "entry_kind")
        self.specs = self.root / "specs"
        self.specs.mkdir()
        self.live_file = self.root / "live.json"
        self.configure(
            plugins=["entry_kind", "odd_kind"],
            kinds={"Entry": {"file": str(self.live_file)}, "Odd": {"folder": str(self.root)}},
            web={"port": 0},
            log={"format": "json"},
            unsettledInterval="500ms",
            backoff={"min": "100ms", "max": "1s"},
        )

    # -- settings and specs

    def configure(self, **settings: Any) -> None:
        """Write the settings file: these on top of what it had, sections merged."""
        for name, value in settings.items():
            before = self.settings.get(name)
            self.settings[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
        path = self.home / "config.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        path.chmod(0o600)

    def write(self, name: str, *documents: str) -> Path:
        """Save a spec file in place, as a plain editor does."""
        path = self.specs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(documents))
        return path

    # -- commands

    def environment(self, **more: str) -> dict[str, str]:
        """What every process of this lab sees; HOME leads to the lab, so that also children of steps can be told."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "ENTRY_"))}
        plugins = os.pathsep.join(map(str, PLUGINS))
        ours = {"HOME": str(self.root), "RECONCILER_HOME": str(self.home), "PYTHONPATH": plugins, "NO_COLOR": "1"}
        return {**kept, **ours, **more}

    def run(self, *arguments: object, timeout: float = 90.0, **environment: str) -> Done:
        """A command, to its end. Its process is a fork of one that has imported it."""
        done = run_forked([RECONCILER, *map(str, arguments)], self.environment(**environment), timeout=timeout)
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: object, **environment: str) -> str:
        """What a command prints that has to succeed."""
        done = self.run(*arguments, **environment)
        assert done.code == 0, f"reconciler {' '.join(map(str, arguments))}: exit {done.code}\n{done.text}"
        return done.out

    def start(self, *arguments: object, **environment: str) -> Command:
        """A command that goes on while the test does: a fork too, unless it is to be prefixed."""
        number = len(self.started)
        out, err = self.root / f"{number}.out", self.root / f"{number}.err"
        command = [*self.prefix, RECONCILER, *map(str, arguments)]
        env = self.environment(**environment)
        process: Process
        with out.open("wb") as stdout, err.open("wb") as stderr:
            if self.prefix:
                process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
            else:
                process = Forked(command, env, stdout=stdout, stderr=stderr)
        self.started.append(process)
        return Command(process, out, err)

    @contextmanager
    def prefixed(self, *command: str) -> Iterator[None]:
        """Start what is started inside through another program, such as `setpriv`."""
        self.prefix = list(command)
        try:
            yield
        finally:
            self.prefix = []

    def daemon(self, *arguments: object, **environment: str) -> Daemon:
        """A daemon on the specs, once it has loaded them."""
        daemon = self.as_daemon(self.start("daemon", self.specs, *arguments, **environment))
        daemon.await_ready()
        return daemon

    @staticmethod
    def as_daemon(command: Command) -> Daemon:
        """The daemon that a command started."""
        return Daemon(command.process, command.out_file, command.err_file)

    # -- what is there

    def live(self) -> dict[str, Any]:
        """The entries that are there."""
        with suppress(FileNotFoundError):
            return dict(json.loads(self.live_file.read_text()))
        return {}

    def text_of(self, name: str) -> str | None:
        """What an entry says; None without one."""
        there = self.live().get(name)
        return None if there is None else there["text"]

    def spoil(self, name: str, value: Mapping[str, Any] | None) -> None:
        """Drift: somebody changes an entry by hand, or removes it (None)."""
        there = self.live()
        there.pop(name, None)
        self.live_file.write_text(json.dumps(there if value is None else {**there, name: value}))

    def calls(self, name: str) -> list[str]:
        """Every call of a step for an entry, in order."""
        path = Path(f"{self.live_file}.calls")
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [line[0] for line in lines if line[1] == name]

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.home / "reconciler.db"

    def put_to_sleep(self, process: Process) -> None:
        """SIGSTOP at a moment when it does not hold the lock of the database, or nobody could write meanwhile."""
        while True:
            process.signal(signal.SIGSTOP)
            with closing(sqlite3.connect(self.database, timeout=1, isolation_level=None)) as connection:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError:
                    process.signal(signal.SIGCONT)
            time.sleep(0.05)

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """What a query gives; nothing while there is no database."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in connection.execute(sql, values)]
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def write_sql(self, script: str) -> None:
        """Change the database behind everybody's back."""
        with closing(sqlite3.connect(self.database, timeout=30)) as connection, connection:
            connection.executescript(script)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the database's write lock, as a stuck process would."""
        with closing(sqlite3.connect(self.database, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    def status(self, ref: str) -> dict[str, Any]:
        """The stored status of a resource, with `generation` and `vanished_at`; empty when nothing is known of it."""
        kind, _, name = ref.partition("/")
        found = self.rows(
            "SELECT s.*, r.generation, r.vanished_at, r.owner FROM resources r JOIN statuses s USING (kind, name) "
            "WHERE kind = ? AND name = ?",
            kind,
            name,
        )
        return found[0] if found else {}

    def is_ready(self, ref: str) -> bool:
        """Ready, and of the newest generation that was loaded."""
        status = self.status(ref)
        return bool(status) and status["ready"] == "True" and status["observed_generation"] == status["generation"]

    def await_ready(self, *refs: str, within: float = DEADLINE) -> None:
        """Until all of them are ready."""
        until(
            lambda: all(self.is_ready(ref) for ref in refs), lambda: [(ref, self.status(ref)) for ref in refs], within
        )

    def await_reason(self, ref: str, reason: str, within: float = DEADLINE) -> dict[str, Any]:
        """Until Ready has this reason; the status then."""
        until(lambda: self.status(ref).get("reason") == reason, lambda: self.status(ref), within)
        return self.status(ref)

    def changes(self, ref: str) -> list[dict[str, Any]]:
        """The journalled changes of a resource, oldest first."""
        kind, _, name = ref.partition("/")
        return self.rows("SELECT * FROM changes WHERE kind = ? AND name = ? ORDER BY id", kind, name)

    def steps(self, ref: str) -> list[tuple[str, str]]:
        """The journalled steps of a resource's changes, oldest first: name and outcome."""
        kind, _, name = ref.partition("/")
        found = self.rows(
            "SELECT s.name, s.outcome FROM steps s JOIN changes c ON c.id = s.change_id "
            "WHERE c.kind = ? AND c.name = ? ORDER BY s.id",
            kind,
            name,
        )
        return [(row["name"], row["outcome"]) for row in found]

    def await_open_step(self, ref: str, step: str) -> None:
        """Until a step of a resource is running."""
        until(lambda: (step, "open") in self.steps(ref), lambda: self.steps(ref))

    def events(self, ref: str, reason: str) -> list[dict[str, Any]]:
        """Stored events of a resource with this reason, oldest first."""
        kind, _, name = ref.partition("/")
        sql = "SELECT * FROM events WHERE kind = ? AND name = ? AND reason = ? ORDER BY id"
        return self.rows(sql, kind, name, reason)

    # -- the end

    def close(self) -> None:
        """End what still runs. Fails when a process of this home is left that nobody here started."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)
        if (self.home / "sandbox" / "process.json").exists():
            subprocess.run(
                [sys.executable, "-m", "reconciler.sandbox", "stop", "--home", str(self.home)],
                env=self.environment(),
                capture_output=True,
                timeout=60,
                check=False,
            )
        until(lambda: not processes_of(self.root), lambda: f"processes are left: {processes_of(self.root)}", 15)


@dataclass(frozen=True, slots=True)
class Command:
    """A process that a test started."""

    process: Process
    out_file: Path
    err_file: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def out(self) -> str:
        """What it printed so far."""
        return self.out_file.read_text()

    def err(self) -> str:
        """What it printed to stderr so far."""
        return self.err_file.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.wait(10)

    def wait(self, within: float = DEADLINE) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {within:g} s:\n{self.err()[-3000:]}") from None

    def terminate(self, within: float = DEADLINE) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(within)


@dataclass(frozen=True, slots=True)
class Daemon(Command):
    """A running daemon."""

    RELOAD: ClassVar[signal.Signals] = signal.SIGHUP

    @property
    def url(self) -> str:
        """The page's address."""
        until(lambda: "page: " in self.out() or not self.alive, self.err)
        assert "page: " in self.out(), f"the daemon ended with {self.process.poll()}:\n{self.err()}"
        return self.out().partition("page: ")[2].split()[0]

    def get(self, path: str, timeout: float = 20.0) -> tuple[int, str]:
        """Status and body of a request to the page."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def await_ready(self) -> None:
        """Until the specs were loaded for the first time."""
        until(lambda: self.get("/readyz")[0] == 200, self.err)

    def metric(self, name: str, **labels: str) -> float:
        """The value of one metric, summed over what the labels leave open."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith("#"):
                continue
            place, _, value = line.rpartition(" ")
            bare, _, rest = place.partition("{")
            if bare == name and all(f'{label}="{wanted}"' in rest for label, wanted in labels.items()):
                total += float(value)
        return total

    def loads(self) -> int:
        """How often it has loaded the specs."""
        return int(self.metric("reconciler_loads_total"))

    def entries(self) -> list[dict[str, Any]]:
        """Its log, by line."""
        return [json.loads(line) for line in self.err().splitlines()]


def entry(name: str, text: str = "hello", lifecycle: Mapping[str, Any] | None = None, **spec: Any) -> str:
    """A document of the entry kind."""
    return document("Entry", name, {"text": text, **spec}, lifecycle)


def document(
    kind: str,
    name: str,
    spec: Mapping[str, Any],
    lifecycle: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
) -> str:
    """A document, with the line that separates it from others."""
    metadata: dict[str, Any] = {"name": name, **({"labels": dict(labels)} if labels else {})}
    envelope: dict[str, Any] = {"apiVersion": "reconciler.dev/v1", "kind": kind, "metadata": metadata}
    if lifecycle:
        envelope["lifecycle"] = dict(lifecycle)
    return "---\n" + yaml.safe_dump({**envelope, "spec": dict(spec)}, sort_keys=False)


def until(look: Callable[[], T], tell: Callable[[], object] = lambda: "", within: float = DEADLINE) -> T:
    """What `look` returns once that is true. Fails after `within` seconds, with what `tell` says."""
    give_up = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < give_up, f"not within {within:g} s: {tell()}"
        time.sleep(0.03)
    return seen


def stays(look: Callable[[], bool], seconds: float) -> bool:
    """Whether `look` is true all along."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if not look():
            return False
        time.sleep(0.03)
    return look()


def processes_of(folder: Path) -> dict[int, str]:
    """Living processes that name a folder in their command line or environment, beside ourselves: pid and command."""
    found: dict[int, str] = {}
    for entry_ in Path("/proc").iterdir():
        if not entry_.name.isdigit() or int(entry_.name) == os.getpid():
            continue
        with suppress(OSError):
            command = (entry_ / "cmdline").read_bytes()
            if command and str(folder).encode() in command + (entry_ / "environ").read_bytes():
                found[int(entry_.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def open_files(pid: int) -> int:
    """How many file descriptors a process has."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
