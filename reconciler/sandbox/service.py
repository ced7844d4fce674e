"""The process: owns the folder, the database, one listener a cluster and the admin socket, from start to orderly end.

Called by `__main__`. Everything runs on one event loop; a cluster whose recorded port is taken is reported and stays
stopped, the others run.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import signal
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler import __version__
from reconciler.errors import BlockedError, TerminalError
from reconciler.sandbox import nodes, processes
from reconciler.sandbox.admin import Admin, AdminError, ClusterWish
from reconciler.sandbox.api import Api
from reconciler.sandbox.catalog import Catalog
from reconciler.sandbox.certificates import Certificates
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.controllers import Controllers
from reconciler.sandbox.listening import Listener, bind_port, bind_unix
from reconciler.sandbox.objects import now
from reconciler.sandbox.processes import ProcessRecord
from reconciler.sandbox.state import ClusterState
from reconciler.sandbox.storage import ClusterRow, Storage

_LOG = logging.getLogger(__name__)


class AlreadyRunningError(BlockedError):
    """Another server holds the lock of this home."""


@dataclass(slots=True)
class _Served:
    """A cluster whose port is open."""

    api: Api
    listener: Listener
    controllers: asyncio.Task[None]


class Service:
    """All clusters of one home."""

    def __init__(self, home: Path, idle_exit: float = 0.0) -> None:
        self._folder = processes.folder_of(home)
        self._idle_exit = idle_exit
        self._ending = asyncio.Event()
        self._served: dict[str, _Served] = {}
        self._rows: dict[str, ClusterRow] = {}
        self._troubles: dict[str, str] = {}
        self._changing = asyncio.Lock()
        self._last_request = time.monotonic()
        self._certificates = Certificates(self._folder)
        self._authority = ""
        self._storage: Storage
        self._catalog: Catalog

    async def run(self) -> None:
        """Serve until told to end. AlreadyRunningError when this home is served already."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        with _lock(self._folder), contextlib.ExitStack() as cleanup:
            self._storage = Storage(self._folder / "sandbox.db")
            cleanup.callback(self._storage.close)
            self._certificates.ensure()
            self._authority = self._certificates.authority.read_text()
            self._catalog = Catalog(self._folder)
            self._identify()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._ending.set)
            await self._serve()

    def _identify(self) -> None:
        pid = os.getpid()
        started = processes.start_time(pid)
        if started is None:
            raise TerminalError("NoProcFilesystem", "/proc does not show this process")
        record = ProcessRecord(pid, started, processes.boot_id(), now(), __version__)
        record.write(self._folder / "process.json")

    async def _serve(self) -> None:
        for row in self._storage.clusters():
            self._rows[row.name] = row
            if row.state == "running":
                await self._try_open(row)
        socket_path = self._folder / "admin.sock"
        admin = Listener(self._watched(Admin(self)), bind_unix(socket_path))
        await admin.start()
        self._catalog.start()
        _LOG.info("serving %d of %d clusters", len(self._served), len(self._rows))
        try:
            await self._until_ended()
        finally:
            await asyncio.gather(*(self._close(name) for name in list(self._served)))
            await admin.stop()
            await self._catalog.close()
            socket_path.unlink(missing_ok=True)
            (self._folder / "process.json").unlink(missing_ok=True)
            _LOG.info("ended")

    async def _until_ended(self) -> None:
        while not self._ending.is_set():
            left = self._idle_exit - (time.monotonic() - self._last_request) if self._idle_exit else None
            if left is not None and left <= 0:
                _LOG.info("no request for %.0f s", self._idle_exit)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), left)

    def _watched(self, app: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """`app`, with the time of its last request noted."""

        async def noting(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            self._last_request = time.monotonic()
            try:
                await app(scope, receive, send)
            finally:
                self._last_request = time.monotonic()

        return noting

    async def _try_open(self, row: ClusterRow) -> None:
        """Open a cluster's recorded port; a port that is taken stops this cluster only."""
        try:
            bound = bind_port(row.port)
        except OSError as error:
            self._troubles[row.name] = f"port {row.port} of cluster {row.name} cannot be bound: {error}"
            _LOG.error("%s", self._troubles[row.name])
            return
        await self._open(row, bound)

    async def _open(self, row: ClusterRow, bound: socket.socket) -> None:
        state = ClusterState.load(row.name, self._storage, self._revision(row.name))
        nodes.ensure_nodes(state, row)
        cluster = Cluster(row.name, row.version, row.token, state, self._catalog, self._authority)
        api = Api(cluster, f"127.0.0.1:{row.port}")
        listener = Listener(self._watched(api), bound, self._certificates)
        await listener.start()
        controllers = asyncio.get_running_loop().create_task(Controllers(cluster).run())
        self._served[row.name] = _Served(api, listener, controllers)
        self._troubles.pop(row.name, None)

    def _revision(self, name: str) -> int:
        return next(row.revision for row in self._storage.clusters() if row.name == name)

    async def _close(self, name: str) -> None:
        served = self._served.pop(name, None)
        if served is None:
            return
        served.controllers.cancel()
        await asyncio.gather(served.controllers, return_exceptions=True)
        served.api.end_watches()
        await served.listener.stop()

    # --- what the admin API calls -----------------------------------------------------------------------------------

    def list(self) -> list[dict[str, Any]]:
        """Every CLUSTER, by name."""
        return [self._describe(name) for name in sorted(self._rows)]

    def get(self, name: str) -> dict[str, Any]:
        """One CLUSTER. AdminError 404."""
        self._row(name)
        return self._describe(name)

    def _row(self, name: str) -> ClusterRow:
        if name not in self._rows:
            raise AdminError(404, "NotFound", f"there is no cluster {name!r}")
        return self._rows[name]

    def _describe(self, name: str) -> dict[str, Any]:
        row = self._rows[name]
        described = {
            "name": row.name,
            "uid": row.uid,
            "server": f"https://127.0.0.1:{row.port}",
            "port": row.port,
            "caData": self._authority,
            "token": row.token,
            "version": row.version,
            "servers": row.servers,
            "agents": row.agents,
            "state": "running" if name in self._served else "stopped",
            "createdAt": row.created_at,
        }
        return {**described, "message": self._troubles[name]} if name in self._troubles else described

    async def ensure(self, wish: ClusterWish) -> tuple[bool, dict[str, Any]]:
        """Create or scale a cluster: whether it was created, and the CLUSTER. AdminError 409."""
        async with self._changing:
            row = self._rows.get(wish.name)
            if row is None:
                await self._create(wish)
                return True, self._describe(wish.name)
            if row.version != wish.version:
                message = f"cluster {wish.name} has version {row.version}, not {wish.version}"
                raise AdminError(409, "VersionConflict", message)
            self._scale(replace(row, servers=wish.servers, agents=wish.agents))
            return False, self._describe(wish.name)

    async def _create(self, wish: ClusterWish) -> None:
        taken = next((row.name for row in self._rows.values() if row.port == wish.port), None)
        if taken is not None:
            raise AdminError(409, "PortTaken", f"port {wish.port} belongs to cluster {taken}")
        try:
            bound = bind_port(wish.port or 0)
        except OSError as error:
            raise AdminError(409, "PortTaken", f"port {wish.port} cannot be bound: {error}") from error
        row = ClusterRow(
            name=wish.name,
            uid=str(uuid.uuid4()),
            version=wish.version,
            port=bound.getsockname()[1],
            token=secrets.token_urlsafe(32),
            servers=wish.servers,
            agents=wish.agents,
            state="running",
            created_at=now(),
            revision=0,
        )
        with self._storage.transaction():
            self._storage.save_cluster(row)
            ClusterState(row.name, self._storage).commit(nodes.first_changes(row))
        self._rows[row.name] = row
        await self._open(row, bound)

    def _scale(self, row: ClusterRow) -> None:
        if row == self._rows[row.name] and row.name not in self._served:
            return
        self._save(row)
        if row.name in self._served:
            nodes.ensure_nodes(self._served[row.name].api.cluster.state, row)

    def _save(self, row: ClusterRow) -> None:
        self._storage.save_cluster(row)
        self._rows[row.name] = row

    def _forget(self, name: str) -> None:
        self._storage.delete_cluster(name)
        self._rows.pop(name, None)
        self._troubles.pop(name, None)

    async def delete(self, name: str) -> dict[str, Any]:
        """Close and forget a cluster with all its objects; what it was. AdminError 404."""
        async with self._changing:
            self._row(name)
            described = self._describe(name)
            await self._close(name)
            self._forget(name)
            return {**described, "state": "stopped"}

    async def stop(self, name: str) -> dict[str, Any]:
        """Close a cluster's port, keep its objects. AdminError 404."""
        async with self._changing:
            self._save(replace(self._row(name), state="stopped"))
            self._troubles.pop(name, None)
            await self._close(name)
            return self._describe(name)

    async def start(self, name: str) -> dict[str, Any]:
        """Open a cluster's port again. AdminError 404, 409 when the port is taken."""
        async with self._changing:
            row = replace(self._row(name), state="running")
            self._save(row)
            if name not in self._served:
                await self._try_open(row)
            if name in self._troubles:
                raise AdminError(409, "PortTaken", self._troubles[name])
            return self._describe(name)

    def shut_down(self) -> None:
        """End the process in order, once this request has been answered."""
        asyncio.get_running_loop().call_soon(self._ending.set)


@contextlib.contextmanager
def _lock(folder: Path) -> Any:
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            record = processes.read_record(folder / "process.json")
            who = f"process {record.pid} since {record.startedAt}" if record else "another process"
            raise AlreadyRunningError("AlreadyRunning", f"the sandbox of {folder.parent} is served by {who}") from error
        yield
