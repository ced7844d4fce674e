"""A lab (tests/clusters/sandbox_lab.py) whose management cluster knows Argo CD's types; no Argo CD runs in it.

One lab serves a whole module, because a management cluster takes seconds to make: each test works in a spec folder of
its own, which is a source of its own, on clusters and sets of its own names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from reconciler.kinds.application_set.harness import CRD, NAMESPACE, PATH
from reconciler.kinds.cluster.kubeconfigs import kubeconfig_document
from reconciler.transports.kube import KubeTransport
from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.daemon.lab import document

DEVOPS = "devops"
REPO = "https://git.example.com/team/app.git"


def application_set(name: str, lifecycle: Mapping[str, Any] | None = None, **spec: Any) -> str:
    """A document of an application set."""
    return document("ApplicationSet", name, {"repoURL": REPO, **spec}, lifecycle)


class ArgoLab(SandboxLab):
    """One home with the management cluster `devops`."""

    mortal = ("/kinds/cluster/argocd/", "/kinds/cluster/attachments/argocd.py", "/kinds/application_set/")

    def prepare(self) -> None:
        """Make the management cluster."""
        self.begin("management")
        (self.specs / CRD.name).write_text(CRD.read_text())
        self.write("devops.yaml", cluster(DEVOPS, role="management", manifests=[CRD.name, NAMESPACE]))
        self.apply()

    def begin(self, name: str) -> None:
        """A spec folder for one test."""
        self.specs = self.root / name
        self.specs.mkdir()

    def api(self, name: str = DEVOPS) -> KubeTransport:
        """The API of a cluster, past us; to be closed."""
        return KubeTransport(self.kubeconfigs / f"{name}.yaml")

    def live_set(self, name: str, namespace: str = "argocd") -> dict[str, Any] | None:
        """An application set as it is."""
        with self.api() as api:
            return api.get(PATH.replace("/argocd/", f"/{namespace}/") + name)

    def elements(self, name: str) -> list[dict[str, Any]]:
        """The elements of an application set that is there."""
        live = self.live_set(name)
        assert live is not None
        (generator,) = live["spec"]["generators"]
        return list(generator["list"]["elements"])

    def names(self, name: str) -> list[str]:
        """The clusters that an application set is for, in its order."""
        return [one["clusterName"] for one in self.elements(name)]

    def by_hand(
        self, name: str, fields: Mapping[str, Any], manager: str = "kubectl-edit", namespace: str = "argocd"
    ) -> None:
        """Change an application set as somebody else, whom all that is in `fields`, and nothing else, belongs to."""
        query = urlencode({"fieldManager": manager, "force": "true"})
        body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", **fields}
        body["metadata"] = {"name": name, "namespace": namespace, **fields.get("metadata", {})}
        place = f"{PATH.replace('/argocd/', f'/{namespace}/')}{name}?{query}"
        with self.api() as api:
            api._json("PATCH", place, body, "application/apply-patch+yaml")

    def patch(self, path: str, change: Mapping[str, Any]) -> None:
        """Change any object of the management cluster as somebody else."""
        with self.api() as api:
            api._json("PATCH", f"{path}?fieldManager=kubectl-patch", change, "application/merge-patch+json")

    def raw_cluster(self, name: str) -> Path:
        """A cluster that the sandbox has and we did not make; its kubeconfig."""
        status, made = self.ask("PUT", f"/clusters/{name}", {"servers": 1, "agents": 0})
        assert status in (200, 201), made
        path = self.root / f"{name}.kubeconfig"
        path.write_text(json.dumps(kubeconfig_document(name, made["server"], made["caData"], made["token"])))
        path.chmod(0o600)
        return path

    def business_names(self) -> list[str]:
        """The business clusters that are recorded, sorted."""
        return [row["name"] for row in self.rows("SELECT name FROM clusters WHERE role = 'business' ORDER BY name")]
