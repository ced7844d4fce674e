"""The Kubernetes transport: what goes over the wire, and what each answer means."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tls_api import TOKEN, Api, make_certificate

from reconciler.errors import BlockedError, ReconcilerError, TerminalError, TransientError, UnreachableError
from reconciler.transports.kube import KubeconfigPolicy, KubeTransport

CORE = {
    "kind": "APIResourceList",
    "resources": [
        {"name": "configmaps", "kind": "ConfigMap", "namespaced": True},
        {"name": "secrets", "kind": "Secret", "namespaced": True},
        {"name": "namespaces", "kind": "Namespace", "namespaced": False},
        {"name": "namespaces/finalize", "kind": "Namespace", "namespaced": False},
    ],
}
MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
PLACE = "/api/v1/namespaces/default/configmaps/a"


@pytest.fixture
def kube(api: Api, tmp_path: Path) -> Any:
    api.replies["GET /api/v1"] = (200, CORE)
    with KubeTransport(api.kubeconfig(tmp_path), timeout=2.0) as transport:
        yield transport


def test_importing_it_costs_no_kubernetes_client() -> None:
    script = "import sys, reconciler.transports.kube; print([m for m in ('kubernetes', 'urllib3') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_reads_version_and_readiness(api: Api, kube: KubeTransport) -> None:
    api.replies |= {"GET /version": (200, {"gitVersion": "v1.31.5"}), "GET /readyz": (200, b"ok")}
    assert kube.version() == "1.31.5"
    assert kube.ready()
    api.replies["GET /readyz"] = (500, b"[-]etcd failed")
    assert not kube.ready()


def test_all_requests_share_one_connection(api: Api, kube: KubeTransport) -> None:
    api.replies["GET /x"] = (200, {"kind": "X"})
    for _ in range(5):
        assert kube.get("/x") == {"kind": "X"}
    assert len(api.connections) == 1


def test_a_stale_connection_is_replaced(api: Api, kube: KubeTransport) -> None:
    def answer_and_hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")
        handler.close_connection = True

    api.replies["GET /x"] = answer_and_hang_up
    for _ in range(3):
        assert kube.get("/x") == {}
        time.sleep(0.05)
    assert len(api.connections) == 3


def test_lists_follow_every_page(api: Api, kube: KubeTransport) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        following = "continue=next" not in handler.path
        names = ["a", "b"] if following else ["c"]
        token = b'"continue": "next"' if following else b""
        items = ",".join(f'{{"metadata": {{"name": "{name}"}}}}' for name in names).encode()
        body = b'{"kind": "PodList", "apiVersion": "v1", "metadata": {' + token + b'}, "items": [' + items + b"]}"
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    api.replies["GET /api/v1/pods"] = page
    found = kube.list("/api/v1/pods", label_selector="a=b,c")
    assert [entry["metadata"]["name"] for entry in found] == ["a", "b", "c"]
    assert {(entry["kind"], entry["apiVersion"]) for entry in found} == {("Pod", "v1")}
    assert "labelSelector=a%3Db%2Cc" in api.seen[0][1]


def test_paths_come_from_discovery_which_is_asked_once(api: Api, kube: KubeTransport) -> None:
    assert kube.resource_path("v1", "ConfigMap", "x", "a") == "/api/v1/namespaces/x/configmaps/a"
    assert kube.resource_path("v1", "ConfigMap", "", "a") == PLACE
    assert kube.resource_path("v1", "ConfigMap") == "/api/v1/configmaps"
    assert kube.resource_path("v1", "Namespace", "ignored", "a/b") == "/api/v1/namespaces/a%2Fb"
    assert [path for _, path, _ in api.seen] == ["/api/v1"]


def test_a_type_that_is_not_known_yet_is_looked_up_again(api: Api, kube: KubeTransport) -> None:
    with pytest.raises(TransientError, match=r"no Widget of example.com/v1") as caught:
        kube.resource_path("example.com/v1", "Widget", "", "w")
    assert caught.value.reason == "UnknownType"
    known = {"resources": [{"name": "widgets", "kind": "Widget", "namespaced": True}]}
    api.replies["GET /apis/example.com/v1"] = (200, known)
    assert kube.resource_path("example.com/v1", "Widget", "", "w").endswith("/namespaces/default/widgets/w")


def test_apply_is_server_side_and_ours(api: Api, kube: KubeTransport) -> None:
    api.replies[f"PATCH {PLACE}"] = (200, {"kind": "ConfigMap"})
    manifest = {**MANIFEST, "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}}
    assert kube.apply(manifest, force=True) == {"kind": "ConfigMap"}
    method, path, body = api.seen[-1]
    assert (method, path) == ("PATCH", f"{PLACE}?fieldManager=reconciler&force=true")
    assert body == MANIFEST, "managedFields are the server's"


def test_absent_objects_are_none_and_deleting_them_is_no_error(api: Api, kube: KubeTransport) -> None:
    assert kube.get(PLACE) is None
    assert kube.delete(PLACE) is False
    api.replies[f"DELETE {PLACE}"] = (200, {"kind": "Status"})
    assert kube.delete(PLACE) is True
    assert api.seen[-1][2]["propagationPolicy"] == "Background"


CONFLICT = {
    "message": "Apply failed with 1 conflict",
    "details": {
        "causes": [
            {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".data.k"}
        ]
    },
}
TERMINATING = {"message": "being terminated", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}
MEANINGS: list[tuple[int, Any, type[ReconcilerError], str, str]] = [
    (400, {"message": "bad field"}, TerminalError, "Rejected", "bad field"),
    (401, {}, TerminalError, "Unauthorized", "not accepted"),
    (403, {"message": "cannot patch"}, TerminalError, "Forbidden", "applying ConfigMap a: cannot patch"),
    (403, TERMINATING, TransientError, "NamespaceTerminating", "terminated"),
    (404, {"message": "namespaces not found"}, TransientError, "NotFound", "namespaces not found"),
    (409, CONFLICT, BlockedError, "Conflict", r'\.data\.k conflict with "kubectl"'),
    (409, {"message": "already exists"}, BlockedError, "Conflict", "already exists"),
    (410, {}, TransientError, "Expired", "410"),
    (422, {"message": "spec invalid"}, TerminalError, "Rejected", "spec invalid"),
    (429, {"message": "slow down"}, TransientError, "ServerError", "slow down"),
    (500, b"<html>", TransientError, "ServerError", "500"),
    (503, {"message": "not yet", "details": None}, TransientError, "ServerError", "not yet"),
]


@pytest.mark.parametrize(("status", "answer", "error", "reason", "says"), MEANINGS)
def test_what_each_answer_means(
    api: Api, kube: KubeTransport, status: int, answer: Any, error: type[ReconcilerError], reason: str, says: str
) -> None:
    api.replies[f"PATCH {PLACE}"] = (status, answer)
    with pytest.raises(error, match=says) as caught:
        kube.apply(MANIFEST)
    assert type(caught.value) is error
    assert caught.value.reason == reason


def test_secret_values_never_stand_in_errors(api: Api, kube: KubeTransport) -> None:
    place = "/api/v1/namespaces/default/secrets/s"
    message = 'Secret "s" is invalid: data: Invalid value: "aHVudGVyMg==" (hunter2), also "plain words" and hunter2x'
    api.replies[f"PATCH {place}"] = (422, {"message": message})
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": "aHVudGVyMg=="},
        "stringData": {"b": "plain words", "c": ""},
    }
    with pytest.raises(TerminalError) as caught:
        kube.apply(manifest)
    for value in ("hunter2", "aHVudGVyMg", "plain words"):
        assert value not in caught.value.message
    assert 'Secret "s" is invalid' in caught.value.message


def test_wrong_credentials_are_terminal_and_not_shown(api: Api, tmp_path: Path) -> None:
    with KubeTransport(api.kubeconfig(tmp_path, token="wrong-token"), timeout=2.0) as kube:
        with pytest.raises(TerminalError, match="not accepted") as caught:
            kube.version()
        with pytest.raises(TerminalError, match="not accepted"):
            kube.ready()
    assert "wrong-token" not in caught.value.message


def test_nobody_listening_is_unreachable(api: Api, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        api.port = taken.getsockname()[1]
        with KubeTransport(api.kubeconfig(tmp_path)) as kube, pytest.raises(UnreachableError, match="refused"):
            kube.version()


def test_another_certificate_is_unreachable_and_says_why(api: Api, tmp_path: Path) -> None:
    other, _ = make_certificate("127.0.0.1")
    with KubeTransport(api.kubeconfig(tmp_path, ca=other)) as kube, pytest.raises(UnreachableError) as caught:
        kube.version()
    assert caught.value.reason == "UntrustedServer"
    assert not api.seen, "no credential was sent"


def test_another_name_in_the_certificate_is_unreachable(api: Api, tmp_path: Path) -> None:
    with KubeTransport(api.kubeconfig(tmp_path, host="localhost")) as kube, pytest.raises(UnreachableError) as caught:
        kube.version()
    assert caught.value.reason == "UntrustedServer"
    assert not api.seen


def test_a_server_that_says_nothing_is_unreachable_in_time(api: Api, tmp_path: Path) -> None:
    api.replies["GET /version"] = lambda handler: time.sleep(3)
    started = time.monotonic()
    with KubeTransport(api.kubeconfig(tmp_path), timeout=0.5) as kube, pytest.raises(UnreachableError, match=r"0.5 s"):
        kube.version()
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_dribbles_is_unreachable_in_time(api: Api, tmp_path: Path, part: str) -> None:
    ended = threading.Event()

    def dribble(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n" + (b"\r\n" if part == "body" else b"X: "))
        for _ in range(60):
            if ended.wait(0.1):
                break
            handler.wfile.write(b" ")
            handler.wfile.flush()
        handler.close_connection = True

    api.replies["GET /version"] = dribble
    started = time.monotonic()
    with KubeTransport(api.kubeconfig(tmp_path), timeout=0.6) as kube, pytest.raises(UnreachableError):
        kube.version()
    ended.set()
    assert time.monotonic() - started < 4


def test_an_answer_that_is_cut_off_is_unreachable(api: Api, kube: KubeTransport) -> None:
    def cut_off(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
        handler.close_connection = True

    api.replies["GET /x"] = cut_off
    with pytest.raises(UnreachableError):
        kube.get("/x")


def test_something_else_on_the_port_is_unreachable(api: Api, kube: KubeTransport) -> None:
    api.replies["GET /x"] = (200, b"<html>welcome</html>")
    with pytest.raises(UnreachableError, match="does not answer in JSON"):
        kube.get("/x")


def test_redirects_are_not_followed(api: Api, kube: KubeTransport) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"https://127.0.0.1:{api.port}/other")
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    api.replies["GET /x"] = redirect
    with pytest.raises(TerminalError):
        kube.get("/x")
    assert [path for _, path, _ in api.seen] == ["/x"]


def test_a_client_certificate_is_presented(api: Api, tmp_path: Path) -> None:
    """The key passes through memory only: nothing is written next to the kubeconfig."""
    certificate, key = make_certificate("127.0.0.1")
    document = json.loads(api.kubeconfig(tmp_path).read_text())
    document["users"][0]["user"] |= {
        "client-certificate-data": b64encode(certificate.encode()).decode(),
        "client-key-data": b64encode(key.encode()).decode(),
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(document))
    before = sorted(tmp_path.iterdir())
    api.replies["GET /version"] = (200, {"gitVersion": "v1.30.0"})
    with KubeTransport(tmp_path / "kubeconfig") as kube:
        assert kube.version() == "1.30.0"
    assert sorted(tmp_path.iterdir()) == before
    document["users"][0]["user"]["client-key-data"] = b64encode(b"no key").decode()
    (tmp_path / "kubeconfig").write_text(json.dumps(document))
    with KubeTransport(tmp_path / "kubeconfig") as kube, pytest.raises(TerminalError, match="no usable PEM"):
        kube.version()


def test_threads_share_a_transport(api: Api, kube: KubeTransport) -> None:
    api.replies["GET /x"] = (200, {"kind": "X"})
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(kube.get("/x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [{"kind": "X"}] * 8


def test_a_program_gives_credentials_only_where_it_is_allowed(api: Api, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        '#!/bin/sh\ntest "$1$EXTRA" = ab || exit 7\n'
        f"""echo '{{"kind": "ExecCredential", "status": {{"token": "{TOKEN}"}}}}'\n"""
    )
    plugin.chmod(0o755)
    path = api.kubeconfig(tmp_path)
    document = json.loads(path.read_text())
    program: dict[str, Any] = {"command": str(plugin), "args": ["a"], "env": [{"name": "EXTRA", "value": "b"}]}
    document["users"][0]["user"] = {"exec": program}
    path.write_text(json.dumps(document))
    api.replies["GET /version"] = (200, {"gitVersion": "v1.30.0"})
    with pytest.raises(TerminalError, match="would run a program"):
        KubeTransport(path)
    with KubeTransport(path, policy=KubeconfigPolicy(allow_exec=True)) as kube:
        assert kube.version() == "1.30.0"
    program["args"] = []
    path.write_text(json.dumps(document))
    with pytest.raises(UnreachableError, match="ended with 7"):
        KubeTransport(path, policy=KubeconfigPolicy(allow_exec=True))
    program["command"] = "/bin/echo"
    path.write_text(json.dumps(document))
    with pytest.raises(TerminalError, match="ExecCredential"):
        KubeTransport(path, policy=KubeconfigPolicy(allow_exec=True))
