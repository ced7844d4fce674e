"""One listening socket with an ASGI application behind it, inside the running loop. Used by `service`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import uvicorn

from reconciler.sandbox.certificates import Certificates
from reconciler.sandbox.unix_paths import address_of

_GRACE = 2


class Listener:
    """A uvicorn server on a socket that is bound already; it ends when told so and installs no signal handlers."""

    def __init__(self, app: Any, bound: socket.socket, certificates: Certificates | None = None) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=120,
            timeout_graceful_shutdown=_GRACE,
            ssl_certfile=str(certificates.server) if certificates else None,
            ssl_keyfile=str(certificates.server_key) if certificates else None,
        )
        self._bound = bound
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once connections are accepted."""
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self._bound]))
        started = asyncio.get_running_loop().create_task(self._server.accepting.wait())
        await asyncio.wait({self._serving, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._serving.done():
            self._serving.result()

    async def stop(self) -> None:
        """Close the socket and the connections, requests under way get two seconds."""
        self._server.ending.set()
        if self._serving is not None:
            await self._serving
        self._bound.close()


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers and without its ten ticks a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()
        self.accepting = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals belong to the service."""
        yield

    async def main_loop(self) -> None:
        """Wait to be ended."""
        self.accepting.set()
        await self.ending.wait()


def bind_port(port: int) -> socket.socket:
    """A socket on 127.0.0.1:`port` (0: any free one). OSError when it is taken."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets NODELAY by this number
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        bound.listen(1024)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def bind_unix(path: Path) -> socket.socket:
    """A Unix socket of mode 0600 at `path`; one that a dead server left is replaced."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with address_of(path) as address:
            bound.bind(address)
        bound.listen(128)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound
