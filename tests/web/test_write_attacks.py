"""What may not be written: without the token, from another site, under another name, too large, or in two meanings."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filled_store import HOSTILE, Filling
from flask.testing import FlaskClient
from write_lab import TOKEN

from reconciler.engine.runtime import Runtime
from reconciler.store.database import Database
from web.admission import LIFETIME, Admission, Allowance, foreign_origin
from web.app import MAX_BODY, create_flask_app
from web.server import Served
from web.writing import Writer

Writing = tuple[Writer, Admission]
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CLUSTER = {"metadata": {"name": "made"}, "spec": {}}
CREATE = "/api/v2/clusters"
PLACES = {"kind": "Cluster", "name": "dev", "action": "stop", "task_id": "1", "run_id": "1", "step_id": "1"}


def documents(runtime: Runtime) -> int:
    """How many documents the store keeps."""
    with runtime.database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM resources WHERE owner = 'api'").scalar_one())


def writes(database: Database, writing: Writing) -> list[tuple[str, str]]:
    """Every route that is no read, as method and path."""
    app = create_flask_app(database, None, writing)
    found = []
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:<>]+:)?(\w+)>", lambda match: PLACES.get(match[1], "x"), rule.rule)
        found += [(method, path) for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}]
    return sorted(found)


def test_no_route_writes_without_proof(filled: Filling, database: Database, writing: Writing) -> None:
    """Of the route table, so that a new route cannot be forgotten here."""
    before = documents(writing[0].runtime)
    routes = writes(database, writing)
    assert len(routes) > 15
    for method, path in routes:
        client = create_flask_app(database, None, (writing[0], Admission(TOKEN))).test_client()
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": TOKEN},
        ):
            answer = client.open(path, method=method, headers=headers, json=CLUSTER)
            if path.startswith("/api/"):
                assert answer.status_code == 401, (method, path)
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            elif path == "/sign-in":
                assert "Set-Cookie" not in answer.headers
                assert answer.status_code in (400, 401)
            else:
                assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (303, "/sign-in"), path
    assert documents(writing[0].runtime) == before


def test_the_token_writes(writable: FlaskClient, runtime: Runtime) -> None:
    assert writable.post(CREATE, json=CLUSTER, headers=BEARER).status_code == 202
    assert documents(runtime) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:9999"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Sec-Fetch-Site": "none"}, 202),
    ],
)
def test_writes_of_other_sites_are_refused_even_with_the_token(
    writable: FlaskClient, runtime: Runtime, headers: dict[str, str], status: int
) -> None:
    answer = writable.post(CREATE, json=CLUSTER, headers={**BEARER, **headers})
    assert answer.status_code == status
    assert documents(runtime) == (status == 202)
    assert not [name for name in answer.headers.keys() if name.lower().startswith("access-control")]  # noqa: SIM118


def test_an_origin_is_ours_only_as_a_whole() -> None:
    for origin in ("http://a:80.evil", "http://evil/a:80", "ftp://a:80", "http://a", "http://a:80@evil", "file://"):
        assert foreign_origin("a:80", origin, None), origin
    assert foreign_origin("a:80", "http://A:80", "same-origin") == ""


def test_no_preflight_is_answered(writable: FlaskClient) -> None:
    answer = writable.options(
        CREATE, headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert answer.status_code == 405
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("query", [f"token={TOKEN}", "access_token=x", f"q={TOKEN}", "Authorization=x"])
@pytest.mark.parametrize("path", [CREATE, "/", "/resources"])
def test_a_token_in_an_address_is_refused(writable: FlaskClient, path: str, query: str) -> None:
    assert writable.get(f"{path}?{query}").status_code == 400
    assert TOKEN not in writable.get(f"{path}?{query}").text


def body(text: str | bytes, **headers: str) -> dict[str, Any]:
    return {"data": text, "headers": {**BEARER, "Content-Type": "application/json", **headers}}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (body("{"), 400),
        (body(b"\xff\xfe"), 400),
        (body('{"metadata": {"name": "a"}, "metadata": {"name": "b"}}'), 400),
        (body('{"spec": {"agents": NaN}}'), 400),
        (body('{"spec": {"agents": 1' + "0" * 5000 + "}}"), 400),
        (body("[" * 100_000), 400),
        (body('{"spec": ' + '{"a": ' * 200 + "1" + "}" * 200 + "}"), 400),
        (body('{"metadata": {"name": "\\ud800"}}'), 400),
        (body(json.dumps({"metadata": {"name": "a"}, "spec": {"description": "x" * MAX_BODY}})), 413),
        ({"data": json.dumps(CLUSTER), "headers": BEARER}, 415),
        ({"data": json.dumps(CLUSTER), "headers": {**BEARER, "Content-Type": "text/plain"}}, 415),
        ({"data": {"a": "b"}, "headers": BEARER}, 415),
    ],
)
def test_bodies_that_cannot_be_taken(
    writable: FlaskClient, runtime: Runtime, sent: dict[str, Any], status: int
) -> None:
    answer = writable.post(CREATE, **sent)
    assert (answer.status_code, set(answer.json)) == (status, {"reason", "message"})
    assert documents(runtime) == 0


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        ([], [""]),
        ({}, ["/metadata"]),
        ({"metadata": {"name": "a"}, "spce": {}}, ["/spce"]),
        ({"metadata": {"name": "../a"}}, ["/metadata/name"]),
        ({"metadata": {"name": "a"}, "spec": {"servers": "two"}}, ["/spec/servers"]),
        ({"metadata": {"name": "a"}, "spec": {"ports": {"httpPort": 80}}}, ["/spec/ports/httpPort"]),
        ({"metadata": {"name": "a", "labels": {"a/b~c": 1}}}, ["/metadata/labels/a~1b~0c"]),
        ({"metadata": {"name": "a"}, "spec": {"surprise": 1}}, ["/spec/surprise"]),
        ({"metadata": {"name": "a"}, "kind": "Entry"}, ["/kind"]),
    ],
)
def test_what_is_wrong_is_said_with_its_field(writable: FlaskClient, sent: Any, fields: list[str]) -> None:
    answer = writable.post(CREATE, json=sent, headers=BEARER)
    assert answer.status_code == 422
    found = {one["field"] for one in answer.json["errors"]}
    assert set(fields) <= {*found, *("/metadata" for field in found if field == "")}


def secret(reference: dict[str, str]) -> dict[str, Any]:
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": reference}}
    return {"metadata": {"name": "a"}, "spec": {"manifests": [manifest]}}


def test_no_file_of_the_host_can_be_named(writable: FlaskClient, runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "password").write_text("hunter2")
    existing = {"provider": "existing", "kubeconfig": {"path": "/etc/passwd"}}
    for sent, field in (
        ({"metadata": {"name": "a"}, "spec": existing}, "/spec/kubeconfig/path"),
        ({"metadata": {"name": "a"}, "spec": {"manifests": ["../../etc/passwd"]}}, "/spec/manifests/0"),
        (secret({"fromFile": "password"}), "/spec/manifests/0/stringData/a/fromFile"),
    ):
        answer = writable.post(CREATE, json=sent, headers=BEARER)
        assert answer.status_code == 422, field
        assert [one["field"] for one in answer.json["errors"]] == [field]
        assert "a file of this host" in answer.json["message"]
    assert documents(runtime) == 0


@pytest.mark.parametrize("name", ["..", "%2e%2e%2fetc", "a%00", "A", "a" * 64, "%EF%BD%81", "a%2fstart", "dev%0a"])
def test_names_that_are_no_names_are_not_there(writable: FlaskClient, name: str) -> None:
    for method, path in (
        ("DELETE", f"{CREATE}/{name}"),
        ("POST", f"{CREATE}/{name}/start"),
        ("GET", f"/api/clusters/{name}"),
    ):
        assert writable.open(path, method=method, headers=BEARER).status_code in (404, 405, 308)


def sign_in(client: FlaskClient, **form: str) -> Any:
    return client.post("/sign-in", data={"token": TOKEN, **form})


def form_token(client: FlaskClient) -> str:
    match = re.search(r'name="form_token" value="([0-9a-f]{64})"', client.get("/new").text)
    assert match is not None
    return match[1]


def test_a_session_is_a_cookie_that_only_our_own_pages_bring(writable: FlaskClient) -> None:
    answer = sign_in(writable)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert f"Max-Age={int(LIFETIME)}" in cookie
    assert TOKEN not in cookie
    secure = writable.post("/sign-in", data={"token": TOKEN}, headers={"Origin": "https://localhost"})
    assert "Secure" in secure.headers["Set-Cookie"]


def test_a_form_without_its_token_does_nothing(writable: FlaskClient, database: Database, runtime: Runtime) -> None:
    sign_in(writable)
    other = create_flask_app(database, None, (Writer(runtime), Admission(TOKEN))).test_client()
    sign_in(other)
    filled = {"kind": "Cluster", "metadata.name": "made"}
    for wrong in ("", "0" * 64, form_token(other), "é"):
        assert writable.post("/new", data={**filled, "form_token": wrong}).status_code == 403
    assert documents(runtime) == 0
    assert writable.post("/new", data={**filled, "form_token": form_token(writable)}).status_code == 303
    assert documents(runtime) == 1


def test_a_session_writes_through_forms_only(writable: FlaskClient, runtime: Runtime) -> None:
    sign_in(writable)
    token = form_token(writable)
    assert writable.post(CREATE, json=CLUSTER).status_code == 401
    assert writable.post(CREATE, json=CLUSTER, headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert documents(runtime) == 0


def test_sessions_cannot_be_made_up_kept_or_carried_over() -> None:
    now = [1000.0]
    admission = Admission(TOKEN, lifetime=60, clock=lambda: now[0])
    cookie = admission.open_session()
    found = admission.session(cookie)
    assert found is not None
    nonce, expires, signature = cookie.split(".")
    for forged in (
        "",
        "..",
        f"{nonce}.{int(expires) + 1}.{signature}",
        f"x{nonce}.{expires}.{signature}",
        cookie[:-1],
        "é.1.2",
    ):
        assert admission.session(forged) is None
    assert Admission(f"{TOKEN}2").session(cookie) is None
    assert not admission.is_form_token(found, signature)
    now[0] += 61
    assert admission.session(cookie) is None


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "\\\\evil"]
)
def test_signing_in_leads_nowhere_else(writable: FlaskClient, target: str) -> None:
    assert sign_in(writable, next=target).headers["Location"] == "/"
    assert writable.get("/sign-in", query_string={"next": target}).headers["Location"] == "/"


def test_guessing_is_slowed_down_and_locks_nobody_out(writable: FlaskClient) -> None:
    statuses = [writable.delete(f"{CREATE}/x", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(20)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    refused = writable.delete(f"{CREATE}/x", headers={"Authorization": "Bearer x"})
    assert int(refused.headers["Retry-After"]) >= 1
    assert writable.delete(f"{CREATE}/x", headers=BEARER).status_code == 404
    assert sign_in(writable).status_code == 303


def test_an_allowance_fills_up_again() -> None:
    now = [0.0]
    allowance = Allowance(2.0, 3.0, clock=lambda: now[0])
    assert [allowance.take() for _ in range(3)] == [0.0] * 3
    assert allowance.take() == pytest.approx(0.5)
    now[0] = 0.5
    assert allowance.take() == 0.0
    now[0] = 100.0
    assert [allowance.take() > 0 for _ in range(4)] == [False, False, False, True]


def test_markup_in_what_was_written_stays_text(filled: Filling, writable: FlaskClient) -> None:
    sign_in(writable)
    token = form_token(writable)
    filled_form = {"kind": "Cluster", "form_token": token, "metadata.name": HOSTILE, "spec.description": f'"{HOSTILE}'}
    answer = writable.post("/new", data=filled_form)
    assert answer.status_code == 422
    assert "&lt;script&gt;" in answer.text
    pages = [answer.text]
    created = writable.post(
        CREATE, json={"metadata": {"name": "made"}, "spec": {"description": HOSTILE}}, headers=BEARER
    )
    assert created.status_code == 202
    pages.append(writable.get("/resources/Cluster/made").text)
    pages.append(
        writable.post(
            "/resources/Cluster/made/suspend", data={"form_token": token, "reason": "r", "until": HOSTILE}
        ).text
    )
    pages.append(writable.get(f"/sign-in?next={HOSTILE}").text)
    for page in pages:
        assert not re.search(r"<script>|<img|onerror=\S*>", page.replace("&lt;", "")) or HOSTILE not in page


def test_only_what_may_be_done_is_offered(filled: Filling, writable: FlaskClient) -> None:
    assert "<form" not in writable.get("/resources/Cluster/careful").text
    assert "Sign in" in writable.get("/").text
    sign_in(writable)
    careful = writable.get("/resources/Cluster/careful").text
    assert "Approve: update" in careful
    assert "/careful/delete" not in careful
    assert "is protected" in careful
    assert "/holiday/resume" in writable.get("/resources/Cluster/holiday").text
    assert "/holiday/suspend" not in writable.get("/resources/Cluster/holiday").text
    dev = writable.get("/resources/Cluster/dev").text
    assert "is written in" in dev
    assert "/dev/stop" not in dev
    writable.post(CREATE, json=CLUSTER, headers=BEARER)
    made = writable.get("/resources/Cluster/made").text
    assert "/made/stop" in made
    assert "/made/delete" in made


def test_deleting_needs_the_name(writable: FlaskClient) -> None:
    writable.post(CREATE, json=CLUSTER, headers=BEARER)
    assert writable.get("/resources/Cluster/made/delete").status_code == 303
    sign_in(writable)
    token = form_token(writable)
    wrong = writable.post("/resources/Cluster/made/delete", data={"form_token": token, "name": "mad"})
    assert (wrong.status_code, "Type made to delete it" in wrong.text) == (422, True)
    right = writable.post("/resources/Cluster/made/delete", data={"form_token": token, "name": "made"})
    assert right.headers["Location"].startswith("/tasks/")
    assert writable.get(right.headers["Location"]).status_code == 200


def test_a_page_that_only_reads_has_no_way_to_sign_in(client: FlaskClient) -> None:
    assert "Sign in" not in client.get("/").text
    assert client.get("/sign-in").status_code == 404
    assert client.post(CREATE, json=CLUSTER, headers=BEARER).status_code == 405


def raw(served: Served, head: str, content: bytes = b"") -> bytes:
    with socket.create_connection((served.host, served.port), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + content)
        received = b""
        while part := connection.recv(65536):
            received += part
            if b"\r\n\r\n" in received:
                return received
        return received


def test_the_real_server_bounds_what_is_sent(start: Callable[..., Served], writing: Writing) -> None:
    served = start(writing=writing)
    host = f"{served.host}:{served.port}"
    common = f"POST {CREATE} HTTP/1.1\nHost: {host}\nAuthorization: Bearer {TOKEN}\nConnection: close"
    huge = raw(served, f"{common}\nContent-Type: application/json\nContent-Length: 99999999999")
    assert huge.startswith(b"HTTP/1.1 413")
    chunked = raw(
        served, f"{common}\nContent-Type: application/json\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"
    )
    assert chunked.split()[1] in (b"400", b"411", b"422")
    text = json.dumps(CLUSTER).encode()
    good = raw(served, f"{common}\nContent-Type: application/json\nContent-Length: {len(text)}", text)
    assert good.startswith(b"HTTP/1.1 202")
