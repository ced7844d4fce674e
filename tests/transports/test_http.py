"""JSON over HTTP to other people's servers: what is sent to whom, when it is given up, and what each no means."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tls_api import TOKEN, Api, make_certificate

from reconciler.errors import ReconcilerError, SpecError, TransientError, UnreachableError, WaitingError
from reconciler.model.secret import Secret
from reconciler.transports.http import Http
from reconciler.transports.http_access import HttpAccess, HttpError
from reconciler.transports.rate_limits import pause_of


@pytest.fixture
def access(api: Api, tmp_path: Path) -> HttpAccess:
    (tmp_path / "ca.pem").write_text(api.ca)
    return HttpAccess(Secret(f"{TOKEN}\n", "env:T"), {"X-Version": "1"}, timeout=20.0, ca_file=tmp_path / "ca.pem")


@pytest.fixture
def http(api: Api, access: HttpAccess) -> Http:
    return Http(f"https://127.0.0.1:{api.port}/api/", access)


def raised(kind: type[ReconcilerError], reason: str, call: Callable[[], object]) -> Any:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.reason == reason
    assert TOKEN not in caught.value.message
    assert caught.value.message.isprintable()
    return caught.value


def answer(status: int, *headers: tuple[str, str], body: bytes = b"{}") -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return reply


def test_json_goes_and_comes(api: Api, http: Http) -> None:
    api.replies["PATCH /api/a%2Fb"] = (200, {"made": "ünï"})
    assert http.request("PATCH", "/a%2Fb?x=1", {"name": "ö"}).value == {"made": "ünï"}
    assert api.seen == [("PATCH", "/api/a%2Fb?x=1", {"name": "ö"})]
    api.replies["GET /api/empty"] = answer(204, body=b"")
    assert http.request("GET", "/empty").value is None
    assert http.find("/nothing") is None


def test_what_is_wrong_is_told_in_the_servers_words(api: Api, http: Http) -> None:
    for status, reason in ((401, "Unauthorized"), (403, "Forbidden"), (404, "NotFound"), (409, "Conflict")):
        api.replies["GET /api/x"] = (status, {"message": "say \x1b[31m why", "errors": [{"field": "name"}]})
        error = raised(HttpError, reason, lambda: http.request("GET", "/x"))
        assert error.status == status
        assert 'why; [{"field": "name"}]' in error.message
    for status in (400, 422):
        api.replies["GET /api/x"] = (status, {"message": {"name": ["has already been taken"]}})
        assert "already been taken" in raised(HttpError, "Refused", lambda: http.request("GET", "/x")).said
    for status in (500, 502, 503):
        api.replies["GET /api/x"] = answer(status, body=b"<html>" + b"x" * 10_000)
        error = raised(TransientError, "ServerError", lambda: http.request("GET", "/x"))
        assert len(error.message) < 400


def test_limits_of_both_forges_say_when_to_come_back(api: Api, http: Http) -> None:
    reset = ("X-RateLimit-Reset", str(int(time.time()) + 40))
    api.replies["GET /api/x"] = answer(403, ("X-RateLimit-Remaining", "0"), reset, body=b'{"message": "exceeded"}')
    error = raised(WaitingError, "RateLimited", lambda: http.request("GET", "/x"))
    assert 30 < error.retry_after < 45
    api.replies["GET /api/x"] = answer(429, ("Retry-After", "7"))
    assert raised(WaitingError, "RateLimited", lambda: http.request("GET", "/x")).retry_after == 7


@pytest.mark.parametrize(
    ("status", "headers", "said", "pause"),
    [
        (403, {}, "you may not", None),
        (403, {"X-RateLimit-Remaining": "12"}, "you may not", None),
        (404, {"X-RateLimit-Remaining": "0"}, "", None),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1030"}, "", 31.0),
        (403, {}, "You have exceeded a secondary rate limit", 60.0),
        (403, {"Retry-After": "9"}, "abuse", 9.0),
        (429, {"RateLimit-Reset": "1010"}, "", 11.0),
        (429, {"RateLimit-Reset": "10"}, "", 1.0),
        (429, {"Retry-After": "Thu, 01 Jan 1970 00:17:10 GMT"}, "", 30.0),
        (429, {"Date": "Thu, 01 Jan 1970 01:00:00 GMT", "RateLimit-Reset": "3620"}, "", 21.0),
        (429, {"Retry-After": "soon"}, "", 60.0),
        (429, {"Retry-After": "99999999999999"}, "", 3600.0),
        (429, {}, "", 60.0),
    ],
)
def test_a_pause_is_never_none_nor_for_ever(
    status: int, headers: dict[str, str], said: str, pause: float | None
) -> None:
    assert pause_of(status, headers, said, 1000.0) == pause


def test_a_token_stays_with_its_server(api: Api, http: Http) -> None:
    api.replies["GET /api/old"] = answer(301, ("Location", "/api/new"))
    api.replies["GET /api/new"] = (200, {"id": 1})
    assert http.find("/old") == {"id": 1}
    asked = len(api.seen)
    for away in (f"https://localhost:{api.port}/api/new", "http://127.0.0.1:1/", "//example.com/x", "ftp://127.0.0.1/"):
        api.replies["GET /api/old"] = answer(302, ("Location", away))
        raised(HttpError, "Redirected", lambda: http.find("/old"))
        asked += 1
        assert len(api.seen) == asked
    api.replies["GET /api/old"] = answer(302, ("Location", "/api/old"))
    raised(HttpError, "Redirected", lambda: http.find("/old"))
    api.replies["PATCH /api/old"] = answer(302, ("Location", "/api/new"))
    raised(HttpError, "Redirected", lambda: http.request("PATCH", "/old", {}))


def test_an_answer_that_does_not_end_is_given_up(api: Api, access: HttpAccess) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        try:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(200):
                request.wfile.write(b"x")
                request.wfile.flush()
                if request.server.ending.wait(0.05):  # type: ignore[attr-defined]  # of tls_api.Server
                    return
        except OSError:
            request.close_connection = True

    api.replies["GET /api/x"] = drip
    quick = HttpAccess(access.token, timeout=0.6, ca_file=access.ca_file)
    error = raised(UnreachableError, "Unreachable", lambda: Http(f"https://127.0.0.1:{api.port}/api", quick).find("/x"))
    assert "did not answer GET /api/x in 0.6 s" in error.message


def test_an_answer_that_is_too_large_or_no_json_is_an_error(api: Api, access: HttpAccess, http: Http) -> None:
    api.replies["GET /api/x"] = (200, ["x" * 1000] * 100)
    small = HttpAccess(access.token, ca_file=access.ca_file, longest=50_000)
    raised(TransientError, "AnswerTooLarge", lambda: Http(f"https://127.0.0.1:{api.port}/api", small).find("/x"))
    for body in (b"<html>", b"[" * 100_000):
        api.replies["GET /api/x"] = answer(200, body=body)
        raised(TransientError, "BadAnswer", lambda: http.find("/x"))
    api.replies["GET /api/x"] = answer(200, ("Content-Encoding", "gzip"), body=b"\x1f\x8b")
    raised(TransientError, "BadAnswer", lambda: http.find("/x"))


def test_who_is_not_there_or_not_trusted_is_unreachable(api: Api, access: HttpAccess, tmp_path: Path) -> None:
    raised(UnreachableError, "Unreachable", lambda: Http("https://127.0.0.1:1", access).find("/x"))
    raised(UnreachableError, "Unreachable", lambda: Http("https://nowhere.invalid", access).find("/x"))
    (tmp_path / "other.pem").write_text(make_certificate("127.0.0.1")[0])
    strict = HttpAccess(access.token, ca_file=tmp_path / "other.pem")
    raised(UnreachableError, "UntrustedServer", lambda: Http(f"https://127.0.0.1:{api.port}", strict).find("/x"))
    assert api.seen == []


def test_the_environment_chooses_no_proxy_unless_that_is_allowed(
    api: Api, http: Http, access: HttpAccess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    api.replies["GET /api/x"] = (200, 1)
    assert http.find("/x") == 1
    allowed = HttpAccess(access.token, ca_file=access.ca_file, use_proxy=True)
    raised(UnreachableError, "Unreachable", lambda: Http(f"https://127.0.0.1:{api.port}/api", allowed).find("/x"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert Http(f"https://127.0.0.1:{api.port}/api", allowed).find("/x") == 1


@pytest.mark.parametrize(
    ("base", "token", "reason"),
    [
        ("http://git.example.com/api", "t", "TokenOverHttp"),
        ("https://user:pass@git.example.com", "t", "BadApiUrl"),
        ("https://git.example.com/?x=1", "t", "BadApiUrl"),
        ("https://git.example.com:99999", "t", "BadApiUrl"),
        ("file:///etc/passwd", "t", "BadApiUrl"),
        ("git.example.com", "t", "BadApiUrl"),
        ("https://git.example.com", "two\nlines", "BadToken"),
        ("https://git.example.com", "tökn", "BadToken"),
        ("https://git.example.com", "", "BadToken"),
    ],
)
def test_what_must_not_be_asked_is_refused_at_once(base: str, token: str, reason: str) -> None:
    error = raised(SpecError, reason, lambda: Http(base, HttpAccess(Secret(token, "env:T"))))
    assert "pass@" not in error.message
