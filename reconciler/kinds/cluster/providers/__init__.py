"""The providers: every module here with a `PROVIDER`. A provider knows one way in which clusters come to be.

Adding one is adding a module; the schema's `provider` takes its name, and the steps stay as they are.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, TypeGuard

from reconciler.errors import TerminalError
from reconciler.kind import Context
from reconciler.kinds.cluster.spec import ClusterSpec


@dataclass(frozen=True, slots=True)
class Container:
    """The container that is a cluster's first server.

    image: as it was asked for. network: the cluster's own network. address: on that network, None while it has none.
    subnet: of that network in CIDR form, "" while nobody knows. cpus, memory (bytes): its limits, 0 for none.
    """

    name: str
    running: bool
    image: str = ""
    network: str = ""
    address: str | None = None
    subnet: str = ""
    cpus: float = 0.0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A cluster as its provider knows it.

    state: `stopped` also when just the provider's own process is down; `unfinished` when our own creation of it was
    interrupted, so that nothing in it is worth keeping. kubeconfig: the document that reaches it, None when nobody
    knows while it does not run, and for a provider whose kubeconfig is given by the spec. container: where it has one.
    """

    state: Literal["running", "stopped", "unfinished"]
    version: str = ""
    servers: int | None = None
    agents: int | None = None
    server: str = ""
    kubeconfig: Mapping[str, Any] | None = None
    container: Container | None = None


class Provider(Protocol):
    """One way in which clusters come to be. Every method may be called again after it was carried out.

    name: as in `spec.provider`. makes: False when it never creates or deletes a cluster. allocates_ports: True when its
    clusters are reached through ports of this host, so that each gets its own (see `ports`). has_nodes: False when its
    clusters are a control plane alone, so that none has to become ready unless `spec.ready.nodes` asks for it.
    """

    name: str
    makes: bool
    allocates_ports: bool
    has_nodes: bool

    def preflight(self, spec: ClusterSpec, context: Context) -> None:
        """Raise TerminalError naming what is missing."""
        ...

    def look(self, name: str, row: Mapping[str, Any] | None, context: Context) -> Found | None:
        """What is there, None for nothing. Reads only. row: what we recorded, to tell `stopped` from `gone`."""
        ...

    def create(self, spec: ClusterSpec, context: Context) -> None:
        """Create the cluster, or do nothing when it is there."""
        ...

    def start(self, spec: ClusterSpec, context: Context) -> None:
        """Start a stopped cluster."""
        ...

    def stop(self, spec: ClusterSpec, context: Context) -> None:
        """Stop a running cluster; what it holds stays."""
        ...

    def scale(self, spec: ClusterSpec, context: Context) -> None:
        """Bring it to the spec's servers and agents."""
        ...

    def delete(self, name: str, context: Context) -> None:
        """Delete it, with all that was made for it; nothing to do when it is not there."""
        ...


class ContainerProvider(Provider, Protocol):
    """A provider whose nodes are containers of this host's docker engine.

    default_image: for a spec without image and version.
    """

    in_containers: Literal[True]
    default_image: str

    def image_of(self, spec: ClusterSpec) -> str:
        """The node image that the spec asks for. Raises SpecError for a version that no image is known by."""
        ...

    def creation(self, spec: ClusterSpec, ports: Mapping[str, Any]) -> list[str]:
        """The command that creates the cluster. ports: by their names in the spec, those that it has."""
        ...

    def ensure_network(self, spec: ClusterSpec, context: Context) -> None:
        """The network that its nodes will be in is there."""
        ...

    def nodes_of(self, spec: ClusterSpec) -> list[str]:
        """The names of its nodes' containers."""
        ...

    def load_images(self, name: str, images: Sequence[str], context: Context) -> None:
        """Put images of the host's engine into the cluster's nodes."""
        ...


@cache
def providers() -> Mapping[str, Provider]:
    """All providers by name, sorted."""
    found: dict[str, Provider] = {}
    for entry in sorted(pkgutil.iter_modules(__path__), key=lambda entry: entry.name):
        provider: Provider | None = getattr(importlib.import_module(f"{__name__}.{entry.name}"), "PROVIDER", None)
        if provider is not None:
            found[provider.name] = provider
    return found


def provider_named(name: str) -> Provider:
    """The provider. Raises TerminalError when there is none of this name."""
    try:
        return providers()[name]
    except KeyError:
        known = ", ".join(providers())
        raise TerminalError("UnknownProvider", f"there is no provider {name}; there are {known}") from None


def in_containers(provider: Provider) -> TypeGuard[ContainerProvider]:
    """Whether its nodes are containers of the host, with all that a `ContainerProvider` can do for them."""
    return getattr(provider, "in_containers", False) is True


def wanted_nodes(spec: ClusterSpec, provider: Provider) -> int:
    """How many nodes have to be ready: as many as the spec says, else all that the provider makes of it."""
    if spec.nodes is not None:
        return spec.nodes
    return spec.servers + spec.agents if provider.makes and provider.has_nodes else 0
