"""A lab (tests/daemon/lab.py) for clusters: their documents and rows, and the sandbox behind them.

Commands and daemons are the installed `reconciler`; clusters are made by the sandbox process that it starts. Tests ask
that process over its admin socket, as somebody would who works past us.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from forking import run_forked
from prepared import put_schemas

from reconciler.errors import UnreachableError
from reconciler.sandbox.asking import ask
from tests.daemon.lab import DEADLINE, Command, Lab, document, processes_of, until

CREATION = (
    "preflight",
    "reserve",
    "create",
    "kubeconfig",
    "wait-api",
    "manifests",
    "wait-nodes",
    "record",
    "verify",
)
"""The steps of a creation, in order."""
DELETION = ("mark", "delete", "remove-kubeconfig", "forget")
"""The steps of a deletion, in order."""
_DYING = Path(__file__).with_name("dying_at_lines.py")


def cluster(name: str, lifecycle: Mapping[str, Any] | None = None, **spec: Any) -> str:
    """A document of a sandbox cluster, unless `provider` says otherwise."""
    return document("Cluster", name, {"provider": "sandbox", **spec}, lifecycle)


class SandboxLab(Lab):
    """One home with its sandbox. mortal: parts of the paths of the code at whose lines `dies_at` kills."""

    mortal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        put_schemas(self.home)

    @property
    def kubeconfigs(self) -> Path:
        """Where the kubeconfigs of our clusters lie."""
        return self.home / "kubeconfigs"

    def apply(self, *arguments: object, code: int | None = 0) -> str:
        """`reconciler apply` of the specs, without asking; what it printed. code: how it has to end, None for any."""
        done = self.run("apply", self.specs, "--yes", *arguments)
        assert code is None or done.code == code, f"exit {done.code}, not {code}\n{done.text}"
        assert "Traceback" not in done.text, done.text
        return done.text

    def plan(self, *arguments: object) -> dict[str, dict[str, Any]]:
        """What `reconciler plan` wants to change, by reference; nothing that it leaves alone."""
        document_ = json.loads(self.run("plan", self.specs, "-o", "json", *arguments).out)
        return {change["ref"]: change for change in document_["changes"] if change["action"] != "noop"}

    def row(self, name: str) -> dict[str, Any] | None:
        """The record of a cluster."""
        found = self.rows("SELECT * FROM clusters WHERE name = ?", name)
        return found[0] if found else None

    def state(self, name: str) -> str | None:
        """`actual_state` of a cluster; None without a record."""
        row = self.row(name)
        return None if row is None else row["actual_state"]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Ask the sandbox, past us."""
        return ask(self.home, method, path, body, timeout=30)

    def made(self) -> dict[str, dict[str, Any]]:
        """The clusters that the sandbox has, by name; nothing while it is down."""
        with suppress(UnreachableError):
            return {found["name"]: found for found in self.ask("GET", "/clusters")[1]["clusters"]}
        return {}

    def remove_by_hand(self, name: str) -> None:
        """Drift: somebody deletes a cluster past us."""
        assert self.ask("DELETE", f"/clusters/{name}")[0] == 200
        assert name not in self.made()

    def sandbox_pid(self) -> int | None:
        """The sandbox process; None when none was started."""
        with suppress(FileNotFoundError, ValueError, KeyError):
            return int(json.loads((self.home / "sandbox" / "process.json").read_text())["pid"])
        return None

    def signal_sandbox(self, number: signal.Signals) -> None:
        """Send the sandbox a signal; it has to run."""
        pid = self.sandbox_pid()
        assert pid is not None
        os.kill(pid, number)

    def kill_sandbox(self) -> None:
        """kill -9 the sandbox, and wait until it is gone."""
        pid = self.sandbox_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists(), within=15)

    @staticmethod
    def write_sql_to(path: Path, script: str) -> None:
        """Change any SQLite file behind the back of whoever has it open."""
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            connection.executescript(script)

    def kill_when(self, process: Command, condition: Callable[[], object], within: float = DEADLINE) -> bool:
        """kill -9 a command once a condition is true. False when it ended before that."""
        until(lambda: condition() or not process.alive, process.err, within)
        killed = process.alive
        process.kill()
        return killed

    def lines(self) -> int:
        """How many lines of the mortal code an apply comes to that is not killed; it is done then."""
        done = self._dying(0)
        assert done.returncode == 0, done.stdout + done.stderr
        return int(done.stderr.rpartition("lines: ")[2])

    def dies_at(self, line: int) -> bool:
        """Apply, killed before the Nth line of the mortal code. False when it came to fewer, and is done."""
        done = self._dying(line)
        assert done.returncode in (0, -signal.SIGKILL), done.stdout + done.stderr
        return done.returncode != 0

    def _dying(self, line: int) -> subprocess.CompletedProcess[str]:
        words = ["reconciler", str(line), "apply", str(self.specs), "--yes"]
        return run_forked(words, self.environment(DYING_IN=":".join(self.mortal)), timeout=120, script=_DYING)

    def order(self, *refs: str) -> list[tuple[str, str]]:
        """Resource and step of every journalled step, in the order in which they began; only of `refs` if any."""
        found = self.rows(
            "SELECT c.kind || '/' || c.name AS ref, s.name AS step FROM steps s JOIN changes c ON c.id = s.change_id "
            "ORDER BY s.id"
        )
        return [(row["ref"], row["step"]) for row in found if not refs or row["ref"] in refs]

    def is_whole(self) -> bool:
        """SQLite's own opinion of the store, and nothing in it that claims to be going on."""
        return (
            self.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
            and not self.rows("SELECT * FROM steps WHERE outcome = 'open'")
            and not self.rows("SELECT * FROM processes")
        )

    def close(self) -> None:
        """End everything; the sandbox without ceremony, because nobody reads this home again.

        A daemon that was killed may have started one that comes up only now.
        """
        for process in self.started:
            process.kill()
        until(self._has_no_sandbox, within=30)
        super().close()

    def _has_no_sandbox(self) -> bool:
        """Kill the one that there is. Whether none was left."""
        pid = self.sandbox_pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
            (self.home / "sandbox" / "process.json").unlink(missing_ok=True)
        return not any("reconciler.sandbox" in told for told in processes_of(self.root).values())
