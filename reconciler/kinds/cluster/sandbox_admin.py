"""The sandbox process of a home: asking it, and starting it. Called by `providers.sandbox`.

It listens on the Unix socket `<home>/sandbox/admin.sock` and outlives whoever started it. Starting happens under a file
lock, so that any number of processes that need it start it once.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.errors import DeadlineError, TerminalError, TransientError, UnreachableError
from reconciler.kind import Context
from reconciler.transports.groups import start_time_of

START_TIMEOUT = 20.0
CALL_TIMEOUT = 10.0
_POLL = 0.05
_RESTART = 0.5
_LOG_TAIL = 2000


class SandboxDownError(UnreachableError):
    """No process listens; nothing is known beyond what we recorded."""


class SandboxAdmin:
    """The sandbox of the context's home."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.folder = context.home / "sandbox"

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        missing_ok: bool = False,
        timeout: float = CALL_TIMEOUT,
    ) -> dict[str, Any] | None:
        """The JSON answer; None for 404 when `missing_ok`.

        Raises SandboxDownError, UnreachableError when it does not answer in time, and TransientError or TerminalError
        with its own words when it refuses.
        """
        timeout = min(timeout, self._context.deadline) if method == "GET" else timeout
        status, answer = self._exchange(method, path, body, timeout)
        if 200 <= status < 300:
            return answer
        if status == 404 and missing_ok:
            return None
        message = f"the sandbox refuses {method} {path}: {answer.get('message', status)}"
        raise (TerminalError if 400 <= status < 500 else TransientError)("SandboxRefused", message)

    def is_running(self) -> bool:
        """Whether it answers and says that it is well."""
        try:
            self.call("GET", "/healthz", timeout=2.0)
        except (UnreachableError, TransientError, TerminalError):
            return False
        return True

    def ensure_running(self) -> None:
        """Start it unless it answers. Raises DeadlineError with the end of its log when it does not come up."""
        if self.is_running():
            return
        give_up = time.monotonic() + START_TIMEOUT
        with self._start_lock(give_up):
            if self.is_running():
                return
            log = self._context.home / "sandbox.log"
            pid = self._spawn(log)
            while not self.is_running():
                if time.monotonic() >= give_up:
                    raise DeadlineError(
                        "SandboxDown", f"the sandbox did not start within {START_TIMEOUT:g} s:\n{_tail(log)}"
                    )
                self._context.sleep(_POLL)
                if start_time_of(pid) is None and not self.is_running():  # killed meanwhile
                    self._context.sleep(_RESTART)
                    pid = self._spawn(log)

    def _spawn(self, log: Path) -> int:
        from reconciler.transports.process import spawn_detached  # noqa: PLC0415 - only who starts something needs it

        argv = [sys.executable, "-m", "reconciler.sandbox", "serve", "--home", str(self._context.home)]
        pid = spawn_detached(argv, log)
        self._context.log(f"started the sandbox as process {pid}\n")
        return pid

    @contextmanager
    def _start_lock(self, give_up: float) -> Iterator[None]:
        path = self._context.home / "sandbox.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= give_up:
                        message = f"somebody else has been starting the sandbox for {START_TIMEOUT:g} s"
                        raise DeadlineError("SandboxDown", message) from None
                    self._context.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float
    ) -> tuple[int, dict[str, Any]]:
        import http.client  # noqa: PLC0415 - costs 40 ms, and not every command asks a sandbox

        connection = http.client.HTTPConnection("sandbox", timeout=timeout)
        try:
            connection.sock = self._connect(timeout)
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, body=sent, headers={"Content-Type": "application/json"} if sent else {})
            response = connection.getresponse()
            answer = json.loads(response.read() or b"{}")
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise SandboxDownError("SandboxDown", "the sandbox is not running") from error
        except TimeoutError as error:
            message = f"the sandbox did not answer {method} {path} within {timeout:g} s"
            raise UnreachableError("Unreachable", message) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableError("Unreachable", f"the sandbox broke off {method} {path}: {error}") from error
        finally:
            connection.close()
        return response.status, answer if isinstance(answer, dict) else {}

    def _connect(self, timeout: float) -> socket.socket:
        """Connect through the folder's descriptor: a socket's path may have 107 bytes only, and a home be anywhere."""
        folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(timeout)
            connected.connect(f"/proc/self/fd/{folder}/admin.sock")
        except BaseException:
            connected.close()
            raise
        finally:
            os.close(folder)
        return connected


def _tail(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")[-_LOG_TAIL:]
    except OSError:
        return "(it wrote no log)"
