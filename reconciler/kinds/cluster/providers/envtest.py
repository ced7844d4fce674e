"""Clusters that are a control plane alone, of processes on this host: `envtest`, as controller-runtime calls it.

No Docker and no nodes, so no workload runs; everything that an API server by itself does is real. The doing is in the
package `envtest`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import TerminalError, TransientError
from reconciler.kind import Context
from reconciler.kinds.cluster.providers import Found
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.kinds.cluster.states import State

if TYPE_CHECKING:
    from reconciler.kinds.cluster.envtest.control_plane import ControlPlane

_NEEDED_BYTES = 300_000_000
_NEVER_MADE = (State.UNKNOWN.value, State.CREATING.value)


class Envtest:
    """One folder of the home a cluster; see `envtest.control_plane`."""

    name = "envtest"
    makes = True
    allocates_ports = False
    has_nodes = False

    def preflight(self, spec: ClusterSpec, context: Context) -> None:
        """The programs are there, run here and have the wanted version; there is room; nothing is asked for in vain."""
        from reconciler.kinds.cluster.envtest import binaries  # noqa: PLC0415 - see `_plane_of`
        from reconciler.kinds.cluster.envtest.control_plane import stop_timeout  # noqa: PLC0415 - likewise

        _check_size(spec)
        stop_timeout(context.settings)
        found = binaries.find(context.settings, os.environ, spec.version)
        version = binaries.version_of(found[binaries.API_SERVER], context)
        binaries.check_version(version, spec.version, found[binaries.API_SERVER])
        binaries.version_of(found[binaries.ETCD], context)
        context.log(f"kube-apiserver {version}: {found[binaries.API_SERVER]}\n")
        home = context.home
        if not os.access(home, os.W_OK | os.X_OK):
            raise TerminalError("HomeNotWritable", f"{home} cannot be written to")
        free = shutil.disk_usage(home).free
        if free < _NEEDED_BYTES:
            raise TerminalError("DiskFull", f"{home} has {free // 1_000_000} MB left; an envtest cluster needs 300 MB")

    def look(self, name: str, row: Mapping[str, Any] | None, context: Context) -> Found | None:
        """Running when every component lives. What was never ready and is not running counts as not made."""
        kept = _plane_of(name, context).look()
        if kept is None:
            return None
        never_made = not kept.record.made and (row is None or row["actual_state"] in _NEVER_MADE)
        if never_made and not kept.is_running:
            return None
        return Found(
            "running" if kept.is_running else "stopped",
            version=kept.record.version,
            servers=1,
            agents=0,
            server=kept.record.server,
            kubeconfig=kept.kubeconfig,
        )

    def create(self, spec: ClusterSpec, context: Context) -> None:
        """Bring it up; what a killed creation left is gone on with."""
        _check_size(spec)
        _plane_of(spec.name, context).bring_up(spec)

    def start(self, spec: ClusterSpec, context: Context) -> None:
        """Start what is dead of it, on its recorded ports and with its data."""
        plane = _plane_of(spec.name, context)
        if plane.look() is None:
            raise TransientError("Vanished", f"there is no control plane of {spec.name} any more")
        plane.bring_up(spec)

    def stop(self, spec: ClusterSpec, context: Context) -> None:
        """End all of it; its data stays."""
        _plane_of(spec.name, context).stop()

    def scale(self, spec: ClusterSpec, context: Context) -> None:
        """Never."""
        _check_size(spec)

    def delete(self, name: str, context: Context) -> None:
        """End all of it and remove its data."""
        if not name:
            raise TerminalError("NoName", "a cluster needs a name")
        _plane_of(name, context).delete()


def _plane_of(name: str, context: Context) -> ControlPlane:
    from reconciler.kinds.cluster.envtest.control_plane import (  # noqa: PLC0415 - 20 ms, only for clusters of this kind
        ControlPlane,
    )

    return ControlPlane(context, name)


def _check_size(spec: ClusterSpec) -> None:
    """A control plane has one server and no agents."""
    if (spec.servers, spec.agents) != (1, 0):
        asked = f"{spec.servers} servers and {spec.agents} agents"
        raise TerminalError(
            "NotScaled", f"{asked}: a cluster of provider envtest is one control plane without nodes; leave both out"
        )
    if spec.nodes:
        raise TerminalError("NotScaled", f"ready.nodes is {spec.nodes}: a cluster of provider envtest has no nodes")


PROVIDER = Envtest()
