"""Clusters of k3d: k3s in containers of this host, behind a load balancer in one more container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from reconciler.kind import Context
from reconciler.kinds.cluster.providers.docker import PULL_TIMEOUT, Tools, parsed
from reconciler.kinds.cluster.providers.docker_clusters import DockerClusters, Listed, full_version
from reconciler.kinds.cluster.spec import ClusterSpec

SHARED_NETWORK = "k3d-shared"
_NODE_ROLES = ("server", "agent", "loadbalancer")


class K3d(DockerClusters):
    """See `providers.ContainerProvider`."""

    name = "k3d"
    default_image = "rancher/k3s:v1.31.5-k3s1"

    def image_of(self, spec: ClusterSpec) -> str:
        """The spec's, else the first k3s release of its version, else the default."""
        if spec.image:
            return spec.image
        return f"rancher/k3s:v{full_version(spec, self.name)}-k3s1" if spec.version else self.default_image

    def network_name(self, spec: ClusterSpec) -> str:
        """Its own for a subnet, else the one that all share."""
        return self._own_network(spec.name) if spec.subnet else SHARED_NETWORK

    def _own_network(self, name: str) -> str:
        return f"k3d-{name}"

    def creation(self, spec: ClusterSpec, ports: Mapping[str, Any]) -> list[str]:
        """The whole configuration stands on the command line."""
        without_ingress = ["--k3s-arg", "--disable=traefik@server:0"] if spec.role == "management" else []
        return [
            *("k3d", "cluster", "create", spec.name),
            *("--image", self.image_of(spec)),
            *("--network", self.network_name(spec)),
            *without_ingress,
            *("--servers", str(spec.servers), "--agents", str(spec.agents)),
            *(("--port", f"{ports['httpPort']}:80@loadbalancer") if "httpPort" in ports else ()),
            *(("--port", f"{ports['httpsPort']}:443@loadbalancer") if "httpsPort" in ports else ()),
        ]

    def nodes_of(self, spec: ClusterSpec) -> list[str]:
        """Servers, then agents."""
        servers = [f"k3d-{spec.name}-server-{number}" for number in range(spec.servers)]
        return servers + [f"k3d-{spec.name}-agent-{number}" for number in range(spec.agents)]

    def load_images(self, name: str, images: Sequence[str], context: Context) -> None:
        """All in one go: each import starts a container that does it."""
        tools = Tools(context, "docker", self.name)
        for image in images:
            tools.have_image(image)
        tools.do("k3d", "image", "import", *images, "-c", name, timeout=PULL_TIMEOUT)

    def _listed(self, tools: Tools, name: str) -> Listed | None:
        answer = parsed(tools.read("k3d", "cluster", "list", "-o", "json"), ("k3d", "cluster", "list"))
        cluster: Mapping[str, Any] | None = next((one for one in answer or () if one.get("name") == name), None)
        if cluster is None:
            return None
        nodes = [node for node in cluster.get("nodes") or () if node.get("role") in _NODE_ROLES]
        roles = [node["role"] for node in nodes]
        runs = [(node.get("State") or {}).get("Running") is True for node in nodes]
        network = str((cluster.get("network") or {}).get("name") or "")
        return Listed(network, roles.count("server"), roles.count("agent"), running=bool(runs) and all(runs))

    def _power(self, tools: Tools, name: str, verb: Literal["start", "stop"], timeout: float) -> None:
        tools.do("k3d", "cluster", verb, name, timeout=timeout)

    def _deletion(self, name: str) -> list[str]:
        return ["k3d", "cluster", "delete", name]

    def _kubeconfig_command(self, name: str) -> list[str]:
        return ["k3d", "kubeconfig", "get", name]


PROVIDER = K3d()
