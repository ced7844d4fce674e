"""The `spec` of a cluster as values with types and defaults. Called by everything in this kind that reads one.

A spec may be in its stored form (a file as its path and digest, without the text) when its document is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.model.duration import parse_duration
from reconciler.model.resource import Resource
from reconciler.model.secret import SpecFile

DEFAULT_PROVIDER = "sandbox"


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A desired cluster. Times in seconds. nodes: how many must be ready, None for all that it has.

    image: of the nodes, "" for the provider's own choice. subnet: in CIDR form, "" for the shared network. cpus, memory
    (bytes): limits of each node, 0 for none. kubeconfig: absolute path, for a cluster that exists; None otherwise.
    manifests: as in the document.
    """

    name: str
    provider: str = DEFAULT_PROVIDER
    running: bool = True
    version: str = ""
    image: str = ""
    subnet: str = ""
    cpus: float = 0.0
    memory: int = 0
    preload_images: tuple[str, ...] = ()
    servers: int = 1
    agents: int = 0
    ports: Mapping[str, int] = field(default_factory=dict)
    strict_ports: bool = False
    manifests: tuple[Any, ...] = ()
    kubeconfig: Path | None = None
    context: str = ""
    create_timeout: float = 600.0
    nodes: int | None = None
    ready_timeout: float = 300.0
    role: str = "business"
    environment: str = ""
    description: str = ""

    @classmethod
    def of(cls, resource: Resource) -> ClusterSpec:
        """From a document that passed the schema, or from the stored form of one."""
        spec = resource.spec
        ready = spec.get("ready", {})
        kubeconfig = spec.get("kubeconfig", {})
        resources = spec.get("resources", {})
        return cls(
            name=resource.ref.name,
            provider=spec.get("provider", DEFAULT_PROVIDER),
            running=spec.get("running", True),
            version=spec.get("version", ""),
            image=spec.get("image", ""),
            subnet=spec.get("subnet", ""),
            cpus=float(resources.get("cpus", 0)),
            memory=parse_memory(resources.get("memory", "0")),
            preload_images=tuple(spec.get("preloadImages", ())),
            servers=spec.get("servers", 1),
            agents=spec.get("agents", 0),
            ports={name: port for name, port in spec.get("ports", {}).items() if name != "strict"},
            strict_ports=spec.get("ports", {}).get("strict", False),
            manifests=tuple(spec.get("manifests", ())),
            kubeconfig=_absolute(kubeconfig.get("path"), resource.source.owner),
            context=kubeconfig.get("context", ""),
            create_timeout=parse_duration(spec.get("createTimeout", "10m")),
            nodes=ready.get("nodes"),
            ready_timeout=parse_duration(ready.get("timeout", "5m")),
            role=spec.get("role", "business"),
            environment=spec.get("environment", ""),
            description=spec.get("description", ""),
        )


def parse_memory(text: str) -> int:
    """Bytes from what docker takes: a number and maybe b, k, m or g, each 1024 times the one before."""
    unit = text[-1:].lower()
    return int(text[:-1]) * 1024 ** "bkmg".index(unit) if unit in tuple("bkmg") else int(text)


def _absolute(file: Any, owner: str) -> Path | None:
    """Where a named file is: a relative path is relative to the document that names it."""
    if file is None:
        return None
    named = file.path if isinstance(file, SpecFile) else file["file"] if isinstance(file, Mapping) else str(file)
    document = owner.removeprefix("file:")
    folder = Path(document).parent if owner.startswith("file:") else Path("/")
    return folder / Path(named).expanduser()
