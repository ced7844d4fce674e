"""One home, one spec folder, one cluster, and the command line on them, in this process."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.cli.main import run
from reconciler.kinds.cluster.rows import kubeconfig_path
from reconciler.kinds.cluster.test_cluster import ask_sandbox
from reconciler.transports.kube import KubeTransport

NAME = "live"
MOTD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "motd"}, "data": {"text": "hello"}}
MOTD_PATH = "/api/v1/namespaces/default/configmaps/motd"


@dataclass
class Lab:
    """A home with a spec folder, and the command line on it."""

    home: Path
    specs: Path
    capsys: pytest.CaptureFixture[str]

    def write(self, spec: dict[str, Any], **lifecycle: Any) -> None:
        document = {"apiVersion": "reconciler.dev/v1", "kind": "Cluster", "metadata": {"name": NAME}}
        (self.specs / "cluster.yaml").write_text(yaml.safe_dump({**document, "lifecycle": lifecycle, "spec": spec}))

    def apply(self) -> int:
        return self.command("apply", "--yes", str(self.specs))

    def command(self, *arguments: str) -> int:
        self.capsys.readouterr()
        return run(["--home", str(self.home), *arguments])

    def printed(self) -> str:
        captured = self.capsys.readouterr()
        return captured.out + captured.err

    def plan(self) -> dict[str, Any]:
        """The only change: its action and which fields it touches."""
        self.command("plan", str(self.specs), "-o", "json")
        changes = json.loads(self.capsys.readouterr().out)["changes"]
        change = changes[0] if changes else {"action": "noop", "diffs": [], "obstacle": None}
        return {"action": change["action"], "paths": [diff["path"] for diff in change["diffs"]], **change}

    def row(self) -> dict[str, Any] | None:
        with sqlite3.connect(self.home / "reconciler.db") as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute("SELECT * FROM clusters").fetchone()
        connection.close()
        return dict(found) if found else None

    def execute(self, statement: str) -> None:
        with sqlite3.connect(self.home / "reconciler.db") as connection:
            connection.execute(statement)
        connection.close()

    def log(self) -> str:
        self.command("logs", f"Cluster/{NAME}")
        return self.printed()

    def api(self) -> KubeTransport:
        return KubeTransport(kubeconfig_path(self.home, NAME))

    def sandbox_pid(self) -> int:
        return int(json.loads((self.home / "sandbox" / "process.json").read_text())["pid"])

    def live(self) -> dict[str, Any] | None:
        status, cluster = ask_sandbox(self.home, "GET", f"/clusters/{NAME}")
        return cluster if status == 200 else None
