"""How the contract of kinds drives a project: in a sandbox cluster with Flux' types, from a repository beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.kinds.project.objects import KUSTOMIZATION, NAMESPACE
from reconciler.kinds.project.seeing import SELECTOR
from reconciler.transports.kube import KubeTransport

DEFINITIONS = Path(__file__).parents[3] / "examples" / "gitops" / "specs" / "crds"
CRDS = ("gitrepositories.yaml", "kustomizations.yaml")
ENVIRONMENTS = ("development", "staging", "production")


class Harness:
    """See tests/kinds/test_contract.py. repository: of the last place that was prepared."""

    kind = "Project"
    name = "contract"
    settings: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.repository = Path()

    def prepare(self, place: Any) -> None:
        """A cluster with Flux' types, of a source of its own, and a repository with an overlay for each environment."""
        folder = place.root / "clusters"
        folder.mkdir()
        for name in CRDS:
            (folder / name).write_text((DEFINITIONS / name).read_text())
        document = {"apiVersion": "reconciler.dev/v1", "kind": "Cluster", "metadata": {"name": "dev"}}
        spec = {"provider": "sandbox", "manifests": list(CRDS)}
        (folder / "dev.yaml").write_text(json.dumps({**document, "spec": spec}))
        self.repository = make_repository(place.root / "shop.git")
        place.run("apply", folder, "--yes")

    def spec(self) -> dict[str, Any]:
        """What to create."""
        return {"cluster": "dev", "repository": {"provider": "generic", "url": f"file://{self.repository}"}}

    def updated_spec(self) -> dict[str, Any]:
        """The same with something to update: one environment less, and another interval."""
        kept = [{"type": name} for name in ENVIRONMENTS[:2]]
        return {**self.spec(), "environments": kept, "flux": {"interval": "5m"}, "description": "what customers see"}

    def drift(self, home: Path) -> None:
        """Somebody deletes one environment's object, and leads another one's astray."""
        with api_of(home) as api:
            first, second, *_ = api.list(KUSTOMIZATION.path(), label_selector=SELECTOR)
            metadata = first["metadata"]
            assert api.delete(KUSTOMIZATION.path(metadata["namespace"], metadata["name"]))
            metadata = {name: second["metadata"][name] for name in ("name", "namespace", "labels")}
            spec = {**second["spec"], "path": "./astray"}
            api.apply({**second, "metadata": metadata, "spec": spec}, force=True)

    def is_absent(self, home: Path) -> bool:
        """Whether the API answers, and has no namespace of a project."""
        with api_of(home) as api:
            return not api.list(NAMESPACE.path(), label_selector=SELECTOR)

    def close(self, home: Path) -> None:
        """End the sandbox without ceremony."""
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(json.loads((home / "sandbox" / "process.json").read_text())["pid"], signal.SIGKILL)


def api_of(home: Path) -> KubeTransport:
    """The API of the cluster."""
    return KubeTransport(home / "kubeconfigs" / "dev.yaml")


def make_repository(path: Path) -> Path:
    """A bare repository whose branch main has an overlay for each environment."""
    text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n"
    files = "".join(
        f"M 100644 inline k8s/overlays/{name}/kustomization.yaml\ndata {len(text)}\n{text}\n" for name in ENVIRONMENTS
    )
    stream = f"commit refs/heads/main\ncommitter Ada <ada@example.com> 0 +0000\ndata 5\nfirst\n{files}"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(path)], check=True)
    subprocess.run(["git", "-C", str(path), "fast-import", "--quiet"], input=stream.encode(), check=True)
    return path


HARNESS = Harness()
