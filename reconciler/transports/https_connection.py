"""One connection to an HTTPS server: deadlines that hold, whom it may lead to, what failures mean.

Used by `https` for requests and by `https_stream` for answers that go on.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import math
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reconciler.errors import TerminalError, TransientError, UnreachableError
from reconciler.model.secret import Secret
from reconciler.transports.kubeconfig import Access, is_forbidden_address

MAX_ANSWER_BYTES = 64_000_000
_CHUNK = 65536
BROKEN = (http.client.HTTPException, OSError)
"""What a broken connection raises."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered. body: as bytes, whole."""

    status: int
    body: bytes


class DeadlineSocket(ssl.SSLSocket):
    """A TLS socket whose every wait ends when the request has to."""

    expires = math.inf

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """As documented, with what is left of the time."""
        self.settimeout(left(self.expires))
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        """As documented, with what is left of the time."""
        self.settimeout(left(self.expires))
        return super().send(*args, **kwargs)


class Connection(http.client.HTTPConnection):
    """One connection, TLS from the start, perhaps through a proxy."""

    def __init__(self, access: Access, context: ssl.SSLContext) -> None:
        proxy = urlsplit(access.proxy) if access.proxy else None
        super().__init__(*((proxy.hostname or "", proxy.port or 80) if proxy else (access.host, access.port)))
        if proxy is not None:
            self.set_tunnel(access.host, access.port)
        self._access = access
        self._context = context
        self._expires = math.inf

    @property
    def is_open(self) -> bool:
        """Whether it can carry another request."""
        return self.sock is not None

    def connect(self) -> None:
        """Connect, look whom we got, and shake hands."""
        self.timeout = left(self._expires)
        super().connect()
        plain = self.sock
        try:
            if not self._access.proxy:
                _refuse_forbidden_peer(plain)
            plain.settimeout(left(self._expires))
            self.sock = self._context.wrap_socket(plain, server_hostname=self._access.server_name or self._access.host)
        except BaseException:
            plain.close()
            self.sock = None
            raise

    def begin(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], expires: float
    ) -> http.client.HTTPResponse:
        """Send one request and read the head of its answer."""
        self.connect_by(expires)
        self.request(method, target, body=body, headers=dict(headers))
        return self.getresponse()

    def connect_by(self, expires: float) -> DeadlineSocket:
        """The socket, connected by then at the latest; whatever is awaited on it ends then as well."""
        self._expires = expires
        if self.sock is None:
            self.connect()
        assert isinstance(self.sock, DeadlineSocket)
        self.sock.expires = expires
        return self.sock

    def exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], expires: float
    ) -> Answer:
        """One request and its whole answer."""
        response = self.begin(method, target, body, headers, expires)
        parts: list[bytes] = []
        size = 0
        while chunk := response.read1(_CHUNK):
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise TransientError("AnswerTooLarge", f"{self._access.server} answers with over {MAX_ANSWER_BYTES} B")
        if response.length:  # read1 says nothing of an answer that was cut off
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # only then may the connection be used again
        return Answer(response.status, b"".join(parts))


def left(expires: float) -> float:
    """Seconds until `expires`. Raises TimeoutError when there are none."""
    left = expires - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _refuse_forbidden_peer(connected: socket.socket) -> None:
    """A harmless name may lead to a metadata service, so the address that it led to is checked as well."""
    peer = str(connected.getpeername()[0]).partition("%")[0]
    if is_forbidden_address(ipaddress.ip_address(peer)):
        raise TerminalError("UnsafeKubeconfig", f"the server's name leads to {peer}, a link-local or metadata address")


@contextmanager
def named_failures(access: Access, what: str, timeout: float) -> Iterator[None]:
    """Whatever goes wrong on the wire inside becomes UnreachableError naming the server. timeout: seconds, as told."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        message = f"{access.server} has no certificate that we trust: {error.verify_message}"
        raise UnreachableError("UntrustedServer", message) from error
    except TimeoutError as error:
        message = f"{access.server} did not answer {what[:200]} within {timeout:g} s"
        raise UnreachableError("Unreachable", message) from error
    except BROKEN as error:
        raise UnreachableError("Unreachable", f"{access.server}: {_reason(error)}") from error


def authorization(access: Access) -> dict[str, str]:
    """The header that says who asks; none where a certificate does."""
    if access.token is not None:
        return {"Authorization": f"Bearer {_revealed(access.token).strip()}"}
    if access.basic is not None:
        name, password = access.basic
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password.reveal()}".encode()).decode()}
    return {}


def _revealed(value: Secret | Path | str) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, str):
        return value
    try:
        return value.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TerminalError("BadKubeconfig", f"the kubeconfig names {value}, which cannot be read") from error


def tls_context(access: Access) -> ssl.SSLContext:
    """Whom to trust and who we are. Raises TerminalError when a certificate or key is no usable PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = DeadlineSocket
    try:
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif access.ca:
            context.load_verify_locations(cadata=_revealed(access.ca))
        else:
            context.load_default_certs()
        if access.certificate and access.key is not None:
            _load_client_certificate(context, _revealed(access.certificate), _revealed(access.key))
    except (ssl.SSLError, ValueError) as error:
        raise TerminalError("BadKubeconfig", f"{access.server}: a certificate or key in it is no usable PEM") from error
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """OpenSSL takes only files here, so the key passes through one that exists in memory alone."""
    descriptor = os.memfd_create("client-certificate")
    try:
        with os.fdopen(os.dup(descriptor), "w") as stream:
            stream.write(f"{certificate}\n{key}\n")
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    finally:
        os.close(descriptor)
