"""What providers have in common whose nodes are containers of this host's docker engine: `kind` and `k3d`.

A subclass says how its tool lists, creates, starts, stops and deletes; what is between and after is here. The tools
write into a kubeconfig of their own in a folder that is thrown away: not into the user's, where one tool's lock file
would stop all others for ever.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from reconciler.errors import SpecError, TerminalError, TransientError, UnreachableError
from reconciler.kind import Context
from reconciler.kinds.cluster import rows
from reconciler.kinds.cluster.providers import Container, Found, docker_networks
from reconciler.kinds.cluster.providers.docker import Tools, version_in
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.kinds.cluster.states import State
from reconciler.transports.yaml_text import load_yaml_documents

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what the tools call every address of this host; compared, not bound


@dataclass(frozen=True, slots=True)
class Listed:
    """A cluster as its tool lists it. network: the one that its nodes are in. running: every node of it runs."""

    network: str
    servers: int
    agents: int
    running: bool


class DockerClusters(ABC):
    """A `ContainerProvider`; see there for what each method does."""

    name: str
    default_image: str
    makes = True
    allocates_ports = True
    has_nodes = True
    in_containers: Literal[True] = True

    # -- what a subclass knows

    @abstractmethod
    def image_of(self, spec: ClusterSpec) -> str:
        """The node image that the spec asks for."""

    @abstractmethod
    def creation(self, spec: ClusterSpec, ports: Mapping[str, Any]) -> list[str]:
        """The command that creates the cluster."""

    @abstractmethod
    def nodes_of(self, spec: ClusterSpec) -> list[str]:
        """The names of its nodes' containers, the first server's first."""

    @abstractmethod
    def network_name(self, spec: ClusterSpec) -> str:
        """The network to make before the cluster, "" where the tool has one of its own."""

    def _own_network(self, name: str) -> str:
        """The network that a cluster has for itself alone if it asks for a subnet, "" where none can."""
        return ""

    @abstractmethod
    def load_images(self, name: str, images: Sequence[str], context: Context) -> None:
        """Put images of the host's engine into the cluster's nodes."""

    @abstractmethod
    def _listed(self, tools: Tools, name: str) -> Listed | None:
        """The cluster of exactly this name, None for none."""

    @abstractmethod
    def _power(self, tools: Tools, name: str, verb: Literal["start", "stop"], timeout: float) -> None:
        """Start or stop all nodes."""

    @abstractmethod
    def _deletion(self, name: str) -> list[str]:
        """The command that deletes the cluster."""

    @abstractmethod
    def _kubeconfig_command(self, name: str) -> list[str]:
        """The command that prints its kubeconfig."""

    def _prepared(self, spec: ClusterSpec, ports: Mapping[str, Any], folder: Path) -> list[str]:
        """The command that creates the cluster, with the files that it reads in `folder`."""
        return self.creation(spec, ports)

    # -- what is the same for all

    def preflight(self, spec: ClusterSpec, context: Context) -> None:
        """Tools, engine, room, and what the spec may not be."""
        self.image_of(spec)
        docker_networks.check_overlap(spec, context.records.list(rows.TABLE))
        Tools(context, "docker", self.name).check_host()

    def look(self, name: str, row: Mapping[str, Any] | None, context: Context) -> Found | None:
        """The list, the first server's container, and the kubeconfig."""
        tools = Tools(context, "docker", self.name)
        listed = self._listed(tools, name)
        if listed is None:
            return None
        server = self.nodes_of(ClusterSpec(name))[0]
        container = tools.container(server, listed.network)
        document = None
        if container is not None and container.running and listed.running:
            document = self._kubeconfig(tools, name, row)
        elif container is None and not _is_unfinished(row):
            raise TransientError("NoServer", f"{self.name} lists {name}, but there is no container {server}")
        return _found(listed, container, document, row)

    def ensure_network(self, spec: ClusterSpec, context: Context) -> None:
        """Claim the subnet, then make the network unless it is there."""
        docker_networks.claim(spec, context)
        if network := self.network_name(spec):
            docker_networks.ensure(Tools(context, "docker"), network, spec.subnet)

    def create(self, spec: ClusterSpec, context: Context) -> None:
        """Run the tool and see that the cluster is there."""
        tools = Tools(context, "docker", self.name)
        with _scratch(context, spec.name) as folder:
            ports = ports_of(spec, rows.read(context.records, spec.name))
            argv = self._prepared(spec, ports, folder)
            tools.do(*argv, timeout=spec.create_timeout, env=_kubeconfig_in(folder))
        if self._listed(tools, spec.name) is None:
            raise TransientError("NotCreated", f"{self.name} says that it made {spec.name}, but lists no such cluster")

    def start(self, spec: ClusterSpec, context: Context) -> None:
        """Start all nodes."""
        self._power(Tools(context, "docker", self.name), spec.name, "start", spec.create_timeout)

    def stop(self, spec: ClusterSpec, context: Context) -> None:
        """Stop all nodes."""
        self._power(Tools(context, "docker", self.name), spec.name, "stop", spec.create_timeout)

    def scale(self, spec: ClusterSpec, context: Context) -> None:
        """Never: nodes have their places when a cluster is made."""
        message = f"a cluster of provider {self.name} keeps the nodes that it was made with: delete it and make it anew"
        raise TerminalError("NotScaled", message)

    def delete(self, name: str, context: Context) -> None:
        """Delete the cluster, see that it is gone, then remove the network that was made for it alone."""
        tools = Tools(context, "docker", self.name)
        if self._listed(tools, name) is not None:
            with _scratch(context, name) as folder:
                tools.do(*self._deletion(name), env=_kubeconfig_in(folder))
            if self._listed(tools, name) is not None:
                raise TransientError("NotDeleted", f"{self.name} still lists the cluster {name}")
        if own := self._own_network(name):
            docker_networks.remove(tools, own)

    def _kubeconfig(self, tools: Tools, name: str, row: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """What reaches the cluster; None while it is too unfinished to have one."""
        done = tools.look(*self._kubeconfig_command(name))
        if done.returncode == 0:
            return usable_kubeconfig(done.stdout)
        if _is_unfinished(row):
            return None
        raise UnreachableError("NoKubeconfig", f"{self.name} gives no kubeconfig of {name} (exit {done.returncode})")


def ports_of(spec: ClusterSpec, row: Mapping[str, Any] | None) -> dict[str, int]:
    """The ports of a cluster by their names in the spec: those that were allocated, else those that it asks for."""
    taken = {} if row is None else {name: row[column] for name, column in rows.PORT_COLUMNS.items()}
    return {**spec.ports, **{name: port for name, port in taken.items() if port is not None}}


def full_version(spec: ClusterSpec, provider: str) -> str:
    """The spec's version as a tag can have it. Raises SpecError for one that leaves the patch open."""
    version = spec.version.removeprefix("v")
    if version.count(".") < 2:
        advice = "write a full version such as 1.31.5, or spec.image"
        raise SpecError("NoImage", f"provider {provider} needs the image of {version}: {advice}")
    return version


def usable_kubeconfig(text: str) -> dict[str, Any]:
    """A tool's kubeconfig as we keep it: leading to this host by address, its certificate always checked.

    A tool that listens on every address writes 0.0.0.0; no certificate is made out to 127.0.0.1 for sure, but every
    one to localhost. Raises TransientError for what is no kubeconfig.
    """
    import yaml  # noqa: PLC0415 - costs 20 ms, and not every command reads a kubeconfig

    try:
        document: dict[str, Any] = next(found for found in load_yaml_documents(text) if found is not None)
        for entry in document["clusters"]:
            cluster = entry["cluster"]
            if cluster.get("certificate-authority-data"):
                cluster.pop("insecure-skip-tls-verify", None)
            address = urlsplit(cluster["server"])
            if address.hostname in _EVERYWHERE:
                cluster["server"] = f"https://127.0.0.1:{address.port}"
                cluster.setdefault("tls-server-name", "localhost")
    except (yaml.YAMLError, StopIteration, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TransientError("BadAnswer", "what was printed as a kubeconfig is none") from error
    return document


def _found(
    listed: Listed, container: Container | None, document: dict[str, Any] | None, row: Mapping[str, Any] | None
) -> Found:
    state: Literal["running", "stopped", "unfinished"] = "running"
    if document is None:
        state = "unfinished" if _is_unfinished(row) else "stopped"
    return Found(
        state,
        version=version_in(container.image) if container is not None else "",
        servers=listed.servers,
        agents=listed.agents,
        server=document["clusters"][0]["cluster"]["server"] if document is not None else "",
        kubeconfig=document,
        container=container,
    )


def _is_unfinished(row: Mapping[str, Any] | None) -> bool:
    """Whether we began to create the cluster and never saw it work: what is there of it holds nothing yet."""
    if row is None or not row["created_by_us"] or row["cluster_uid"]:
        return False
    return row["actual_state"] in (State.CREATING, State.FAILED, State.DELETING)


@contextmanager
def _scratch(context: Context, name: str) -> Iterator[Path]:
    """An empty folder for one command, for our eyes only, gone afterwards; also what a killed process left of it."""
    folder = context.home / "providers" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kubeconfig_in(folder: Path) -> dict[str, str]:
    return {"KUBECONFIG": str(folder / "kubeconfig")}


def write_private(path: Path, text: str) -> None:
    """A new file with mode 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
