"""JSON over HTTP to one server, for REST APIs of other people's services. Given to kinds by `Context.http`.

A thin layer over httpx: a token that reaches only this server, one deadline for the whole of a request, a bound on what
is read, no redirect to another host, no proxy and no password file out of the environment, and errors that say what
happens next:

    UnreachableError(Unreachable | UntrustedServer)    no answer, or none in time
    WaitingError(RateLimited)                          asked too often: again after `retry_after` seconds
    HttpError(Unauthorized | Forbidden | NotFound | Conflict | Refused | Redirected)    an answer, but no
    TransientError(ServerError | BadAnswer | AnswerTooLarge)
    SpecError(BadApiUrl | TokenOverHttp | BadToken)
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from reconciler.errors import ReconcilerError, SpecError, TerminalError, TransientError, UnreachableError, WaitingError
from reconciler.transports.git_command import clean
from reconciler.transports.http_access import HttpAccess, HttpAnswer, HttpError
from reconciler.transports.rate_limits import pause_of

if TYPE_CHECKING:
    import httpx

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_REDIRECTS = 3
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict"}
_CUT = (ssl.SSLError, OSError, ValueError)


class Http:
    """Requests to one server. Safe to use from several threads; each request has a connection of its own.

    base: address that all paths are appended to. Raises SpecError for one that must not be used with this token.
    """

    def __init__(self, base: str, access: HttpAccess | None = None) -> None:
        self._access = access or HttpAccess()
        self._base = _checked(base, self._access)
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "reconciler",
            **self._access.headers,
        }

    @property
    def base(self) -> str:
        """The address, without a slash at its end."""
        return self._base.geturl()

    def find(self, path: str) -> Any | None:
        """The JSON below a path, None when the server says that there is nothing (404)."""
        try:
            return self.request("GET", path).value
        except HttpError as error:
            if error.status == 404:
                return None
            raise

    def request(self, method: str, path: str, body: object = None) -> HttpAnswer:
        """Send JSON and read JSON. path: begins with a slash, quoted where it has to be, perhaps with a query.

        Goes where the same server sends us. Raises as the module says.
        """
        url = self.base + path
        for _ in range(_REDIRECTS):
            if _origin(urlsplit(url)) != _origin(self._base):
                raise HttpError("Redirected", f"{self.base} leads to another server, {clean(url)}", 302, "")
            answer = self._exchange(method, url, body)
            if isinstance(answer, HttpAnswer):
                return answer
            url = answer
        raise HttpError("Redirected", f"{self.base} leads in circles", 302, "")

    def _exchange(self, method: str, url: str, body: object) -> HttpAnswer | str:
        """One request: its answer, or the address that it leads to."""
        import httpx  # noqa: PLC0415 - 200 ms that only who talks to a REST API pays

        headers = dict(self._headers)
        if self._access.token is not None:
            headers["Authorization"] = f"Bearer {self._access.token.reveal().strip()}"
        deadline = _Deadline(self._access.timeout)
        try:
            with self._client() as client, deadline.kept():
                extensions = {"trace": deadline.note}
                with client.stream(method, url, headers=headers, json=body, extensions=extensions) as response:
                    content = self._content(response)
                return self._answer(method, response, content)
        except (httpx.TransportError, httpx.InvalidURL, *_CUT) as error:
            if isinstance(error, httpx.TimeoutException) or deadline.is_over:
                message = f"{self.base} did not answer {method} {clean(urlsplit(url).path)} in {deadline.timeout:g} s"
                raise UnreachableError("Unreachable", message) from None
            reason = "UntrustedServer" if "CERTIFICATE_VERIFY_FAILED" in str(error) else "Unreachable"
            raise UnreachableError(reason, f"{self.base}: {clean(str(error)) or type(error).__name__}") from error

    def _client(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 - as above

        host = self._base.hostname or ""
        proxy = None
        if self._access.use_proxy and not proxy_bypass(host):
            proxy = getproxies().get(self._base.scheme)
        return httpx.Client(
            verify=_tls(self._access.ca_file) if self._base.scheme == "https" else False,
            trust_env=False,
            proxy=proxy,
            timeout=self._access.timeout,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def _content(self, response: httpx.Response) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise TransientError("BadAnswer", f"{self.base} answers compressed, though it was asked not to")
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > self._access.longest:
                raise TransientError("AnswerTooLarge", f"{self.base} answers with over {self._access.longest:,} bytes")
        return bytes(content)

    def _answer(self, method: str, response: httpx.Response, content: bytes) -> HttpAnswer | str:
        status = response.status_code
        if 200 <= status < 300:
            return HttpAnswer(status, self._parsed(content))
        if status in (307, 308) or (status in (301, 302, 303) and method == "GET"):
            return str(response.url.join(response.headers.get("Location", "")))
        raise self._refusal(status, response.headers, content)

    def _parsed(self, content: bytes) -> Any:
        try:
            return json.loads(content) if content.strip() else None
        except (ValueError, RecursionError) as error:
            raise TransientError("BadAnswer", f"{self.base} answers with something that is not JSON") from error

    def _refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> ReconcilerError:
        said = _words(content)
        told = f"{self.base} answers {status}" + (f": {said}" if said else "")
        pause = pause_of(status, headers, said, time.time())
        if pause is not None:
            return WaitingError("RateLimited", f"{told}; asked again in {pause:.0f} s", pause)
        if status >= 500 or status in (408, 425):
            return TransientError("ServerError", told)
        if status < 400:
            return HttpError("Redirected", f"{told}: it is somewhere else now", status, said)
        return HttpError(_REASONS.get(status, "Refused"), told, status, said)


class _Deadline:
    """The end of a request, however slowly it is answered: its connection is cut then."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.is_over = False
        self._socket: socket.socket | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While the request runs."""
        timer = threading.Timer(self.timeout, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def note(self, event: str, known: Mapping[str, Any]) -> None:
        """Called by the client on every step of a request: remember the connection."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = known["return_value"].get_extra_info("socket")
            if self.is_over:
                raise TimeoutError("the time is up")

    def _cut(self) -> None:
        self.is_over = True
        if self._socket is not None:
            with suppress(OSError):  # it is closed already; TLS would want to say good-bye first
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _checked(base: str, access: HttpAccess) -> SplitResult:
    try:
        parts = urlsplit(base.rstrip("/"))
        port = parts.port
    except ValueError as error:
        raise SpecError("BadApiUrl", f"{base[:200]!r} is not an address") from error
    plain = parts.scheme in ("http", "https") and parts.hostname and base.isprintable() and port != 0
    if not plain or "@" in parts.netloc or parts.query or parts.fragment or " " in base:
        shown = "an address with a password in it" if "@" in base else repr(clean(base))
        raise SpecError("BadApiUrl", f"{shown} is not taken as the address of an API: write https://HOST/PATH")
    if access.token is not None:
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise SpecError("TokenOverHttp", f"{base}: a token is never sent without TLS: write https://")
        token = access.token.reveal().strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise SpecError("BadToken", f"the token from {access.token.origin} is not one word of plain characters")
    return parts


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
    except (OSError, ssl.SSLError) as error:
        raise TerminalError("BadCaFile", f"{ca_file} holds no certificates that can be read") from error


def _words(content: bytes) -> str:
    """What an error's body says: `message`, `error`, `error_description`, `errors`, as one printable line."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return clean(content[:2000].decode("utf-8", "replace"), 200)
    if not isinstance(value, dict):
        return clean(json.dumps(value, ensure_ascii=False), 300)
    found = [value[name] for name in ("message", "error", "error_description", "errors") if value.get(name)]
    said = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in found]
    return clean("; ".join(said), 400)
