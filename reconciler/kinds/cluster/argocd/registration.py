"""The Secret by which Argo CD knows a cluster: what it holds, and how a live one differs. Pure.

Called by the attachment `argocd`. The token is in `Registration.config` alone, which cannot be printed or stored.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import TerminalError
from reconciler.model.marks import ownership_labels
from reconciler.model.resource import ResourceRef
from reconciler.model.secret import Secret

if TYPE_CHECKING:
    from reconciler.kinds.cluster.argocd.place import Place
    from reconciler.kinds.cluster.spec import ClusterSpec
    from reconciler.transports.kubeconfig import Trust

HOST_OF_THE_HOST = "host.k3d.internal"
"""How pods call the machine that their nodes' containers run on."""
_LOOPBACK = frozenset({"127.0.0.1", "0.0.0.0", "localhost", "::1", "::"})  # noqa: S104 - compared, not bound
_KEPT = ("portainer-edge-id", "portainer-edge-key")
"""Annotations that templates of generators read and fail without; what somebody filled in stays."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A cluster as Argo CD shall know it. config: the JSON with the token."""

    name: str
    at: Place
    server: str
    config: Secret
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def manifest(self, live: Mapping[str, Any] | None) -> dict[str, Any]:
        """The Secret to apply. live: the one that is there."""
        there = _annotations(live or {})
        kept = {name: there.get(name, "") for name in _KEPT}
        metadata = {
            "name": secret_name(self.name),
            "namespace": self.at.namespace,
            "labels": dict(self.labels),
            "annotations": {**kept, **self.annotations},
        }
        values = {"name": self.name, "server": self.server, "config": self.config.reveal()}
        data = {name: base64.b64encode(text.encode()).decode() for name, text in values.items()}
        return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}

    def faults(self, live: Mapping[str, Any] | None) -> list[str]:
        """What is different about a live Secret, in words that hold no secret."""
        return ["it is missing"] if live is None else list(self._faults(live))

    def _faults(self, live: Mapping[str, Any]) -> Iterator[str]:
        if live["metadata"].get("deletionTimestamp"):
            yield "it is being deleted"
        labels = live["metadata"].get("labels") or {}
        yield from (f"label {name} differs" for name, value in self.labels.items() if labels.get(name) != value)
        there = _annotations(live)
        wanted = {name: there.get(name) or "" for name in _KEPT} | dict(self.annotations)
        yield from (f"annotation {name} differs" for name, value in wanted.items() if there.get(name) != value)
        if value_in(live, "name") != self.name:
            yield "its name differs"
        if value_in(live, "server") != self.server:
            yield f"its server is not {self.server}"
        config, found = json.loads(self.config.reveal()), _config(live)
        if found.get("bearerToken") != config["bearerToken"]:
            yield "its token differs"
        if {**found, "bearerToken": ""} != {**config, "bearerToken": ""}:
            yield "its TLS settings differ"


def registration_of(
    spec: ClusterSpec, asked: Mapping[str, Any], at: Place, address: tuple[str, Trust], token: Secret
) -> Registration:
    """How a cluster is to be registered. address: URL and trust of its API as its kubeconfig has them.

    Raises TerminalError when it could be reached only without checking who it is, and nobody asked for that.
    """
    server, trust = address
    registered = asked.get("server") or reachable_server(spec.provider, server)
    tls = _tls(asked, registered, trust)
    config = json.dumps({"bearerToken": token.reveal(), "tlsClientConfig": tls}, sort_keys=True)
    ours = {"argocd.argoproj.io/secret-type": "cluster", "env": spec.name, "provider": spec.provider, "type": spec.role}
    labels = {**asked.get("labels", {}), **ours, **ownership_labels(ResourceRef("Cluster", spec.name))}
    hidden = Secret(config, token.origin)
    return Registration(spec.name, at, registered, hidden, labels, asked.get("annotations", {}))


def reachable_server(provider: str, server: str) -> str:
    """The URL under which another cluster's pods reach an API.

    kind and k3d publish it on a port of this host, which a kubeconfig calls by a loopback address: for k3d that is the
    port of its load balancer.
    """
    url = urlsplit(server)
    if provider not in ("kind", "k3d") or url.hostname not in _LOOPBACK:
        return server
    return f"https://{HOST_OF_THE_HOST}:{url.port or 443}{url.path}"


def secret_name(cluster: str) -> str:
    """The name of the Secret."""
    return f"cluster-{cluster}"


def secret_path(at: Place, cluster: str) -> str:
    """Where in the management cluster's API it is."""
    return f"/api/v1/namespaces/{at.namespace}/secrets/{secret_name(cluster)}"


def value_in(live: Mapping[str, Any], name: str) -> str:
    """A value of a live Secret as text; "" where there is none."""
    try:
        return base64.b64decode(str((live.get("data") or {}).get(name) or ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _tls(asked: Mapping[str, Any], registered: str, trust: Trust) -> dict[str, Any]:
    """Either by what the server is recognised, or that nobody looks; never both, which clients refuse."""
    if asked.get("insecure"):
        return {"insecure": True}
    if trust.insecure:
        message = "its kubeconfig has no certificate authority to check it by: set argocd.insecure if that is meant"
        raise TerminalError("NoAuthority", message)
    ca = {"caData": base64.b64encode(trust.authority.encode()).decode()} if trust.authority else {}
    is_named = urlsplit(registered).hostname != trust.name
    return {**ca, "serverName": trust.name} if is_named else ca


def _annotations(live: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = (live.get("metadata") or {}).get("annotations") or {}
    return found


def _config(live: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(value_in(live, "config") or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
