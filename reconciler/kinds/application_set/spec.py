"""The `spec` of an application set as values with types and defaults, and what the schema cannot say of it.

Some fields become Go templates that Argo CD renders once an element: `${field}` in them is the element's field, and a
`{{` is passed on as it is. In all others the schema refuses `{{`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import SpecError
from reconciler.model.resource import Resource, ResourceRef

ELEMENT_FIELDS = ("env", "hostEnv", "branch", "clusterName", "ingressClass")
"""The fields that every element has, whatever the spec says."""
INGRESS_CLASS = "traefik"
MAX_RELEASE_NAME = 53
_LATE = re.compile(r"\$\{([^}]*)\}")
_GO_FIELD = re.compile(r"\{\{-?\s*\.([A-Za-z_][A-Za-z0-9_]*)\s*-?\}\}")
_SYNC_POLICY = {"automated": {"prune": True, "selfHeal": True}, "syncOptions": ["CreateNamespace=true"]}


@dataclass(frozen=True, slots=True)
class Selector:
    """Which clusters: all of `labels` and every one of `expressions` (key, operator, values) have to hold."""

    labels: Mapping[str, str] = field(default_factory=dict)
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def names(self, key: str) -> bool:
        """Whether anything is said of a label."""
        return key in self.labels or any(key == one for one, _, _ in self.expressions)


@dataclass(frozen=True, slots=True)
class Helm:
    """How a chart is rendered. parameters: name and Go template, in order."""

    release_name: str
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SetSpec:
    """A desired application set. cluster: "" for the one management cluster. helm: None for what is no chart.

    force: take fields over that others own. Fields that are Go templates are still as the document has them.
    """

    ref: ResourceRef
    repo_url: str
    cluster: str = ""
    namespace: str = "argocd"
    force: bool = False
    selector: Selector = field(default_factory=Selector)
    values: Mapping[str, str] = field(default_factory=dict)
    values_by_cluster: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    base_domain: str = ""
    path: str = "deploy"
    revision: str = "${branch}"
    helm: Helm | None = None
    destination_namespace: str = ""
    destination_name: str = "${clusterName}"
    destination_server: str = ""
    project: str = "default"
    sync_policy: Mapping[str, Any] = field(default_factory=lambda: _SYNC_POLICY)
    preserve_resources: bool = False

    @classmethod
    def of(cls, resource: Resource) -> SetSpec:
        """From a document that passed the schema, or from the stored form of one."""
        spec, name = resource.spec, resource.ref.name
        return cls(
            ref=resource.ref,
            repo_url=spec["repoURL"],
            cluster=spec.get("cluster", ""),
            namespace=spec.get("namespace", "argocd"),
            force=spec.get("force", False),
            selector=_selector(spec.get("selector", {})),
            values=dict(spec.get("values", {})),
            values_by_cluster=dict(spec.get("valuesByCluster", {})),
            base_domain=spec.get("baseDomain", ""),
            path=spec.get("path", "deploy"),
            revision=spec.get("revision", "${branch}"),
            helm=_helm(spec["helm"], name) if "helm" in spec else None,
            destination_namespace=spec.get("destination", {}).get("namespace", name),
            destination_name=spec.get("destination", {}).get("name", "${clusterName}"),
            destination_server=spec.get("destination", {}).get("server", ""),
            project=spec.get("project", "default"),
            sync_policy=spec.get("syncPolicy", _SYNC_POLICY),
            preserve_resources=spec.get("preserveResources", False),
        )

    def check(self) -> None:
        """Raise SpecError for a field of an element that not every element has, and for names that do not fit."""
        if self.helm is not None and len(self.helm.release_name) > MAX_RELEASE_NAME:
            raise SpecError("InvalidName", f"spec.helm.releaseName is needed: Helm takes {MAX_RELEASE_NAME} characters")
        known = {*ELEMENT_FIELDS, *self.values}
        for where, text in self._templates():
            for name in (*_LATE.findall(text), *_GO_FIELD.findall(text)):
                if name not in known:
                    message = (
                        f"{where} uses {name}, but elements have only {', '.join(sorted(known))}: add it to values"
                    )
                    raise SpecError("UnknownElementField", message)

    def _templates(self) -> Iterator[tuple[str, str]]:
        yield "spec.path", self.path
        yield "spec.revision", self.revision
        yield "spec.project", self.project
        yield "spec.destination.namespace", self.destination_namespace
        yield "spec.destination.name", self.destination_name
        yield "spec.destination.server", self.destination_server
        for index, (_, value) in enumerate(self.helm.parameters if self.helm is not None else ()):
            yield f"spec.helm.parameters[{index}].value", value


def go_template(text: str) -> str:
    """What Argo CD is given for a field that is a template."""
    return _LATE.sub(r"{{.\1}}", text)


def _selector(spec: Mapping[str, Any]) -> Selector:
    expressions: Sequence[Mapping[str, Any]] = spec.get("matchExpressions", ())
    read = ((one["key"], one["operator"], tuple(one.get("values", ()))) for one in expressions)
    return Selector(dict(spec.get("matchLabels", {})), tuple(read))


def _helm(spec: Mapping[str, Any], name: str) -> Helm:
    given = ((one["name"], one["value"]) for one in spec.get("parameters", ()))
    return Helm(spec.get("releaseName", name), tuple(given))
