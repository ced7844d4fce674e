"""One control plane: brought up, stopped, deleted. Called by `providers.envtest`, in steps and while looking.

Bringing up looks before it acts at every point and starts only what is dead, in order, each once the one before it is
ready. Whoever is killed on the way leaves what the next one goes on with: the record, the files, the processes. The
ports and tokens are recorded before anything is started, and kept for ever once all was ready for the first time.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.errors import DeadlineError, TerminalError, TransientError
from reconciler.kind import Context
from reconciler.kinds.cluster.envtest import binaries, ports, recorded
from reconciler.kinds.cluster.envtest.binaries import API_SERVER, CONTROLLERS, ETCD
from reconciler.kinds.cluster.envtest.components import COMPONENTS, Component, Layout, components_of, tokens
from reconciler.kinds.cluster.envtest.probes import last_lines, trouble
from reconciler.kinds.cluster.envtest.processes import Process, Processes, locked
from reconciler.kinds.cluster.envtest.recorded import Record
from reconciler.kinds.cluster.kubeconfigs import kubeconfig_document
from reconciler.kinds.cluster.spec import ClusterSpec
from reconciler.model.duration import parse_duration

STOP_TIMEOUT = 20.0
_NAMES = tuple(component.name for component in COMPONENTS)
_LOCK_TIMEOUT = 30.0
_ATTEMPTS = 3
_POLL = (0.05, 1.0)
_LOG_DRAINED = 0.25


class EndedError(TransientError):
    """A component ended before it was ready."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A control plane as it was found. kubeconfig: for its administrator."""

    record: Record
    is_running: bool
    kubeconfig: Mapping[str, Any]


