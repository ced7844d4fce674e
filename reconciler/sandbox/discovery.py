"""Discovery documents: what is served, in the legacy form and in the aggregated one. Pure; called by `api`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reconciler.sandbox.registry import Registry
from reconciler.sandbox.resource_types import ResourceType

SUBRESOURCE_VERBS = ("get", "patch", "update")
_AGGREGATED = ("v2", "v2beta1")


def negotiate(accept: str) -> str:
    """The version of aggregated discovery that an Accept header prefers to the legacy form, "" when none."""
    for option in accept.split(","):
        media, *parts = (part.strip() for part in option.split(";"))
        parameters = dict(part.partition("=")[::2] for part in parts)
        if media not in ("application/json", "application/*", "*/*"):
            continue
        if "as" not in parameters:
            return ""
        wanted = (parameters["as"], parameters.get("g"))
        if wanted == ("APIGroupDiscoveryList", "apidiscovery.k8s.io") and parameters.get("v") in _AGGREGATED:
            return parameters["v"]
    return ""


def media_type(version: str) -> str:
    """The Content-Type of aggregated discovery."""
    return f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"


def version_document(version: str) -> dict[str, str]:
    """/version of a cluster of Kubernetes `version` (`1.32.0`)."""
    major, minor = version.split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{version}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "sandbox",
    }


def api_versions(address: str) -> dict[str, Any]:
    """/api."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(registry: Registry) -> dict[str, Any]:
    """/apis."""
    groups = [_group(name, versions) for name, versions in sorted(registry.group_versions().items()) if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> dict[str, Any] | None:
    """/apis/NAME; None when no such group is served."""
    versions = registry.group_versions().get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if name and versions else None


def resource_list(registry: Registry, name: str, version: str) -> dict[str, Any] | None:
    """/api/v1 or /apis/NAME/VERSION; None when it is not served."""
    types = registry.of(name, version)
    if not types:
        return None
    listed = [entry for one in sorted(types, key=lambda one: one.plural) for entry in _legacy_entries(one)]
    group_version = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _legacy_entries(one: ResourceType) -> Iterable[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": one.plural,
        "singularName": one.singular or one.kind.lower(),
        "namespaced": one.namespaced,
        "kind": one.kind,
        "verbs": list(one.verbs),
    }
    if one.short_names:
        entry["shortNames"] = list(one.short_names)
    if one.categories:
        entry["categories"] = list(one.categories)
    yield entry
    if one.status:
        yield _subresource(one, "status", {"kind": one.kind})
    if one.scale is not None:
        yield _subresource(one, "scale", {"kind": "Scale", "group": "autoscaling", "version": "v1"})


def _subresource(one: ResourceType, name: str, kind: dict[str, str]) -> dict[str, Any]:
    described = {"name": f"{one.plural}/{name}", "singularName": "", "namespaced": one.namespaced}
    return {**described, **kind, "verbs": list(SUBRESOURCE_VERBS)}


def aggregated(registry: Registry, version: str, *, core: bool) -> dict[str, Any]:
    """/api (core) or /apis as one APIGroupDiscoveryList of `version`."""
    groups = [
        {
            "metadata": {"name": name, "creationTimestamp": None},
            "versions": [
                {
                    "version": served,
                    "freshness": "Current",
                    "resources": [_entry(one) for one in sorted(registry.of(name, served), key=lambda t: t.plural)],
                }
                for served in versions
            ],
        }
        for name, versions in sorted(registry.group_versions().items())
        if bool(name) is not core
    ]
    kind = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}"}
    return {**kind, "metadata": {}, "items": groups}


def _entry(one: ResourceType) -> dict[str, Any]:
    own_kind = {"group": one.group, "version": one.version, "kind": one.kind}
    subresources = []
    if one.scale is not None:
        scale_kind = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        subresources.append({"subresource": "scale", "responseKind": scale_kind, "verbs": list(SUBRESOURCE_VERBS)})
    if one.status:
        subresources.append({"subresource": "status", "responseKind": own_kind, "verbs": list(SUBRESOURCE_VERBS)})
    entry: dict[str, Any] = {
        "resource": one.plural,
        "responseKind": own_kind,
        "scope": "Namespaced" if one.namespaced else "Cluster",
        "singularResource": one.singular or one.kind.lower(),
        "verbs": list(one.verbs),
    }
    if one.short_names:
        entry["shortNames"] = list(one.short_names)
    if one.categories:
        entry["categories"] = list(one.categories)
    if subresources:
        entry["subresources"] = subresources
    return entry
