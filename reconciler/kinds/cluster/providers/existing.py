"""Clusters that somebody else made: reached through a given kubeconfig, never created and never deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.errors import TerminalError
from reconciler.kind import Context
from reconciler.kinds.cluster.providers import Found
from reconciler.kinds.cluster.spec import ClusterSpec


class Existing:
    """A cluster counts as there once we took it in: it has a row."""

    name = "existing"
    makes = False
    allocates_ports = False
    has_nodes = True

    def preflight(self, spec: ClusterSpec, context: Context) -> None:
        """The kubeconfig is allowed and leads to an API that answers."""
        if spec.kubeconfig is None:
            raise TerminalError("MissingKubeconfig", f"{spec.name}: provider existing needs spec.kubeconfig")
        with context.kube(spec.kubeconfig, spec.context) as api:
            context.log(f"{api.server} is version {api.version()}\n")

    def look(self, name: str, row: Mapping[str, Any] | None, context: Context) -> Found | None:
        """What the row says; whether it answers is seen by asking it."""
        return Found("running", server=row["server"]) if row is not None else None

    def create(self, spec: ClusterSpec, context: Context) -> None:
        """Never."""
        raise TerminalError("NotCreated", "a cluster of provider existing is never created")

    def start(self, spec: ClusterSpec, context: Context) -> None:
        """Never."""
        raise TerminalError("NotStarted", "a cluster of provider existing is never started")

    def stop(self, spec: ClusterSpec, context: Context) -> None:
        """Never."""
        raise TerminalError("NotStopped", "a cluster of provider existing is never stopped")

    def scale(self, spec: ClusterSpec, context: Context) -> None:
        """Never."""
        raise TerminalError("NotScaled", "a cluster of provider existing is never scaled")

    def delete(self, name: str, context: Context) -> None:
        """Never."""
        raise TerminalError("NotDeleted", "a cluster of provider existing is never deleted")


PROVIDER = Existing()
