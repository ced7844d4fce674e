"""One request to the admin API over its Unix socket. Used by `__main__` and by tests."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from reconciler.errors import UnreachableError
from reconciler.sandbox import processes
from reconciler.sandbox.unix_paths import address_of


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over admin.sock."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with address_of(self._path) as address:
            self.sock.connect(address)


def ask(home: Path, method: str, path: str, body: Any = None, timeout: float = 10.0) -> tuple[int, Any]:
    """One request to the admin API of a home: status and answer. UnreachableError when nothing answers in time."""
    connection = _UnixConnection(processes.folder_of(home) / "admin.sock", timeout)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError("SandboxUnreachable", f"the sandbox of {home} does not answer: {error}") from error
    finally:
        connection.close()
