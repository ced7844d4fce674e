"""What a kind is given (`kind.Context`) for a call of `observe`. `leased_context` has what its steps are given."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import WaitingError
from reconciler.kind import KnownCluster, Outputs, Records
from reconciler.model.plan import Change
from reconciler.model.resource import Resource
from reconciler.model.secret import Secret
from reconciler.store.kind_rows import KindRows

if TYPE_CHECKING:
    from reconciler.engine.runtime import Runtime
    from reconciler.transports.git_access import RemoteAccess
    from reconciler.transports.git_remote import GitRemote
    from reconciler.transports.http import Http
    from reconciler.transports.http_access import HttpAccess
    from reconciler.transports.kube import KubeTransport
    from reconciler.transports.process import ProcessRunner
    from reconciler.transports.ssh import Ssh, SshPlace


def runner(**hooks: Any) -> ProcessRunner:
    """What runs external commands. hooks: what it is to ask and to tell."""
    from reconciler.transports.process import ProcessRunner  # noqa: PLC0415 - most looks run no program

    return ProcessRunner(**hooks)


@dataclass(slots=True)
class ObserveContext:
    """Reads only: no lease, no step, no log."""

    runtime: Runtime
    kind: str
    deadline: float
    outputs: Mapping[str, Outputs] = field(default_factory=dict)
    resource: Resource | None = None
    change: Change | None = None

    @property
    def home(self) -> Path:
        """The reconciler's own folder."""
        return self.runtime.home

    @property
    def settings(self) -> Mapping[str, Any]:
        """The kind's section of the settings."""
        return self.runtime.kind_settings(self.kind)

    @property
    def process(self) -> ProcessRunner:
        """External commands that look at something."""
        return runner(cancelled=self._cancelled)

    @property
    def records(self) -> Records:
        """The kind's own tables, to read."""
        return KindRows(self.runtime.database, self.runtime.keys.get(self.kind, {}))

    def kube(self, kubeconfig: Path, context: str = "") -> KubeTransport:
        """A Kubernetes API, through a checked kubeconfig."""
        from reconciler.engine.known_clusters import open_kube  # noqa: PLC0415 - not every kind needs a Kubernetes API

        return open_kube(self.runtime, kubeconfig, context)

    def clusters(self) -> Mapping[str, KnownCluster]:
        """Every recorded cluster by name."""
        from reconciler.engine.known_clusters import known_clusters  # noqa: PLC0415 - likewise

        return known_clusters(self.runtime)

    def cluster(self, name: str) -> KubeTransport:
        """The API of a recorded cluster."""
        from reconciler.engine.known_clusters import open_cluster  # noqa: PLC0415 - likewise

        return open_cluster(self.runtime, name)

    def git(self, url: str, access: RemoteAccess) -> GitRemote:
        """A repository on a git server."""
        from reconciler.engine.remotes import open_remote  # noqa: PLC0415 - likewise

        return open_remote(self.runtime, url, access, self._quiet_process(), self.sleep)

    def http(self, base: str, access: HttpAccess) -> Http:
        """A REST API."""
        from reconciler.engine.remotes import open_http  # noqa: PLC0415 - likewise

        return open_http(self.runtime, base, access)

    def ssh(self, place: SshPlace) -> Ssh:
        """A host, over the connection that all of this process share."""
        from reconciler.engine.remotes import open_ssh  # noqa: PLC0415 - likewise

        return open_ssh(self.runtime, place, self._cancelled)

    def digest_of(self, secret: Secret) -> str:
        """The keyed digest under which this home knows a secret."""
        return secret.keyed_digest(self.runtime.key)

    def secret(self, origin: str) -> Secret:
        """A secret read again where it came from, as far as the settings allow documents to name it."""
        from reconciler.loading.outside import Outside, SecretRules  # noqa: PLC0415 - only for what outlives documents

        allowed = self.runtime.settings.secrets
        where, _, name = origin.partition(":")
        outside = Outside(SecretRules(allowed.env, allowed.files), self.runtime.key)
        return outside.secret({"fromEnv" if where == "env" else "fromFile": name})

    def progress(self, percent: float, message: str = "") -> None:
        """Nothing runs that could progress."""

    def log(self, text: str) -> None:
        """There is no step to log to."""

    def alarm(self, reason: str, message: str) -> None:
        """Looking raises no alarm; report it in the state."""

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond a shutdown."""
        if self.runtime.stopping.wait(seconds):
            raise WaitingError("ShuttingDown", "the reconciler is shutting down")

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def _cancelled(self) -> Exception | None:
        return None

    def _quiet_process(self) -> ProcessRunner:
        """For commands whose output is an answer and no log."""
        return runner(cancelled=self._cancelled)
