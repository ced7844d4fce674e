"""An answer that goes on: its lines as they come, until a time is over or somebody cancels. Made by `Https.stream`."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

from reconciler.errors import TransientError
from reconciler.transports.https_connection import BROKEN, Connection, DeadlineSocket, named_failures
from reconciler.transports.kubeconfig import Access

LONGEST_LINE = 16_000_000
LONGEST_REFUSAL = 65536
_CHUNK = 65536
_KEEP_ALIVE = {socket.TCP_KEEPIDLE: 20, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
"""Seconds of silence, then between probes, and how many: a machine that is gone is noticed within a minute."""


class Stream:
    """One GET. One thread opens it, reads and closes; any thread may `cancel`.

    headers: of the request. timeout: seconds until the answer has to begin.
    """

    def __init__(
        self, access: Access, connection: Connection, target: str, headers: Mapping[str, str], timeout: float
    ) -> None:
        self.server = access.server
        self._access = access
        self._connection = connection
        self._target = target
        self._headers = headers
        self._timeout = timeout
        self._seconds = 0.0
        self._cancelled = threading.Event()
        self._socket: DeadlineSocket | None = None
        self._response: http.client.HTTPResponse | None = None

    def open(self, seconds: float) -> int | None:
        """Send the request; its status, None when it was cancelled. After a 200 it may go on for so many seconds.

        Raises UnreachableError when it does not begin in time.
        """
        self._seconds = seconds
        try:
            with named_failures(self._access, f"GET {self._target}", self._timeout):
                expires = time.monotonic() + self._timeout
                self._socket = self._connection.connect_by(expires)
                for option, value in _KEEP_ALIVE.items():
                    self._socket.setsockopt(socket.IPPROTO_TCP, option, value)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                if self._cancelled.is_set():
                    return None
                self._response = self._connection.begin("GET", self._target, None, self._headers, expires)
                if self._response.status == http.client.OK:
                    self._socket.expires = time.monotonic() + seconds
                return self._response.status
        except Exception:
            if self._cancelled.is_set():
                return None
            raise

    def lines(self) -> Iterator[bytes]:
        """Every line without its end, as soon as it is whole. Ends with the answer, or when it was cancelled.

        Raises UnreachableError when the connection breaks or the time is over, TransientError for an endless line.
        """
        assert self._response is not None
        rest = bytearray()
        while part := self._next():
            start = len(rest)
            rest += part
            if b"\n" in part:
                *whole, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                yield from whole
            elif start > LONGEST_LINE:
                raise TransientError("AnswerTooLarge", f"{self.server} sends a line of over {LONGEST_LINE} B")
        if rest and not self._cancelled.is_set():
            yield bytes(rest)

    def refusal(self) -> bytes:
        """The begin of an answer that says why there is nothing to read."""
        text = b""
        while len(text) < LONGEST_REFUSAL and (part := self._next()):
            text += part
        return text

    def cancel(self) -> None:
        """End it, from any thread and at any time; whoever reads sees its end."""
        self._cancelled.set()
        for one in (self._socket, self._connection.sock):
            if one is not None:
                with suppress(OSError):  # the plain one: TLS has nothing to say any more, and another thread may read
                    socket.socket.shutdown(one, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; for the thread that reads. Safe to call more than once."""
        self._cancelled.set()
        if self._response is not None:
            with suppress(*BROKEN):
                self._response.close()
        self._connection.close()

    def _next(self) -> bytes:
        """What came next; nothing at the end."""
        assert self._response is not None
        try:
            with named_failures(self._access, f"GET {self._target}", self._seconds):
                return b"" if self._cancelled.is_set() else self._response.read1(_CHUNK)
        except Exception:
            if self._cancelled.is_set():
                return b""
            raise
