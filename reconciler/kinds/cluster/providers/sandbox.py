"""Clusters of the embedded sandbox: one process a home serves them all and is started when it is first needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from reconciler.errors import TerminalError, TransientError
from reconciler.kind import Context
from reconciler.kinds.cluster.kubeconfigs import kubeconfig_document
from reconciler.kinds.cluster.providers import Found
from reconciler.kinds.cluster.sandbox_admin import SandboxAdmin, SandboxDownError
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.kinds.cluster.states import State

_NEEDED_BYTES = 50_000_000
_NEVER_MADE = (State.UNKNOWN.value, State.CREATING.value)


class Sandbox:
    """Talks to the sandbox's admin socket; see `sandbox_admin`."""

    name = "sandbox"
    makes = True
    allocates_ports = False
    has_nodes = True

    def preflight(self, spec: ClusterSpec, context: Context) -> None:
        """There is room for it, and we may write where it is kept."""
        home = context.home
        if not os.access(home, os.W_OK | os.X_OK):
            raise TerminalError("HomeNotWritable", f"{home} cannot be written to")
        free = shutil.disk_usage(home).free
        if free < _NEEDED_BYTES:
            raise TerminalError("DiskFull", f"{home} has {free // 1_000_000} MB left; a sandbox cluster needs 50 MB")

    def look(self, name: str, row: Mapping[str, Any] | None, context: Context) -> Found | None:
        """What the sandbox says; while it is down, what we recorded."""
        admin = SandboxAdmin(context)
        try:
            answer = admin.call("GET", _path(name), missing_ok=True)
        except SandboxDownError:
            if row is None or row["actual_state"] in _NEVER_MADE or not admin.folder.exists():
                return None
            return Found("stopped", row["version"], row["servers"], row["agents"], row["server"])
        if answer is None:
            return None
        return Found(
            "running" if answer["state"] == "running" else "stopped",
            version=answer["version"],
            servers=answer["servers"],
            agents=answer["agents"],
            server=answer["server"],
            kubeconfig=kubeconfig_document(name, answer["server"], answer["caData"], answer["token"]),
        )

    def create(self, spec: ClusterSpec, context: Context) -> None:
        """Ask for it; asking again for the same is answered the same."""
        admin = SandboxAdmin(context)
        admin.ensure_running()
        admin.call("PUT", _path(spec.name), _body(spec), timeout=spec.create_timeout)
        if self.look(spec.name, None, context) is None:
            raise TransientError("NotCreated", f"the sandbox says that it made {spec.name}, but has no such cluster")

    def start(self, spec: ClusterSpec, context: Context) -> None:
        """Start the sandbox, and the cluster in it."""
        admin = SandboxAdmin(context)
        admin.ensure_running()
        if admin.call("POST", f"{_path(spec.name)}/start", missing_ok=True) is None:
            raise TransientError("Vanished", f"the sandbox has no cluster {spec.name} any more")

    def stop(self, spec: ClusterSpec, context: Context) -> None:
        """Serve the cluster no longer; while the sandbox itself is down, nothing is served anyway."""
        with suppress(SandboxDownError):
            if SandboxAdmin(context).call("POST", f"{_path(spec.name)}/stop", missing_ok=True) is None:
                raise TransientError("Vanished", f"the sandbox has no cluster {spec.name} any more")

    def scale(self, spec: ClusterSpec, context: Context) -> None:
        """The same request as for creating it, with other numbers."""
        admin = SandboxAdmin(context)
        admin.ensure_running()
        found = self.look(spec.name, None, context)
        if found is None:
            raise TransientError("Vanished", f"the sandbox has no cluster {spec.name} any more")
        admin.call("PUT", _path(spec.name), {**_body(spec), "version": found.version}, timeout=spec.create_timeout)

    def delete(self, name: str, context: Context) -> None:
        """Delete it and see that it is gone."""
        admin = SandboxAdmin(context)
        if not admin.folder.exists():
            return
        admin.ensure_running()
        admin.call("DELETE", _path(name), missing_ok=True, timeout=60.0)
        if admin.call("GET", _path(name), missing_ok=True) is not None:
            raise TransientError("NotDeleted", f"the sandbox still has the cluster {name}")


def _path(name: str) -> str:
    if not name:
        raise TerminalError("NoName", "a cluster needs a name")
    return f"/clusters/{quote(name, safe='')}"


def _body(spec: ClusterSpec) -> dict[str, Any]:
    sizes = {"servers": spec.servers, "agents": spec.agents}
    return {"version": _full_version(spec.version), **sizes} if spec.version else sizes


def _full_version(version: str) -> str:
    """The sandbox has no releases of its own: 1.31 is its 1.31.0."""
    plain = version.removeprefix("v")
    return plain if plain.count(".") > 1 else f"{plain}.0"


PROVIDER = Sandbox()
