"""Flux itself, applied from a manifest where a cluster has none (`flux.install.mode: apply`).

Called by `setup_gitops`; what is compared of it, by the kind and by `looking`.

In stages: definitions, until each is established; namespaces; everything else; then until its Deployments run. What is
applied stands in `flux_installs` before it is, and as `installed` only once it ran: a run that was killed is gone on
with, and another one after that writes nothing. Flux belongs to all projects of its cluster, so its objects carry no
labels of one of them, and no project's deletion removes it. Objects that a newer manifest has no longer stay: with a
definition all its objects would go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.errors import ReconcilerError, SpecError, TransientError, UnreachableError
from reconciler.kind import Context, Records
from reconciler.kinds.project.changing import tell, wait_until
from reconciler.kinds.project.preflight import check_served, serves_flux
from reconciler.kinds.project.rows import PROJECTS
from reconciler.model.duration import parse_duration
from reconciler.model.kstatus import health_of
from reconciler.model.secret import SpecFile
from reconciler.planning.live import comparable
from reconciler.transports.yaml_text import load_yaml_documents

if TYPE_CHECKING:
    from reconciler.kinds.project.spec import ProjectSpec
    from reconciler.transports.kube import KubeTransport

INSTALLS = "flux_installs"
APPLYING, INSTALLED = "applying", "installed"
TIMEOUT = 300.0
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
_BY_SERVERS = frozenset({"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"})

Object = Mapping[str, Any]


def ensure_flux(spec: ProjectSpec, context: Context) -> None:
    """Flux runs in every cluster of the project, where the spec says that we apply it; otherwise nothing is done.

    A Flux that somebody else has installed is left as it is. Raises what `KubeTransport` raises with the cluster's
    name before it, BlockedError("Conflict") for what others own, DeadlineError("FluxNotRunning") past the setting
    `installTimeout`.
    """
    if not spec.flux.install:
        return
    manifest = spec.flux.manifest
    if not isinstance(manifest, SpecFile):  # its document is gone, and with it the file's text
        raise TransientError("NoManifest", "flux.install.manifest: the document that names it is gone")
    objects = objects_of(manifest.text)
    for name in spec.clusters:
        try:
            with context.cluster(name) as api:
                _ensure(_Install(spec, context, name, api), manifest.sha256, objects)
        except ReconcilerError as error:  # the class stays: it says what happens next
            raise type(error)(error.reason, f"cluster {name}: {error.message}") from error


def wanted_installs(spec: ProjectSpec) -> dict[str, str]:
    """The digest of the manifest by cluster, where the spec says that we apply one. Pure; compared by plans."""
    manifest = spec.flux.manifest
    digest = manifest.sha256 if isinstance(manifest, SpecFile) else str((manifest or {}).get("sha256", ""))
    return dict.fromkeys(spec.clusters, digest) if spec.flux.install else {}


def seen_installs(spec: ProjectSpec, records: Records, served: Mapping[str, bool]) -> dict[str, str]:
    """What is there of that. served: of each cluster that was looked at, whether it knows Flux' types.

    A Flux that somebody else, or another project, has installed is as wanted; one that is gone, or was left half
    installed, is not.
    """
    found: dict[str, str] = {}
    for name, digest in wanted_installs(spec).items():
        row = records.get(INSTALLS, cluster=name)
        if not served.get(name):
            continue
        if row is None or _is_anothers(records, row, spec):
            found[name] = digest
        elif row["state"] == INSTALLED:
            found[name] = row["manifest_sha256"]
    return found


def objects_of(text: str) -> list[Object]:
    """The objects of a manifest, in its order, without what only a server writes. Raises SpecError."""
    import yaml  # noqa: PLC0415 - costs 20 ms, and few projects install Flux

    try:
        documents = load_yaml_documents(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise SpecError("InvalidManifest", f"flux.install.manifest{line} is no valid YAML") from error
    found = [_checked(one, where) for number, each in enumerate(documents, 1) for one, where in _members(each, number)]
    if not found:
        raise SpecError("InvalidManifest", "flux.install.manifest holds no objects")
    return found


def _members(document: Any, number: int) -> Iterator[tuple[Any, str]]:
    where = f"flux.install.manifest, document {number}"
    if isinstance(document, Mapping) and document.get("kind") == "List":
        yield from ((one, where) for one in document.get("items") or ())
    elif document is not None:
        yield document, where


def _checked(value: Any, where: str) -> Object:
    metadata = value.get("metadata") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(metadata, Mapping):
        raise SpecError("InvalidManifest", f"{where} is no Kubernetes object")
    for field, text in (
        ("apiVersion", value.get("apiVersion")),
        ("kind", value.get("kind")),
        ("name", metadata.get("name")),
    ):
        if not isinstance(text, str) or not text:
            raise SpecError("InvalidManifest", f"{where} has no {field}")
    kept = {name: member for name, member in metadata.items() if name not in _BY_SERVERS}
    return {**{name: member for name, member in value.items() if name != "status"}, "metadata": kept}


class _Install:
    """One installation into one cluster."""

    def __init__(self, spec: ProjectSpec, context: Context, cluster: str, api: KubeTransport) -> None:
        self.spec = spec
        self.context = context
        self.cluster = cluster
        self.api = api
        self._timeout = parse_duration(context.settings.get("installTimeout", TIMEOUT))

    def apply(self, manifest: Object) -> None:
        """Write the object unless it is as it should be."""
        path = self.path(manifest)
        live = self.api.get(path)
        if live is None or comparable(live, manifest) != manifest:
            self.api.apply(manifest, force=self.spec.flux.force)
            self.context.log(f"applied {_shown(manifest)}\n")

    def path(self, manifest: Object) -> str:
        """Where an object is. A type that was only just defined takes a moment to be served."""
        metadata = manifest["metadata"]
        found: list[str] = []

        def is_known() -> str:
            try:
                kind, namespace = manifest["kind"], metadata.get("namespace", "")
                found.append(self.api.resource_path(manifest["apiVersion"], kind, namespace, metadata["name"]))
            except UnreachableError:
                raise
            except TransientError as error:
                if error.reason != "UnknownType":
                    raise
                return error.message
            return ""

        self.wait(f"{_shown(manifest)} cannot be applied: its type was not served", is_known)
        return found[0]

    def wait(self, what: str, look: Callable[[], str]) -> None:
        """Until `look` returns "", at most `installTimeout`."""
        wait_until(self.context, self._timeout, what, look, "FluxNotRunning")


def _ensure(install: _Install, digest: str, objects: Sequence[Object]) -> None:
    context, cluster = install.context, install.cluster
    row = context.records.get(INSTALLS, cluster=cluster)
    is_there = serves_flux(install.api)
    if is_there and (row is None or _is_anothers(context.records, row, install.spec)):
        whose = f"of Project/{row['resource']}" if row is not None else "of somebody else"
        tell(context, f"cluster {cluster} has a Flux {whose}, which is left as it is")
        return
    if is_there and row is not None and (row["state"], row["manifest_sha256"]) == (INSTALLED, digest):
        return
    _note(install, digest, objects, APPLYING)
    _in_stages(install, objects)
    check_served(install.api)
    _note(install, digest, objects, INSTALLED)
    tell(context, f"cluster {cluster}: Flux is installed and runs")


def _is_anothers(records: Records, row: Mapping[str, Any], spec: ProjectSpec) -> bool:
    """Whether another project, that is still there, has installed it: two would undo each other's for ever."""
    owner = row["resource"]
    is_whole = row["state"] == INSTALLED
    return is_whole and owner != spec.name and records.get(PROJECTS, resource=owner) is not None