class ControlPlane:
    """The control plane of one cluster of the context's home."""

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._name = name
        self._root = context.home / "envtest"
        self._layout = Layout(self._root / name)
        self._processes = Processes(self._layout.folder)

    def look(self) -> Kept | None:
        """What is there; running means that every component lives. Reads only."""
        record = recorded.read(self._layout.folder)
        if record is None:
            return None
        is_running = all(self._processes.find(component.name) for component in components_of(record))
        try:
            authority = self._layout.certificates.authority.certificate.read_text("ascii")
        except FileNotFoundError:
            authority = ""  # killed before it was made
        document = kubeconfig_document(self._name, record.server, authority, record.admin_token)
        return Kept(record, is_running, document)

    def bring_up(self, spec: ClusterSpec) -> None:
        """Until every component is ready, at most `createTimeout`.

        Raises EndedError with the end of its log for a component that ends, DeadlineError with it for one that does not
        become ready, TransientError for a recorded port that somebody else has, TerminalError for a missing program.
        """
        give_up = time.monotonic() + spec.create_timeout
        record = self._prepared(spec)
        chosen = components_of(record)
        for number, component in enumerate(chosen):
            self._context.progress(100.0 * number / len(chosen), f"waiting for {component.name}")
            record = self._ensure(component, record, give_up)
        if not record.made:
            recorded.write(self._layout.folder, replace(record, made=True))
        note = "" if CONTROLLERS in record.programs else "; without kube-controller-manager no controller runs either"
        self._context.log(f"{self._name} is a control plane alone: it has no nodes and runs no workloads{note}\n")

    def stop(self) -> None:
        """End every component, the last that was started first. Its data stays. Nothing to do when none runs."""
        grace = stop_timeout(self._context.settings)
        for name in reversed(_NAMES):
            if self._processes.end(name, grace):
                self._context.log(f"ended {name}\n")
        left = [name for name in _NAMES if self._processes.find(name) is not None]
        if left:
            raise TransientError("NotEnded", f"{' and '.join(left)} of {self._name} could not be ended")

    def delete(self) -> None:
        """End every component and remove all that was made. Nothing to do when there is nothing."""
        folder = self._layout.folder
        if not folder.exists():
            return
        self.stop()
        with self._processes.none_can_start(_NAMES):
            recorded.erase(folder)
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise TransientError("NotDeleted", f"{folder} could not be removed: {error}") from error

    def _prepared(self, spec: ClusterSpec) -> Record:
        """The record, and every file that a component needs."""
        folder = self._layout.folder
        record = recorded.read(folder)
        if record is None:
            self.delete()  # what a killed creation or deletion left
            record = self._reserved(binaries.find(self._context.settings, os.environ, spec.version))
        if not record.version or not binaries.is_there(record.programs):
            record = self._with_programs(record, spec)
        self._processes.prepare(_NAMES)
        self._layout.certificates.ensure()
        return record

    def _reserved(self, programs: Mapping[str, str]) -> Record:
        """A new record. Its ports are no other control plane's, running or not."""
        with self._ports_locked():
            taken = recorded.ports_of_all(self._root)
            chosen: dict[str, int] = {}
            for component in COMPONENTS:
                for purpose in component.ports:
                    chosen[purpose] = ports.free_port(taken | set(chosen.values()))
            record = Record(programs, chosen, "", secrets.token_urlsafe(32), secrets.token_urlsafe(32))
            self._layout.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            recorded.write(self._layout.folder, record)
        return record

    def _with_programs(self, record: Record, spec: ClusterSpec) -> Record:
        """The record with programs that are there, and their version. Those that were used before are kept."""
        programs = record.programs
        if not binaries.is_there(programs):
            programs = binaries.find(self._context.settings, os.environ, spec.version)
        version = binaries.version_of(programs[API_SERVER], self._context)
        binaries.check_version(version, spec.version, programs[API_SERVER])
        record = replace(record, programs=programs, version=version)
        recorded.write(self._layout.folder, record)
        return record

    def _ensure(self, component: Component, record: Record, give_up: float) -> Record:
        """Wait until a component is ready, started if it is dead. Its ports may be others afterwards."""
        for attempt in range(1, _ATTEMPTS + 1):
            started = None
            if self._processes.find(component.name) is None:
                record = self._with_free_ports(component, record)
                started = self._start(component, record)
            try:
                self._await_ready(component, record, started, give_up)
                return record
            except EndedError:
                if attempt == _ATTEMPTS or all(map(ports.is_free, self._ports_of(component, record))):
                    raise
        raise AssertionError("the last attempt raises")

    def _start(self, component: Component, record: Record) -> Process | None:
        self._write_files(record)
        program = record.programs[component.name]
        command = [program, *component.arguments(self._layout, record)]
        started = self._processes.start(component.name, command, self._layout.log(component.name))
        port = record.ports[component.ports[0]]
        self._context.log(f"started {component.name} on port {port} as process {started.pid if started else '?'}\n")
        return started

    def _write_files(self, record: Record) -> None:
        """What names ports and tokens."""
        authority = self._layout.certificates.authority.certificate.read_text("ascii")
        recorded.write_private(self._layout.tokens, tokens(record))
        document = kubeconfig_document(CONTROLLERS, record.server, authority, record.controllers_token)
        recorded.write_private(self._layout.controllers_kubeconfig, json.dumps(document, indent=2) + "\n")

    def _with_free_ports(self, component: Component, record: Record) -> Record:
        """The record, when nobody else has the component's ports; with others as long as nobody can know them yet."""
        busy = [port for port in self._ports_of(component, record) if not ports.is_free(port)]
        if not busy or self._processes.find(component.name) is not None:  # the latter started since we looked
            return record
        if record.made:
            named = " and ".join(map(str, busy))
            message = f"port {named}, recorded for {component.name} of {self._name}, is held by another program"
            raise TransientError("PortTaken", f"{message}; end that (ss -ltnp shows it), or delete the cluster")
        with self._ports_locked():
            chosen = dict(record.ports)
            for purpose in component.ports:
                if chosen[purpose] in busy:
                    taken = recorded.ports_of_all(self._root) | set(chosen.values())
                    self._context.log(f"port {chosen[purpose]} was taken meanwhile by another program\n")
                    chosen[purpose] = ports.free_port(taken)
            record = replace(record, ports=chosen)
            recorded.write(self._layout.folder, record)
        return record

    def _await_ready(self, component: Component, record: Record, started: Process | None, give_up: float) -> None:
        pause, longest = _POLL
        while why := self._trouble(component, record):
            if not self._lives(component, started):
                self._context.sleep(_LOG_DRAINED)  # its last words may still be on their way
                said = self._said(component)
                raise EndedError("Ended", f"{component.name} ended before it was ready; it said last:\n{said}")
            if time.monotonic() >= give_up:
                said = f"it said last:\n{self._said(component)}"
                raise DeadlineError("Deadline", f"{component.name} did not become ready in time: {why}; {said}")
            self._context.sleep(min(pause, longest))
            pause *= 1.5

    def _lives(self, component: Component, started: Process | None) -> bool:
        """Whether it runs, or may be about to: somebody who was killed may have started it a moment before us."""
        if started is not None and started.is_alive():
            return True
        return self._processes.is_held(component.name) or self._processes.find(component.name) is not None

    def _trouble(self, component: Component, record: Record) -> str:
        """Why a component is not ready, "" when it is."""
        files = self._layout.certificates
        return trouble(
            record.ports[component.ports[0]],
            component.ready,
            files.authority.certificate,
            pair=files.etcd if component.name == ETCD else None,
            token=record.admin_token if component.name == API_SERVER else "",
        )

    def _said(self, component: Component) -> str:
        return last_lines(self._layout.log(component.name))

    def _ports_of(self, component: Component, record: Record) -> list[int]:
        return [record.ports[purpose] for purpose in component.ports]

    def _ports_locked(self) -> Any:
        return locked(self._root / "ports.lock", self._context, _LOCK_TIMEOUT)


def stop_timeout(settings: Mapping[str, Any]) -> float:
    """How long a component may take to end before it is killed: the setting `kinds.Cluster.envtest.stopTimeout`."""
    section = settings.get("envtest") or {}
    given = section.get("stopTimeout", STOP_TIMEOUT) if isinstance(section, Mapping) else STOP_TIMEOUT
    try:
        return parse_duration(given)
    except ValueError as error:
        raise TerminalError("BadSetting", f"the setting kinds.Cluster.envtest.stopTimeout: {error}") from error
