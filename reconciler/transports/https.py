"""HTTPS to one server: a few kept-alive connections, one TLS context, and deadlines that hold. Called by `kube`.

The standard library's `http.client`, because start-up is a requirement: it costs 40 ms of CPU to import where the
Kubernetes client's transport costs 400 (its package imports all of itself) and urllib3 alone 120. Neither of those
bounds a request as a whole: their time-outs start anew with every byte. Here every receive gets just what is left.
Outside of it are resolving a name, which the resolver bounds, and a second address of a name, which gets its own time.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time

from reconciler.transports.exec_credentials import with_program_credentials
from reconciler.transports.https_connection import Answer, Connection, authorization, named_failures, tls_context
from reconciler.transports.https_stream import Stream
from reconciler.transports.kubeconfig import Access

_MAX_IDLE = 8
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


class Https:
    """Requests to one API server. Safe to share between threads; `close` it.

    Every request is one that may be repeated: it is, once, when a kept-alive connection turns out to be stale.
    """

    def __init__(self, access: Access) -> None:
        self._access = access = with_program_credentials(access)
        self._headers = {"Accept": "application/json", "User-Agent": "reconciler", **authorization(access)}
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def request(
        self, method: str, target: str, *, body: bytes | None = None, content_type: str = "", timeout: float
    ) -> Answer:
        """Send and read all of the answer within `timeout` seconds. target: path and query.

        Raises UnreachableError when there is no answer in time, TerminalError when it comes from a wrong server.
        """
        expires = time.monotonic() + timeout
        headers = {**self._headers, "Content-Type": content_type} if content_type else self._headers
        with named_failures(self._access, f"{method} {target}", timeout):
            while True:
                connection, is_fresh = self._take()
                try:
                    answer = connection.exchange(method, self._access.path + target, body, headers, expires)
                except BaseException as error:
                    connection.close()
                    if is_fresh or not isinstance(error, _STALE):
                        raise
                    continue
                self._give_back(connection)
                return answer

    def stream(self, target: str, *, accept: str = "", timeout: float) -> Stream:
        """An answer that goes on, on a connection of its own. Nothing is sent yet. timeout: seconds until it begins."""
        headers = {**self._headers, "Accept": accept} if accept else self._headers
        connection = Connection(self._access, self._tls())
        return Stream(self._access, connection, self._access.path + target, headers, timeout)

    def close(self) -> None:
        """Close what is open. Safe to call more than once."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> tuple[Connection, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), False
        return Connection(self._access, self._tls()), True

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = tls_context(self._access)
            return self._context

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if connection.is_open and len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()
