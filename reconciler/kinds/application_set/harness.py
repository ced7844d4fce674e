"""How the contract of kinds drives an application set: in a sandbox cluster with role management."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.transports.kube import KubeTransport

CRD = Path(__file__).parents[3] / "examples" / "gitops" / "specs" / "crds" / "applicationsets.yaml"
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}}
MANAGEMENT = {"provider": "sandbox", "role": "management", "manifests": [CRD.name, NAMESPACE]}
"""The spec of a cluster that knows application sets, for a document beside the CRD's file."""
PATH = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applicationsets/"


class Harness:
    """See tests/kinds/test_contract.py."""

    kind = "ApplicationSet"
    name = "contract"
    settings: Mapping[str, Any] = {}

    def prepare(self, place: Any) -> None:
        """A management cluster, of a source of its own."""
        folder = place.root / "clusters"
        folder.mkdir()
        (folder / CRD.name).write_text(CRD.read_text())
        document = {"apiVersion": "reconciler.dev/v1", "kind": "Cluster", "metadata": {"name": "devops"}}
        (folder / "devops.yaml").write_text(json.dumps({**document, "spec": MANAGEMENT}))
        place.run("apply", folder, "--yes")

    def spec(self) -> dict[str, Any]:
        """What to create."""
        return {"repoURL": "https://git.example.com/team/app.git", "values": {"tier": "one"}}

    def updated_spec(self) -> dict[str, Any]:
        """The same with something to update."""
        return {**self.spec(), "path": "charts/${tier}"}

    def drift(self, home: Path) -> None:
        """Somebody adds a cluster that is none, and takes the repository's folder over."""
        with _api(home) as api:
            live = api.get(PATH + self.name)
            assert live is not None
            live["spec"]["generators"] = [{"list": {"elements": [{"clusterName": "ghost"}]}}]
            live["spec"]["template"]["spec"]["source"]["path"] = "by-hand"
            api.apply(live, force=True)

    def is_absent(self, home: Path) -> bool:
        """Whether the API answers, and has no such set."""
        with _api(home) as api:
            return api.get(PATH + self.name) is None

    def close(self, home: Path) -> None:
        """End the sandbox without ceremony."""
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(json.loads((home / "sandbox" / "process.json").read_text())["pid"], signal.SIGKILL)


def _api(home: Path) -> KubeTransport:
    return KubeTransport(home / "kubeconfigs" / "devops.yaml")


HARNESS = Harness()
