"""Attack 12: webhooks that are unsigned, malformed, huge, slow, or sent twice."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import urllib.parse
from collections.abc import Mapping

import pytest
from git_lab import Repository, document
from place import wait_for
from stage import Daemon, Stage

SECRET = "s3cret-of-the-webhook"
PATH = "/api/v2/webhooks/git"


@pytest.fixture
def daemon(stage: Stage) -> Daemon:
    repository = Repository(stage.root / "origin.git")
    repository.commit({"a.yaml": document("one")})
    secret = stage.root / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    stage.more = {"RECONCILER_GIT_WEBHOOK_SECRET_FILE": str(secret), "RECONCILER_GIT_INTERVAL": "1h"}
    return stage.git_daemon(repository.url)


def ask(daemon: Daemon, body: bytes, headers: Mapping[str, str], method: str = "POST") -> int:
    place = urllib.parse.urlsplit(daemon.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        connection.request(method, PATH, body, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


def signature(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_what_is_not_signed_with_our_secret_is_refused(daemon: Daemon) -> None:
    body = b'{"ref": "refs/heads/main"}'
    good = signature(body)
    refused = [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": good[:-1]},
        {"X-Hub-Signature-256": good.removeprefix("sha256=")},
        {"X-Hub-Signature-256": good.upper()},
        {"X-Hub-Signature-256": signature(body + b" ")},
        {"X-Hub-Signature-256": signature(body, "")},
        {"X-Hub-Signature-256": signature(body, "another")},
        {"X-Hub-Signature": "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()},
        {"X-Gitlab-Token": ""},
        {"X-Gitlab-Token": SECRET[:-1]},
        {"X-Gitlab-Token": "\xff" * 100},
        {"Authorization": f"Bearer {SECRET}"},
    ]
    assert [ask(daemon, body, headers) for headers in refused] == [401] * len(refused)
    assert ask(daemon, body, {"X-Hub-Signature-256": good}) == 202
    assert SECRET not in daemon.said


def test_nothing_in_the_body_is_believed_or_even_read(daemon: Daemon) -> None:
    for body in (b"", b"\0" * 1000, b'{"repository": {"clone_url": "ext::sh -c id"}}', b"[" * 100_000):
        assert ask(daemon, body, {"X-Hub-Signature-256": signature(body)}) == 202
    assert daemon.get("/healthz")[0] == 200


def test_a_huge_body_is_refused_before_it_came(daemon: Daemon) -> None:
    place = urllib.parse.urlsplit(daemon.url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=30) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 99999999999\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_huge_body_without_a_length_is_cut_off(daemon: Daemon) -> None:
    place = urllib.parse.urlsplit(daemon.url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=30) as connection:
        connection.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: {place.netloc}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        try:
            for _ in range(40):
                connection.sendall(chunk)
        except OSError:  # it hung up
            return
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_other_methods_and_other_hosts_are_refused(daemon: Daemon) -> None:
    signed = {"X-Hub-Signature-256": signature(b"")}
    assert {ask(daemon, b"", signed, method) for method in ("GET", "PUT", "DELETE", "PATCH")} <= {401, 404, 405}
    assert ask(daemon, b"", {**signed, "Host": "evil.example.com"}) == 421


def test_replaying_one_many_times_costs_few_fetches(stage: Stage, daemon: Daemon) -> None:
    signed = {"X-Hub-Signature-256": signature(b"{}")}
    assert {ask(daemon, b"{}", signed) for _ in range(50)} == {202}
    wait_for(lambda: daemon.get("/readyz")[0] == 200)
    assert stage.rows("SELECT count(*) AS number FROM events WHERE reason = 'Fetched'") == [{"number": 1}]
