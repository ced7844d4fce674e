"""Clusters in containers, registered under addresses that pods of another cluster reach."""

from __future__ import annotations

import base64
import json

from reconciler.kinds.application_set.harness import NAMESPACE
from reconciler.transports.kube import KubeTransport
from tests.clusters.docker_lab import DockerLab, docker_cluster


def test_kind_and_k3d_are_registered_by_the_ports_of_this_host(docker: DockerLab) -> None:
    """Also: one apply makes all three, and the management cluster first."""
    docker.write(
        "all.yaml",
        docker_cluster("devops", "k3d", role="management", manifests=[NAMESPACE]),
        docker_cluster("dev", "k3d", {"dependsOn": ["Cluster/devops"]}, argocd={}),
        docker_cluster("dev-a", "kind", {"dependsOn": ["Cluster/devops"]}, argocd={}),
    )
    docker.apply()
    for name, provider in (("dev", "k3d"), ("dev-a", "kind")):
        with KubeTransport(docker.kubeconfigs / "devops.yaml") as api:
            live = api.get(f"/api/v1/namespaces/argocd/secrets/cluster-{name}")
        assert live is not None
        values = {key: base64.b64decode(text).decode() for key, text in live["data"].items()}
        with KubeTransport(docker.kubeconfigs / f"{name}.yaml") as api:
            port = api.server.rpartition(":")[2]
        assert live["metadata"]["labels"]["provider"] == provider
        assert values["server"] == f"https://host.k3d.internal:{port}"
        tls = json.loads(values["config"])["tlsClientConfig"]
        assert (set(tls), tls["serverName"]) == ({"caData", "serverName"}, "localhost")
    assert docker.plan() == {}
