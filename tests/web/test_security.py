"""What a hostile page, name or method tries against the status page fails."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from filled_store import Filling
from flask.testing import FlaskClient

from reconciler.store.database import Database
from web.app import create_flask_app
from web.server import Served
from web.settings import PageSettings

EVERYWHERE = (
    "/",
    "/resources",
    "/static/style.css",
    "/static/live.js",
    "/api/v2/overview",
    "/nowhere",
    "/api/v2/nowhere",
)


def ask(served: Served, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
    """A raw request, so that nothing between corrects the host or the path. Status, headers, begin of the body."""
    with socket.create_connection((served.host, served.port), timeout=20) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1"))
        received = b""
        while b"\r\n\r\n" not in received:
            part = connection.recv(65536)
            assert part, received
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return int(first.split()[1]), headers, body


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_forbids_framing_sniffing_and_foreign_content(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        headers = answer.headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize("path", ["/", "/events", "/api/v2/overview", "/static/live.js"])
def test_the_served_page_guards_its_native_endpoints_as_well(
    filled: Filling, start: Callable[..., Served], path: str
) -> None:
    served = start()
    status, headers, _ = ask(served, path)
    assert status == 200
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "server" not in headers
    for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:80", "[::2]"):
        assert ask(served, path, host=host)[0] == 421, host


@pytest.mark.parametrize(
    ("bound", "allowed", "refused"),
    [
        (
            "127.0.0.1",
            ("127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080"),
            ("10.0.0.1", "evil", "", "127.0.0.2", "[::2]", "localhost."),
        ),
        ("10.1.2.3", ("10.1.2.3:80", "localhost"), ("10.1.2.4", "example.org")),
        ("0.0.0.0", ("192.168.7.7:8080", "[fe80::1]:80", "localhost"), ("example.org", "evil.0.0.0.0")),
    ],
)
def test_only_our_own_names_are_answered(bound: str, allowed: tuple[str, ...], refused: tuple[str, ...]) -> None:
    settings = PageSettings(host=bound)
    assert [host for host in allowed if not settings.allows_host(host)] == []
    assert [host for host in refused if settings.allows_host(host)] == []


def test_further_names_can_be_allowed(database: Database) -> None:
    client = create_flask_app(database, PageSettings(allowed_hosts=("Status.Example.org",))).test_client()
    assert client.get("/", headers={"Host": "status.example.org:8443"}).status_code == 200
    assert client.get("/", headers={"Host": "other.example.org"}).status_code == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/resources/Cluster/dev", "/api/v2/overview", "/static/live.js", "/nowhere"])
def test_nothing_but_reading_is_possible(filled: Filling, client: FlaskClient, path: str, method: str) -> None:
    with client.open(path, method=method, data="x") as answer:
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, HEAD"


def test_the_event_stream_takes_no_other_method(database: Database, start: Callable[..., Served]) -> None:
    served = start()
    assert ask(served, "/events", "POST")[0] == 405
    assert ask(served, "/events", "HEAD")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/resources/..%2f..%2fetc/passwd",
        "/%00",
        "/resources/%ff/%fe",
        "//evil.example/",
    ],
)
def test_no_path_leads_out_of_the_page(database: Database, start: Callable[..., Served], path: str) -> None:
    status, headers, body = ask(start(), path)
    assert status in (301, 308, 400, 404)
    assert "evil.example" not in headers.get("location", "")
    assert b"create_flask_app" not in body


def test_files_of_a_version_may_be_kept_and_pages_may_not(client: FlaskClient) -> None:
    kept = {"/static/style.css?v=1": True, "/static/style.css": False, "/": False}
    for path, is_kept in kept.items():
        with client.get(path) as answer:
            assert ("immutable" in answer.headers["Cache-Control"]) is is_kept
            assert (answer.headers["Cache-Control"] == "no-store") is not is_kept