def _in_stages(install: _Install, objects: Sequence[Object]) -> None:
    definitions = [one for one in objects if one["kind"] == "CustomResourceDefinition"]
    namespaces = [one for one in objects if one["kind"] == "Namespace"]
    rest = [one for one in objects if one["kind"] not in ("CustomResourceDefinition", "Namespace")]
    for one in definitions:
        install.apply(one)
    install.wait("the definitions were not established", partial(_all, _not_established, install, definitions))
    for one in (*namespaces, *rest):
        install.apply(one)
    workloads = [one for one in rest if one["kind"] in _WORKLOADS]
    install.wait("Flux did not run", partial(_all, _not_running, install, workloads))


def _all(trouble: Callable[[_Install, Object], str], install: _Install, objects: Sequence[Object]) -> str:
    """What is not as it should be with the first of them that is not; "" for nothing."""
    return next((said for one in objects if (said := trouble(install, one))), "")


def _not_established(install: _Install, definition: Object) -> str:
    conditions = ((install.api.get(install.path(definition)) or {}).get("status") or {}).get("conditions") or ()
    found: Object = next((one for one in conditions if one.get("type") == "Established"), {})
    said = found.get("message") or "the server has not looked at it yet"
    return "" if found.get("status") == "True" else f"{_shown(definition)}: {said}"


def _not_running(install: _Install, workload: Object) -> str:
    live = install.api.get(install.path(workload))
    if live is None:
        return f"{_shown(workload)} is gone"
    health = health_of(live)
    return "" if health.state == "current" else f"{_shown(workload)}: {health.message or health.reason}"


def _note(install: _Install, digest: str, objects: Sequence[Object], state: str) -> None:
    context, cluster, now = install.context, install.cluster, install.context.now()
    listed = [
        {
            "apiVersion": one["apiVersion"],
            "kind": one["kind"],
            "namespace": one["metadata"].get("namespace", ""),
            "name": one["metadata"]["name"],
        }
        for one in objects
    ]
    whose = {"resource": install.spec.name, "manifest_sha256": digest}
    values = {**whose, "state": state, "objects": json.dumps(listed), "updated_at": now}
    with context.records.transaction() as records:
        fresh = {} if records.get(INSTALLS, cluster=cluster) is not None else {"created_at": now}
        records.put(INSTALLS, {"cluster": cluster}, {**fresh, **values})


def _shown(manifest: Object) -> str:
    namespace = manifest["metadata"].get("namespace", "")
    scope = f"{namespace}/" if namespace else ""
    return f"{manifest['kind']} {scope}{manifest['metadata']['name']}"
