"""A lab whose docker, kind and k3d are recorded-contract tools (tests/plugins/fake_tools) in front of real APIs.

The tools are found through PATH. What they were asked stands in a log, one line a run; how they misbehave is said by
files. The APIs of the clusters that they make are served by one sandbox process for all tests of a session.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prepared import put_schemas

from reconciler.sandbox.asking import ask
from tests.clusters.sandbox_lab import SandboxLab
from tests.daemon.lab import ROOT, document, until

TOOLS = ("docker", "kind", "k3d")
NEEDED = ("sh", "setpriv", "setsid", "git", "kubectl")
"""Programs of the machine that the product itself may use."""
LOOKING = (
    ("k3d", "cluster", "list"),
    ("k3d", "kubeconfig", "get"),
    ("kind", "get"),
    ("docker", "inspect"),
    ("docker", "ps"),
    ("docker", "top"),
    ("docker", "exec"),
    ("docker", "version"),
    ("docker", "info"),
    ("docker", "network", "inspect"),
    ("docker", "image", "inspect"),
)
"""How commands begin that change nothing."""
_PROGRAM = """#!{python} -IS
import sys
sys.path.insert(0, {plugins!r})
from fake_tools.shared_engine import Engine
from fake_tools.{module} import {function}
{function}(Engine({folder!r}), sys.argv[1:])
"""


class DockerLab(SandboxLab):
    """One home, and an engine of its own. apis: the home of the sandbox process that serves the clusters."""

    apis: Path

    def equip(self, apis: Path, *tools: str) -> None:
        """Put tools (all, if none are named) on the PATH of this lab."""
        self.apis = apis
        self.engine = self.root / "engine"
        self.bin = self.root / "bin"
        (self.engine / "behave").mkdir(parents=True)
        (self.engine / "api.socket").write_text(str(apis / "sandbox" / "admin.sock"))
        (self.engine / "api.prefix").write_text(f"{self.root.name}-")
        self.bin.mkdir()
        for program in NEEDED:
            if path := shutil.which(program):
                (self.bin / program).symlink_to(path)
        for tool in tools or TOOLS:
            self.install(tool)

    def install(self, tool: str) -> None:
        """Put one tool on the PATH."""
        module, function = ("docker_tool", "main") if tool == "docker" else ("cluster_tools", tool)
        plugins, folder = str(ROOT / "tests" / "plugins"), str(self.engine)
        text = _PROGRAM.format(python=sys.executable, plugins=plugins, module=module, function=function, folder=folder)
        (self.bin / tool).write_text(text)
        (self.bin / tool).chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        """With our tools and none of the machine's; the package is the one beside these tests."""
        found = super().environment(**more)
        found["PATH"] = str(self.bin)
        found["PYTHONPATH"] = f"{ROOT}{os.pathsep}{found['PYTHONPATH']}"
        return found

    # -- how the tools behave

    def behave(self, name: str, text: str = "") -> None:
        """Have a tool misbehave; see fake_tools/shared_engine.py."""
        (self.engine / "behave" / name).write_text(text)

    def recover(self, *names: str) -> None:
        """Have the tools behave again: all, or in these respects."""
        for path in (self.engine / "behave").iterdir():
            if not names or path.name in names:
                path.unlink()

    # -- what they were asked, and what they made

    def asked(self) -> list[dict[str, Any]]:
        """Every run of a tool, oldest first: argv, at, pid, and what it read."""
        path = self.engine / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def commands(self, *beginning: str) -> list[str]:
        """The command lines of all runs that began so."""
        found = [run["argv"] for run in self.asked()]
        return [" ".join(argv) for argv in found if tuple(argv[: len(beginning)]) == beginning]

    def changing(self) -> list[str]:
        """The command lines of all runs that may have changed something."""
        found = (run["argv"] for run in self.asked())
        return [" ".join(argv) for argv in found if not any(tuple(argv[: len(look)]) == look for look in LOOKING)]

    def forget_log(self) -> None:
        """Begin a new log."""
        (self.engine / "log.jsonl").unlink(missing_ok=True)

    def there(self) -> dict[str, Any]:
        """The state of the engine: networks, clusters, images."""
        path = self.engine / "state.json"
        return dict(json.loads(path.read_text())) if path.exists() else {"networks": {}, "clusters": {}, "images": []}

    def by_hand(self, *argv: str) -> str:
        """Run a tool past us, as somebody would; it stands in no log."""
        log = self.engine / "log.jsonl"
        kept = log.read_bytes() if log.exists() else b""
        done = subprocess.run(
            argv, env=self.environment(), capture_output=True, text=True, timeout=60, check=False, cwd=self.root
        )
        log.write_bytes(kept)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def made_names(self) -> list[str]:
        """The names of the clusters that are there."""
        return sorted(self.there()["clusters"])

    def address(self, container: str) -> str:
        """What docker says that a container's address is."""
        shown = self.by_hand("docker", "inspect", container, "--format", "{{json .NetworkSettings.Networks}}")
        return str(next(iter(json.loads(shown).values()))["IPAddress"])

    def close(self) -> None:
        """End everything, and the APIs that were made for this lab."""
        for name in self.there()["clusters"]:
            ask(self.apis, "DELETE", f"/clusters/{f'{self.root.name}-{name}'[:63]}", timeout=30)
        super().close()


def docker_cluster(name: str, provider: str, lifecycle: Mapping[str, Any] | None = None, **spec: Any) -> str:
    """A document of a cluster of kind or k3d."""
    return document("Cluster", name, {"provider": provider, **spec}, lifecycle)


@contextlib.contextmanager
def serving_apis(home: Path) -> Iterator[Path]:
    """A sandbox process for the clusters of all labs, in a session of its own; it ends with us, however we end."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    put_schemas(home)
    tied_to_us = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*tied_to_us, sys.executable, "-m", "reconciler.sandbox", "serve", "--home", str(home)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until((home / "sandbox" / "admin.sock").exists, lambda: (home / "log").read_text())
        yield home
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(home, ignore_errors=True)
