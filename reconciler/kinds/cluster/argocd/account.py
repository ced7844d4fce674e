"""The service account that Argo CD uses in a cluster: four objects, and the token that a controller fills in.

Called by the attachment `argocd`. The objects have the names that Argo CD's own tool gives them.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import DeadlineError
from reconciler.kind import Context
from reconciler.model.marks import owner_of, ownership_labels
from reconciler.model.resource import ResourceRef
from reconciler.model.secret import Secret
from reconciler.planning.diff import diff
from reconciler.planning.live import comparable

if TYPE_CHECKING:
    from reconciler.transports.kube import KubeTransport

ACCOUNT = "argocd-manager"
NAMESPACE = "kube-system"
ROLE = "argocd-manager-role"
BINDING = "argocd-manager-role-binding"
TOKEN = "argocd-manager-token"  # noqa: S105 - the name of the object
_RBAC = "rbac.authorization.k8s.io"
_PATHS = {
    "ServiceAccount": f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}",
    "ClusterRole": f"/apis/{_RBAC}/v1/clusterroles/{ROLE}",
    "ClusterRoleBinding": f"/apis/{_RBAC}/v1/clusterrolebindings/{BINDING}",
    "Secret": f"/api/v1/namespaces/{NAMESPACE}/secrets/{TOKEN}",
}
_TOKEN_TIMEOUT = 30.0
_GONE_TIMEOUT = 30.0
_POLL = (0.05, 1.0)


def ensure(api: KubeTransport, ref: ResourceRef, context: Context) -> Secret:
    """The objects are as they should be; the token, once it is there. Raises DeadlineError without one."""
    for manifest in manifests(ref):
        api.apply(manifest, force=True)
    give_up = time.monotonic() + _TOKEN_TIMEOUT
    pause, longest = _POLL
    while (token := token_of(api)) is None:
        if time.monotonic() >= give_up:
            message = f"no controller of {ref} filled in the token of {NAMESPACE}/{TOKEN} within {_TOKEN_TIMEOUT:g} s"
            raise DeadlineError("NoToken", message)
        context.sleep(min(pause, longest))
        pause *= 1.5
    return token


def faults(api: KubeTransport, ref: ResourceRef) -> list[str]:
    """What is missing or differs, in words; nothing when all is as it should be."""
    return list(_faults(api, ref))


def token_of(api: KubeTransport) -> Secret | None:
    """The token, None as long as there is none."""
    held = ((api.get(_PATHS["Secret"]) or {}).get("data") or {}).get("token")
    try:
        token = base64.b64decode(str(held), validate=True).decode("ascii") if held else ""
    except (binascii.Error, ValueError):
        return None
    return Secret(token, f"{NAMESPACE}/{TOKEN}") if token else None


def remove(api: KubeTransport, ref: ResourceRef, context: Context) -> None:
    """The objects are gone: what uses the account first, the account last. What is not ours stays."""
    for path in reversed(_PATHS.values()):
        labels = ((api.get(path) or {}).get("metadata") or {}).get("labels") or {}
        if owner_of(labels) == ref and api.delete(path):
            _await_gone(api, path, context)


def manifests(ref: ResourceRef) -> list[dict[str, Any]]:
    """The four objects of a cluster."""
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}
    everything = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    role = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": ROLE}
    return [
        _object(ref, "v1", "ServiceAccount", {"name": ACCOUNT, "namespace": NAMESPACE}),
        _object(ref, f"{_RBAC}/v1", "ClusterRole", {"name": ROLE}, rules=everything),
        _object(ref, f"{_RBAC}/v1", "ClusterRoleBinding", {"name": BINDING}, roleRef=role, subjects=[subject]),
        _object(
            ref,
            "v1",
            "Secret",
            {
                "name": TOKEN,
                "namespace": NAMESPACE,
                "annotations": {"kubernetes.io/service-account.name": ACCOUNT},
            },
            type="kubernetes.io/service-account-token",
        ),
    ]


def _object(ref: ResourceRef, api_version: str, kind: str, metadata: Mapping[str, Any], **body: Any) -> dict[str, Any]:
    labelled = {**metadata, "labels": ownership_labels(ref)}
    return {"apiVersion": api_version, "kind": kind, "metadata": labelled, **body}


def _faults(api: KubeTransport, ref: ResourceRef) -> Iterator[str]:
    for manifest in manifests(ref):
        kind = str(manifest["kind"])
        live = api.get(_PATHS[kind])
        named = f"{kind} {manifest['metadata']['name']}"
        if live is None or live["metadata"].get("deletionTimestamp"):
            yield f"{named} is missing"
        elif diff(manifest, comparable(live, manifest)):
            yield f"{named} differs"
        elif kind == "Secret" and not (live.get("data") or {}).get("token"):
            yield f"{named} has no token"


def _await_gone(api: KubeTransport, path: str, context: Context) -> None:
    give_up = time.monotonic() + _GONE_TIMEOUT
    pause, longest = _POLL
    while api.get(path) is not None:
        if time.monotonic() >= give_up:
            raise DeadlineError("Deadline", f"{path} was not gone within {_GONE_TIMEOUT:g} s")
        context.sleep(min(pause, longest))
        pause *= 1.5
