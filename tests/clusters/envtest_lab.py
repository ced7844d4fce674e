"""A lab for clusters of provider envtest: the programs of tests/clusters/envtest_programs.py, and what they do.

Processes are found here without the code under test: by the folder of the lab in their command line.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.kinds.cluster.rows import kubeconfig_path
from reconciler.transports.kube import KubeTransport
from tests.clusters.envtest_programs import PROGRAMS
from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.daemon.lab import processes_of, until

MOTD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "motd"}, "data": {"text": "hello"}}
MOTD_PATH = "/api/v1/namespaces/default/configmaps/motd"
OURS_PATH = "/api/v1/namespaces/default/configmaps/by-hand"


def envtest(name: str = "dev", lifecycle: Mapping[str, Any] | None = None, **spec: Any) -> str:
    """A document of an envtest cluster."""
    return cluster(name, lifecycle, **{"provider": "envtest", "createTimeout": "60s", **spec})


class EnvtestLab(SandboxLab):
    """One home with its control planes. programs: the folder that KUBEBUILDER_ASSETS names."""

    mortal = ("/kinds/cluster/envtest/", "/kinds/cluster/providers/envtest.py")

    def __init__(self, root: Path, programs: Path) -> None:
        super().__init__(root)
        self.programs: Path | None = programs
        self.configure(kinds={"Cluster": {"envtest": {"stopTimeout": "5s"}}})

    def environment(self, **more: str) -> dict[str, str]:
        """That of a lab, and where the programs are."""
        given = super().environment(**more)
        given.pop("KUBEBUILDER_ASSETS", None)
        return {**given, **({"KUBEBUILDER_ASSETS": str(self.programs)} if self.programs else {}), **more}

    def apply(self, *arguments: object, code: int | None = 0, timeout: float = 90.0, **environment: str) -> str:
        """`SandboxLab.apply`, with variables of the environment."""
        done = self.run("apply", self.specs, "--yes", *arguments, timeout=timeout, **environment)
        assert code is None or done.code == code, f"exit {done.code}, not {code}\n{done.text}"
        assert "Traceback" not in done.text, done.text
        return done.text

    def behave(self, **behaviour: Mapping[str, Any]) -> None:
        """From now on: `behave(etcd={"dies": "words"})`; `_` in a name stands for `-`."""
        told = {name.replace("_", "-"): dict(given) for name, given in behaviour.items()}
        (self.root / "behave.json").write_text(json.dumps(told))

    def plane(self, name: str = "dev") -> Path:
        """The folder of a control plane."""
        return self.home / "envtest" / name

    def recorded(self, name: str = "dev") -> dict[str, Any]:
        """Its cluster.json."""
        found: dict[str, Any] = json.loads((self.plane(name) / "cluster.json").read_text())
        return found

    def starts(self) -> list[list[str]]:
        """The command lines with which programs were started to run, oldest first."""
        lines = (self.root / "argv.jsonl").read_text().splitlines()
        return [argv for argv in map(json.loads, lines) if argv[1:] != ["--version"]]

    def components(self, name: str = "dev") -> dict[str, int]:
        """Process id by component, of those that run for a control plane. Fails when one runs twice."""
        found: dict[str, int] = {}
        for pid, command in processes_of(self.plane(name)).items():
            words = command.split()
            program = next((Path(word).name for word in words[:2] if Path(word).name in PROGRAMS), None)
            if program is not None:
                assert program not in found, f"{program} runs as {found[program]} and as {pid}"
                found[program] = pid
        return found

    def kill_component(self, program: str, name: str = "dev") -> None:
        """kill -9, and wait until it is gone with all that was started for it."""
        pid = self.components(name)[program]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not any(_group_of(one) == pid for one in processes_of(self.plane(name))), within=15)

    def kill_all(self, name: str = "dev") -> None:
        """As a reboot does."""
        for program in list(self.components(name)):
            self.kill_component(program, name)

    def put_by_hand(self, name: str = "dev") -> None:
        """An object that no document names, to see whether data is kept."""
        with self.api(name) as api:
            manifest = {**MOTD, "metadata": {"name": "by-hand", "namespace": "default"}}
            api.apply(manifest, force=True)

    def has_by_hand(self, name: str = "dev") -> bool:
        """Whether it is still there."""
        with self.api(name) as api:
            return api.get(OURS_PATH) is not None

    def api(self, name: str = "dev") -> KubeTransport:
        """Its API, as everybody reaches it."""
        return KubeTransport(kubeconfig_path(self.home, name))

    def left(self) -> list[str]:
        """Processes and files of any control plane, beside the lock for their ports."""
        folder = self.home / "envtest"
        files = [str(path) for path in folder.rglob("*") if path.name != "ports.lock"] if folder.exists() else []
        return [*map(str, processes_of(folder).values()), *files]

    def close(self) -> None:
        """End every control plane without ceremony."""
        squatters = [int(mark.read_text()) for mark in self.root.glob("*.squatter")]
        for pid in (*processes_of(self.home / "envtest"), *squatters):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
        super().close()


def _group_of(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return 0
