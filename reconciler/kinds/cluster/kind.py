"""The kind `Cluster`: what the engine asks of it. The doing is in `steps`, the looking in `looking`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from reconciler.kind import Context, Records, Step, Wanted
from reconciler.kinds.cluster import wishes
from reconciler.kinds.cluster.looking import look_at
from reconciler.kinds.cluster.manifests import objects_of
from reconciler.kinds.cluster.plan_steps import steps_of
from reconciler.kinds.cluster.providers import ContainerProvider, in_containers, provider_named, providers, wanted_nodes
from reconciler.kinds.cluster.providers.docker_networks import network_of
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.observation import Observation
from reconciler.model.plan import Change
from reconciler.model.resource import Resource, ResourceRef, State


class ClusterKind:
    """See `kind.Kind` for what each member is; README.md for what is compared."""

    name = "Cluster"
    recovery: Literal["replan", "continue"] = "replan"
    steps_version = 1

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """schema.json, with the providers that are there as the values of `provider`."""
        schema: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text("utf-8"))
        schema["properties"]["provider"]["enum"] = list(providers())
        return schema

    def references(self, resource: Resource) -> Sequence[ResourceRef]:
        """A cluster needs nothing that its spec names."""
        return ()

    def target(self, resource: Resource) -> str:
        """Each cluster is a system of its own: one that hangs delays no other."""
        return f"cluster/{resource.ref.name}"

    def normalize(self, resource: Resource) -> State:
        """The desired state; `looking.state_of_cluster` reports the same fields."""
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
        return wanted

    def observe(self, resources: Sequence[Resource], context: Context) -> Mapping[ResourceRef, Observation]:
        """Look at each; one target is one cluster, so there is just one."""
        return {resource.ref: look_at(resource, context) for resource in resources}

    def steps(self, change: Change) -> Sequence[Step]:
        """The steps that the change needs."""
        return steps_of(change)

    def recorded(self, records: Records) -> Iterable[Mapping[str, Any]]:
        """What rows want that no document names; see `wishes`."""
        return wishes.documents(records)

    def want(self, records: Records, name: str, state: Wanted) -> None:
        """Note in such a row what is wanted from now on."""
        wishes.want(records, name, state)

    def facts(self, records: Records) -> Mapping[str, Mapping[str, Any]]:
        """What rows say, for people."""
        return wishes.facts(records)


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
