"""What a kind is given (`kind.Context`): one for a call of `observe`, one a change for its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import LeaseLostError, WaitingError
from reconciler.kind import KnownCluster, Outputs
from reconciler.model.plan import Change
from reconciler.model.resource import Resource
from reconciler.model.secret import Secret
from reconciler.store import events, journal
from reconciler.store.kind_records import KindRecords
from reconciler.store.leases import Lease

if TYPE_CHECKING:
    from reconciler.engine.runtime import Runtime
    from reconciler.transports.git_access import RemoteAccess
    from reconciler.transports.git_remote import GitRemote
    from reconciler.transports.http import Http
    from reconciler.transports.http_access import HttpAccess
    from reconciler.transports.kube import KubeTransport
    from reconciler.transports.process import ProcessRunner
    from reconciler.transports.ssh import Ssh, SshPlace

PROGRESS_INTERVAL = 0.2


def _runner(**hooks: Any) -> ProcessRunner:
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
        return _runner(cancelled=self._cancelled)

    @property
    def records(self) -> KindRecords:
        """The kind's own tables."""
        return KindRecords(self.runtime.database, self.runtime.tables.get(self.kind, {}), self._lease())

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
        return _runner(cancelled=self._cancelled)

    def _lease(self) -> Lease | None:
        return None


class LeasedContext(ObserveContext):
    """For what a command does for one resource beside any change, under its lease: it may write the kind's records."""

    __slots__ = ("lease",)

    def __init__(self, runtime: Runtime, kind: str, lease: Lease) -> None:
        super().__init__(runtime, kind, runtime.settings.observe_timeout)
        self.lease = lease

    def _cancelled(self) -> Exception | None:
        if self.lease.lost.is_set():
            return LeaseLostError("LeaseLost", f"the lease on {self.lease.name} was taken over")
        return None

    def _lease(self) -> Lease | None:
        return self.lease


class StepContext(LeasedContext):
    """For the steps of one change, under its lease. The executor sets `step_id` before each step."""

    __slots__ = ("_last_progress", "on_progress", "step_id")

    def __init__(
        self, runtime: Runtime, change: Change, lease: Lease, on_progress: Callable[[float, str], None]
    ) -> None:
        super().__init__(runtime, change.ref.kind, lease)
        self.resource, self.change = change.resource, change
        self.step_id: int | None = None
        self.on_progress = on_progress
        self._last_progress = (0.0, 0.0)

    @property
    def process(self) -> ProcessRunner:
        """External commands, journalled before they start and killed when the lease is lost."""
        return _runner(cancelled=self._cancelled, on_start=self._note_process, on_output=self.log)

    def progress(self, percent: float, message: str = "") -> None:
        """Written at most five times a second; never falls."""
        at, highest = self._last_progress
        highest = max(highest, min(percent, 100.0))
        message = _storable(message)
        self.on_progress(highest, message)
        now = time.monotonic()
        if self.step_id is not None and (now - at >= PROGRESS_INTERVAL or highest >= 100.0):
            journal.note_progress(self.lease, self.step_id, highest, message)
            at = now
        self._last_progress = (at, highest)

    def begin_step(self, step_id: int) -> None:
        """The next step runs now."""
        self.step_id = step_id
        self._last_progress = (0.0, 0.0)

    def log(self, text: str) -> None:
        """Add to the running step's log."""
        if self.step_id is not None and text:
            journal.append_log(self.lease, self.step_id, _storable(text))

    def alarm(self, reason: str, message: str) -> None:
        """An event that people must see."""
        assert self.change is not None
        with self.lease.fenced() as connection:
            now = self.runtime.database.now(connection)
            told = events.Event("alarm", reason, _storable(message), self.change.ref, self.runtime.owner.holder)
            events.add(connection, now, [told])

    def sleep(self, seconds: float) -> None:
        """Wait in short stretches, and end at once when the lease is lost or the process has to end."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.lease.lost.wait(min(left, 0.2)):
                raise LeaseLostError("LeaseLost", f"the lease on {self.lease.name} was taken over")
            if self.runtime.stopping.is_set():
                raise WaitingError("ShuttingDown", "the reconciler is shutting down")

    def _cancelled(self) -> Exception | None:
        if self.lease.lost.is_set():
            return LeaseLostError("LeaseLost", f"the lease on {self.lease.name} was taken over")
        return None

    def _quiet_process(self) -> ProcessRunner:
        return _runner(cancelled=self._cancelled, on_start=self._note_process)

    def _lease(self) -> Lease | None:
        return self.lease

    def _note_process(self, pgid: int, start_time: int, argv: str) -> None:
        journal.note_process(self.lease, self.step_id, pgid, start_time, argv)


def _storable(text: object) -> str:
    """What a kind wants to be told, as text that a store takes, whatever it handed over."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
