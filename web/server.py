"""Runs the page in a thread of the process that calls: the daemon, `python -m web`, tests.

No signal handler is installed: whoever calls says when to stop, by setting the event that it gave.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from typing import Protocol

import uvicorn
from starlette.applications import Starlette

from reconciler.errors import UsageError

BACKLOG = 2048
GRACE = 3
DESCRIPTORS = 8192


class Stop(Protocol):
    """What says when to stop: `threading.Event` or alike."""

    def is_set(self) -> bool:
        """True from when the page has to stop."""
        ...


class Served:
    """A page that is being served. host, port: where it is bound; the port is the real one where 0 was asked for."""

    def __init__(self, thread: threading.Thread, host: str, port: int) -> None:
        self.thread = thread
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        """Its address for browsers."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}"

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has stopped. False when it still runs after `timeout` seconds."""
        self.thread.join(timeout)
        return not self.thread.is_alive()


def serve(app: Starlette, host: str, port: int, stop: Stop) -> Served:
    """Serve `app` (of `asgi.create_asgi_app`) until `stop` is set; returns at once, bound.

    Within about 0.2 s of `stop` every stream is ended; what runs may take GRACE seconds more. Raises UsageError when
    the address cannot be bound.
    """
    listening = _bind(host, port)
    _allow_descriptors()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        loop="asyncio",
        http="httptools",
        ws="none",
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE,
    )
    server = _Server(config, app, stop)
    thread = threading.Thread(target=server.run, args=([listening],), name="page", daemon=True)
    thread.start()
    return Served(thread, host, listening.getsockname()[1])


class _Server(uvicorn.Server):
    """uvicorn that leaves signals alone, and ends the streams when it is told to stop."""

    def __init__(self, config: uvicorn.Config, app: Starlette, stop: Stop) -> None:
        super().__init__(config)
        self._app = app
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process that serves us."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._stop.is_set():
            self._app.state.live.close()
            return True
        return await super().on_tick(counter)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError("InvalidAddress", f"the page cannot be served at {host}:{port}: {error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError("AddressInUse", f"the page cannot be served at {host}:{port}: {error}") from error
    listening.setblocking(False)
    return listening


def _allow_descriptors() -> None:
    """A viewer is a descriptor, and a usual soft limit is 1,024 of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
