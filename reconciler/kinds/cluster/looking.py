"""What is there of a cluster, in normal form. Called by `ClusterKind.observe`; reads only.

One request to the provider, then on one connection: the namespace `kube-system` (does the API answer, and is it the
cluster that we recorded), the nodes, and the objects of the manifests (one by one, or by one LIST where there are more
than a few of a type). While the API cannot be asked because the cluster is stopped or its kubeconfig is not in place,
what only the API could show is reported as wanted: it is not compared, and putting the cluster right comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconcilerError, SpecError, TransientError, UnreachableError
from reconciler.kind import Context
from reconciler.kinds.cluster import reserving, rows
from reconciler.kinds.cluster.kubeconfigs import compare_file
from reconciler.kinds.cluster.looking_around import look_around, noted_around
from reconciler.kinds.cluster.manifests import objects_of
from reconciler.kinds.cluster.normal_form import normal_form
from reconciler.kinds.cluster.providers import Container, Found, Provider, provider_named, wanted_nodes
from reconciler.kinds.cluster.providers.docker import Tools, is_image
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.kinds.cluster.states import State
from reconciler.model.digest import to_plain
from reconciler.model.observation import Observation
from reconciler.model.resource import Resource
from reconciler.planning.diff import diff
from reconciler.planning.live import comparable
from reconciler.planning.secret_values import hidden, holds_secrets

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

KUBE_SYSTEM = "/api/v1/namespaces/kube-system"
NODES = "/api/v1/nodes"
NO_ADDRESS = "its node has no address on the cluster's own network"


def look_at(resource: Resource, context: Context) -> Observation:
    """The cluster of a resource. What could not be asked is unknown, never absent."""
    spec = ClusterSpec.of(resource)
    row = rows.read(context.records, spec.name)
    now = context.now()
    provider = provider_named(row["provider"] if row is not None else spec.provider)
    try:
        found = provider.look(spec.name, row, context)
        if found is None:
            state = _left_over(resource, row, context)
            note = reserving.foresee(spec, context) if state is None and resource.lifecycle.state == "present" else ""
            return Observation(resource.ref, state=state, note=note, observed_at=now)
        looked = _Look(spec, row, provider, found, context, is_leaving=resource.lifecycle.state == "absent")
        state = looked.state()
        around = look_around(resource, row, found, context, asks=looked.can_be_asked(state["kubeconfig"]))
    except ReconcilerError as error:
        unreachable = isinstance(error, UnreachableError)
        return Observation(resource.ref, unknown=error.message, unreachable=unreachable, observed_at=now)
    state |= around.state
    if around.unseen and _is_as_desired(resource, state, context):
        return Observation(resource.ref, unknown=around.trouble, unreachable=around.unreachable, observed_at=now)
    unhealthy = "; ".join(filter(None, (looked.trouble(), around.trouble)))
    return Observation(resource.ref, state=state, unhealthy=unhealthy, observed_at=now)


def _left_over(resource: Resource, row: Mapping[str, Any] | None, context: Context) -> dict[str, Any] | None:
    """What is left of a cluster that is gone and is wanted to be: its attachments, and the record of one that only the
    record wants. They have to go as well."""
    if resource.lifecycle.state != "absent":
        return None
    attached = noted_around(resource, context)
    if row is not None and (attached or row["desired_by"] == "row"):
        return {"provider": row["provider"], "state": "gone", **attached}
    return {"state": "gone", **attached} if attached else None


def _is_as_desired(resource: Resource, state: Mapping[str, Any], context: Context) -> bool:
    """Whether nothing would be done: then what could not be looked at decides, and the answer is that nobody knows."""
    if resource.lifecycle.state == "absent":
        return False
    try:
        wanted = to_plain(normal_form(resource), lambda secret: {"secret": context.digest_of(secret)})
    except SpecError:
        return False
    return not diff(wanted, state, None, resource.lifecycle.ignore)


def ready_nodes(api: KubeTransport) -> tuple[int, list[str]]:
    """How many nodes are ready, and why the others are not."""
    ready, waiting = 0, []
    for node in api.list(NODES):
        conditions = node.get("status", {}).get("conditions") or ()
        condition: Mapping[str, Any] = next((entry for entry in conditions if entry.get("type") == "Ready"), {})
        if condition.get("status") == "True":
            ready += 1
        else:
            why = condition.get("reason") or "no Ready condition"
            waiting.append(f"{node['metadata']['name']}: {why}")
    return ready, waiting


def as_wanted(version: str, wanted: str) -> str:
    """The wanted version where the found one is one of it: 1.31.5 is 1.31, and v1.31.5."""
    plain = wanted.removeprefix("v")
    return wanted if wanted and (version == plain or version.startswith(plain + ".")) else version


def cluster_uid(api: KubeTransport) -> str:
    """The identity of a cluster: the uid of its namespace kube-system. Raises UnreachableError without one."""
    namespace = api.get(KUBE_SYSTEM)
    if namespace is None:
        raise UnreachableError("NotReady", f"{api.server} answers, but has no namespace kube-system yet")
    return str(namespace["metadata"]["uid"])


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at one cluster that is there. is_leaving: nobody wants it any more, so its API need not answer."""

    spec: ClusterSpec
    row: Mapping[str, Any] | None
    provider: Provider
    found: Found
    context: Context
    is_leaving: bool = False

    def state(self) -> dict[str, Any]:
        """The normal form."""
        seen: dict[str, Any] = {"provider": self.provider.name, "state": self._state()}
        if self.row is not None:
            allocates = self.provider.allocates_ports
            seen |= rows.recorded_fields(self.row, self.spec.ports, allocates=allocates)
        if self.provider.makes:
            version = as_wanted(self.found.version, self.spec.version)
            sizes = {"version": version, "servers": self.found.servers, "agents": self.found.agents}
            seen |= {name: value for name, value in sizes.items() if value not in (None, "")}
        if self.found.container is not None:
            seen |= self._contained(self.found.container)
        seen["kubeconfig"] = self._kubeconfig()
        if not self.can_be_asked(seen["kubeconfig"]):
            return seen | self._as_wanted()
        path, name = self._access()
        with self.context.kube(path, name) as api:
            return seen | self._through(api)

    def can_be_asked(self, kubeconfig: Any) -> bool:
        """Whether it runs, is to run, and what reaches it is in place. kubeconfig: as it was seen."""
        is_wanted = self.spec.running and not self.is_leaving
        return self.found.state == "running" and is_wanted and self._is_in_place(kubeconfig)

    def trouble(self) -> str:
        """What is wrong with a cluster that runs as wanted; "" for nothing."""
        container = self.found.container
        runs = self.found.state == "running" and self.spec.running
        return NO_ADDRESS if runs and container is not None and not container.address else ""

    def _state(self) -> str:
        """The recorded state, unless it stands still or runs against what was recorded."""
        recorded = rows.state_of(self.row)
        if self.found.state == "unfinished":
            return "unfinished"
        if self.found.state == "stopped":
            return "stopped" if self.spec.running or recorded is State.STOPPED else recorded.value
        return "started" if recorded is State.STOPPED else recorded.value

    def _contained(self, container: Container) -> dict[str, Any]:
        """What can be seen of a node from outside. Its addresses go while it stands still, and are not compared."""
        runs = self.found.state == "running" and self.spec.running
        recorded = self.row["server_ip"] if self.row is not None else ""
        is_current = self.row is not None and (container.address or None) == (recorded or None)
        seen: dict[str, Any] = {"address": "recorded" if is_current or not runs else "changed"}
        if self.spec.image:
            seen["image"] = self.spec.image if is_image(container.image, self.spec.image) else container.image
        subnet = container.subnet or (self.row["subnet"] if self.row is not None else None)
        if subnet:
            seen["subnet"] = subnet
        limits = {"cpus": (self.spec.cpus, container.cpus), "memory": (self.spec.memory, container.memory)}
        seen["resources"] = {name: there for name, (wanted, there) in limits.items() if wanted}
        images = self.spec.preload_images
        if images:
            there = Tools(self.context, "docker").images_in(container.name) if runs else set(images)
            loaded = (image for image in images if any(is_image(name, image) for name in there))
            seen["preloadImages"] = dict.fromkeys(loaded, "loaded")
        return seen

    def _access(self) -> tuple[Path, str]:
        if self.row is not None:
            return rows.kubeconfig_of(self.context.home, self.row)
        return rows.kubeconfig_path(self.context.home, self.spec.name), ""

    def _is_in_place(self, seen: Any) -> bool:
        """Whether the recorded kubeconfig is the right one to ask through."""
        if self.provider.makes:
            return bool(seen == "current")
        wanted = {"path": str(self.spec.kubeconfig), "context": self.spec.context}
        return self.spec.kubeconfig is None or bool(seen == wanted)

    def _kubeconfig(self) -> Any:
        """For a cluster that we make, whether its file is what it should be; for another one, which is recorded."""
        if not self.provider.makes:
            return {"path": self.row["kubeconfig"], "context": self.row["context"]} if self.row is not None else None
        if self.found.kubeconfig is None:
            return "current"
        return compare_file(rows.kubeconfig_path(self.context.home, self.spec.name), self.found.kubeconfig)

    def _as_wanted(self) -> dict[str, Any]:
        """What cannot be looked at now, as the spec has it."""
        wanted = objects_of(self.spec.manifests, strict=False)
        unseen = {"manifests": to_plain(wanted, lambda secret: {"secret": self.context.digest_of(secret)})}
        nodes = wanted_nodes(self.spec, self.provider)
        return unseen | ({"ready": {"nodes": nodes}} if nodes else {})

    def _through(self, api: KubeTransport) -> dict[str, Any]:
        """What the API shows. Another uid than the recorded one means another cluster."""
        seen: dict[str, Any] = {}
        uid, recorded = cluster_uid(api), self.row["cluster_uid"] if self.row is not None else ""
        if recorded and uid != recorded:
            if not self.provider.makes:
                message = f"{api.server} is another cluster (uid {uid}) than the one that was taken in ({recorded})"
                raise TransientError("AnotherCluster", message)
            seen["state"] = "unknown"
        nodes = wanted_nodes(self.spec, self.provider)
        if nodes:
            seen["ready"] = {"nodes": min(ready_nodes(api)[0], nodes)}
        return seen | {"manifests": self._manifests(api)}

    def _manifests(self, api: KubeTransport) -> dict[str, Any]:
        """The live objects of all that the spec wants and of all that we applied before."""
        from reconciler.transports.kube_objects import fetch  # noqa: PLC0415 - here is an API, so its client is loaded

        wanted = objects_of(self.spec.manifests, strict=False)
        paths = rows.inventory_of(self.row)
        for key, manifest in wanted.items():
            if key not in paths:
                path = _path_of(api, manifest)
                if path is not None:
                    paths[key] = path
        live = fetch(api, set(paths.values()))
        in_spec = {paths[key] for key in wanted if key in paths}
        seen: dict[str, Any] = {}
        for key, path in paths.items():
            there = live.get(path)
            if there is None or (
                key not in wanted and path in in_spec
            ):  # the latter is one that is written differently
                continue
            if not (key in wanted and there["metadata"].get("deletionTimestamp")):
                compared = comparable(there, wanted.get(key, {}))
                seen[key] = hidden(compared, self.context.digest_of) if holds_secrets(there) else compared
        return seen


def _path_of(api: KubeTransport, manifest: Mapping[str, Any]) -> str | None:
    metadata = manifest["metadata"]
    try:
        return api.resource_path(
            manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"]
        )
    except UnreachableError:
        raise
    except TransientError as error:
        if error.reason != "UnknownType":
            raise
        return None
