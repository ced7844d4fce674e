"""The object that Argo CD's controller reads. Pure; called by `normalize`, `looking` and the step that applies it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.kinds.application_set.spec import SetSpec, go_template
from reconciler.model.marks import ownership_labels

API_VERSION = "argoproj.io/v1alpha1"
KIND_NAME = "ApplicationSet"
TYPE = "applicationsets.argoproj.io"


def manifest_of(spec: SetSpec) -> dict[str, Any]:
    """The whole object but for its generators, which only the records of clusters can fill."""
    name = spec.ref.name
    body: dict[str, Any] = {
        "goTemplate": True,
        "goTemplateOptions": ["missingkey=error"],
        "template": {
            "metadata": {"name": f"{name}-{{{{.env}}}}", "labels": {"app": name, "env": "{{.env}}"}},
            "spec": {
                "project": go_template(spec.project),
                "source": _source(spec),
                "destination": _destination(spec),
                "syncPolicy": dict(spec.sync_policy),
            },
        },
    }
    if spec.preserve_resources:
        body["syncPolicy"] = {"preserveResourcesOnDeletion": True}
    metadata = {"name": name, "namespace": spec.namespace, "labels": ownership_labels(spec.ref)}
    return {"apiVersion": API_VERSION, "kind": KIND_NAME, "metadata": metadata, "spec": body}


def with_elements(manifest: Mapping[str, Any], elements: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The object with its one generator, which lists the elements; none of them is a list too."""
    generators = [{"list": {"elements": [dict(one) for one in elements]}}]
    return {**manifest, "spec": {**manifest["spec"], "generators": generators}}


def elements_in(live: Mapping[str, Any]) -> list[Any] | None:
    """The elements of a live object; None when its generators are not the one that we make."""
    match (live.get("spec") or {}).get("generators"):
        case [{"list": {"elements": list() as elements, **others}, **more}] if not others and not more:
            return elements
    return None


def _destination(spec: SetSpec) -> dict[str, Any]:
    """Argo CD knows a cluster by its name or by its server, never by both."""
    namespace = {"namespace": go_template(spec.destination_namespace)}
    if spec.destination_server:
        return {"server": go_template(spec.destination_server), **namespace}
    return {"name": go_template(spec.destination_name), **namespace}


def _source(spec: SetSpec) -> dict[str, Any]:
    source: dict[str, Any] = {
        "repoURL": spec.repo_url,
        "path": go_template(spec.path),
        "targetRevision": go_template(spec.revision),
    }
    if spec.helm is None:
        return source
    ingress: dict[str, str] = {}
    if spec.base_domain:
        host = f"{spec.ref.name}.{{{{.hostEnv}}}}.{spec.base_domain}"
        ingress = {"ingress.host": host, "ingress.className": "{{.ingressClass}}"}
    named = {**ingress, **{name: go_template(value) for name, value in spec.helm.parameters}}
    parameters = [{"name": name, "value": value} for name, value in named.items()]
    return {**source, "helm": {"releaseName": spec.helm.release_name, "parameters": parameters}}
