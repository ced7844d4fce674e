"""Clusters of kind: Kubernetes nodes in containers of this host, made by kubeadm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from reconciler.errors import TransientError
from reconciler.kind import Context
from reconciler.kinds.cluster.providers.docker import PULL_TIMEOUT, Tools
from reconciler.kinds.cluster.providers.docker_clusters import DockerClusters, Listed, full_version, write_private
from reconciler.kinds.cluster.spec import ClusterSpec

NETWORK = "kind"
_LABEL = "io.x-k8s.kind"
_NODES = '{{.Names}}\t{{.State}}\t{{.Label "io.x-k8s.kind.role"}}'


class Kind(DockerClusters):
    """See `providers.ContainerProvider`."""

    name = "kind"
    default_image = "kindest/node:v1.31.12"

    def image_of(self, spec: ClusterSpec) -> str:
        """The spec's, else the one of its version, else the default."""
        if spec.image:
            return spec.image
        return f"kindest/node:v{full_version(spec, self.name)}" if spec.version else self.default_image

    def network_name(self, spec: ClusterSpec) -> str:
        """kind makes and keeps its one network itself."""
        return ""

    def creation(self, spec: ClusterSpec, ports: Mapping[str, Any]) -> list[str]:
        """Nodes and ports stand in a file that is written for the one run."""
        return self._command(spec, "FILE")

    def _command(self, spec: ClusterSpec, file: str) -> list[str]:
        argv = ["kind", "create", "cluster", "--name", spec.name, "--config", file]
        return [*argv, "--image", self.image_of(spec)]

    def _prepared(self, spec: ClusterSpec, ports: Mapping[str, Any], folder: Path) -> list[str]:
        path = folder / "kind.yaml"
        write_private(path, config_text(spec, ports))
        return self._command(spec, str(path))

    def nodes_of(self, spec: ClusterSpec) -> list[str]:
        """Control planes, then workers; the first of each has no number."""
        servers = [f"{spec.name}-control-plane{number or ''}" for number in (0, *range(2, spec.servers + 1))]
        workers = [f"{spec.name}-worker{number or ''}" for number in (0, *range(2, spec.agents + 1))]
        return servers + (workers if spec.agents else [])

    def load_images(self, name: str, images: Sequence[str], context: Context) -> None:
        """One by one."""
        tools = Tools(context, "docker", self.name)
        for image in images:
            tools.have_image(image)
            tools.do("kind", "load", "docker-image", image, "--name", name, timeout=PULL_TIMEOUT)

    def _listed(self, tools: Tools, name: str) -> Listed | None:
        if name not in tools.read("kind", "get", "clusters").splitlines():
            return None
        nodes = _nodes(tools, name)
        roles = [role for _, _, role in nodes]
        running = bool(nodes) and all(state == "running" for _, state, _ in nodes)
        return Listed(NETWORK, roles.count("control-plane"), roles.count("worker"), running=running)

    def _power(self, tools: Tools, name: str, verb: Literal["start", "stop"], timeout: float) -> None:
        containers = [container for container, _, _ in _nodes(tools, name)]
        if not containers:
            raise TransientError("Vanished", f"there is no container of the cluster {name} any more")
        tools.do("docker", verb, *containers, timeout=timeout)

    def _deletion(self, name: str) -> list[str]:
        return ["kind", "delete", "cluster", "--name", name]

    def _kubeconfig_command(self, name: str) -> list[str]:
        return ["kind", "get", "kubeconfig", "--name", name]


def config_text(spec: ClusterSpec, ports: Mapping[str, Any]) -> str:
    """The file for `kind create cluster`: where the API listens, the nodes, and the host's ports of the first one."""
    lines = [
        "kind: Cluster",
        "apiVersion: kind.x-k8s.io/v1alpha4",
        f'name: "{spec.name}"',
        "networking:",
        '  apiServerAddress: "0.0.0.0"',
        "nodes:",
        "- role: control-plane",
    ]
    if "httpPort" in ports and "httpsPort" in ports:
        pairs = ((80, ports["httpPort"]), (443, ports["httpsPort"]))
        lines.append("  extraPortMappings:")
        lines += [f"  - {{containerPort: {inside}, hostPort: {port}, protocol: TCP}}" for inside, port in pairs]
    lines += ["- role: control-plane"] * (spec.servers - 1) + ["- role: worker"] * spec.agents
    return "\n".join(lines) + "\n"


def _nodes(tools: Tools, name: str) -> list[tuple[str, str, str]]:
    """Container, state and role of every node of exactly this cluster, sorted; a load balancer's too."""
    label = f"label={_LABEL}.cluster={name}"
    printed = tools.read("docker", "ps", "--all", "--filter", label, "--format", _NODES)
    fields = [line.split("\t") for line in printed.splitlines() if line.count("\t") == 2]
    return sorted((container, state, role) for container, state, role in fields)


PROVIDER = Kind()
