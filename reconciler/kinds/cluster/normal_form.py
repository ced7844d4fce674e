"""The desired state of a cluster in the shape that looking reports. Pure; called by the kind and by `looking`."""

from __future__ import annotations

from typing import Any

from reconciler.kinds.cluster.attachments import wanted_attachments
from reconciler.kinds.cluster.manifests import objects_of
from reconciler.kinds.cluster.providers import ContainerProvider, in_containers, provider_named, wanted_nodes
from reconciler.kinds.cluster.providers.docker_networks import network_of
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.resource import Resource


def normal_form(resource: Resource) -> dict[str, Any]:
    """The desired state; `looking.look_at` reports the same fields. Raises SpecError."""
    spec = ClusterSpec.of(resource)
    provider = provider_named(spec.provider)
    wanted: dict[str, Any] = {
        "provider": spec.provider,
        "state": "running" if spec.running else "stopped",
        "role": spec.role,
        "environment": spec.environment,
        "description": spec.description,
        "ports": dict(spec.ports),
        "manifests": objects_of(spec.manifests),
    }
    if provider.makes:
        wanted |= {"servers": spec.servers, "agents": spec.agents, "kubeconfig": "current"}
        if spec.version:
            wanted["version"] = spec.version
        if in_containers(provider):
            wanted |= _contained(spec, provider)
    else:
        wanted["kubeconfig"] = {"path": str(spec.kubeconfig), "context": spec.context}
    nodes = wanted_nodes(spec, provider)
    if nodes:
        wanted["ready"] = {"nodes": nodes}
    return wanted | wanted_attachments(resource)


def _contained(spec: ClusterSpec, provider: ContainerProvider) -> dict[str, Any]:
    """What is wanted of nodes in containers; what the spec leaves out is left to the provider."""
    provider.image_of(spec)  # that there is one for the version
    wanted: dict[str, Any] = {"address": "recorded"}
    if spec.image:
        wanted["image"] = spec.image
    if spec.subnet:
        wanted["subnet"] = str(network_of(spec.subnet))
    limits = {"cpus": spec.cpus, "memory": spec.memory}
    if any(limits.values()):
        wanted["resources"] = {name: limit for name, limit in limits.items() if limit}
    if spec.preload_images:
        wanted["preloadImages"] = dict.fromkeys(spec.preload_images, "loaded")
    return wanted
