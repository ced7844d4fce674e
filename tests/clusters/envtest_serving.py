"""What the programs of envtest_programs.py do once they run: etcd, kube-apiserver and kube-controller-manager."""

from __future__ import annotations

import asyncio
import base64
import csv
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.clusters.envtest_programs import VERSION, fail


def _require(flags: Mapping[str, str], *names: str) -> None:
    missing = [name for name in names if not flags.get(name)]
    if missing:
        fail(f"Error: required flag(s) {', '.join(missing)} not set")


def squat(home: Path, program: str, flags: Mapping[str, str]) -> None:
    """The first time, somebody else is quicker: a process of its own session listens on the port from now on."""
    mark = home / f"{program}.squatter"
    if mark.exists():
        return
    port = int(flags["secure-port"]) if program != "etcd" else urlsplit(flags["listen-client-urls"]).port
    script = (
        f"import socket, time; s = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen(); "
        "print('bound', flush=True); time.sleep(300)"
    )
    squatter = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert squatter.stdout is not None
    squatter.stdout.readline()
    mark.write_text(str(squatter.pid))
    fail(f"listen tcp 127.0.0.1:{port}: bind: address already in use")


def _server_context(certificate: str, key: str, client_authority: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    if client_authority:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _serve(port: int, context: ssl.SSLContext, answers: Mapping[str, str], *, ready: bool) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path, "404 page not found")
            self.send_response(404 if self.path not in answers else 200 if ready else 503)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Silent."""

    class Server(ThreadingHTTPServer):
        def finish_request(self, request: Any, client_address: Any) -> None:
            request.settimeout(10)
            with context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)

        def handle_error(self, request: Any, client_address: Any) -> None:
            print(f"http: TLS handshake error from {client_address}: {sys.exc_info()[1]}", file=sys.stderr, flush=True)

    Server(("127.0.0.1", port), Handler).serve_forever()


def _etcd(flags: Mapping[str, str], behaviour: Mapping[str, Any]) -> None:
    _require(flags, "data-dir", "listen-client-urls", "advertise-client-urls", "listen-peer-urls", "initial-cluster")
    if flags["initial-cluster"] != f"{flags['name']}={flags['initial-advertise-peer-urls']}":
        fail("--initial-cluster does not match --initial-advertise-peer-urls")
    member = Path(flags["data-dir"]) / "member"
    member.mkdir(mode=0o700, parents=True, exist_ok=True)
    starts = member / "starts"
    starts.write_text(str(int(starts.read_text() if starts.exists() else 0) + 1))
    peer = socket.create_server(("127.0.0.1", urlsplit(flags["listen-peer-urls"]).port or 0))
    _server_context(flags["peer-cert-file"], flags["peer-key-file"], flags["peer-trusted-ca-file"])
    assert flags["client-cert-auth"] == flags["peer-client-cert-auth"] == "true"
    context = _server_context(flags["cert-file"], flags["key-file"], flags["trusted-ca-file"])
    answers = {"/health": '{"health":"true","reason":""}', "/where": str(member)}
    client = urlsplit(flags["listen-client-urls"])
    assert client.scheme == "https"
    with peer:
        _serve(client.port or 0, context, answers, ready=not behaviour.get("never_ready"))


def _ask_etcd(flags: Mapping[str, str], method: str, path: str, body: Any = None) -> tuple[int, str]:
    place = urlsplit(flags["etcd-servers"])
    context = ssl.create_default_context(cafile=flags["etcd-cafile"])
    context.load_cert_chain(flags["etcd-certfile"], flags["etcd-keyfile"])
    connection = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=5, context=context)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _storage_folder(flags: Mapping[str, str]) -> Path:
    """Where objects are kept: in the data folder of our etcd; with a real one, where a key that it keeps says."""
    status, said = _ask_etcd(flags, "GET", "/where")
    if status == 200:
        return Path(said)
    assert status == 404, said
    key = base64.b64encode(b"/registry/where").decode()
    status, said = _ask_etcd(flags, "POST", "/v3/kv/range", {"key": key})
    assert status == 200, said
    for pair in json.loads(said).get("kvs", ()):
        return Path(base64.b64decode(pair["value"]).decode())
    folder = Path(os.environ["HOME"]) / f"registry-{uuid.uuid4()}"
    folder.mkdir()
    value = base64.b64encode(str(folder).encode()).decode()
    status, said = _ask_etcd(flags, "POST", "/v3/kv/put", {"key": key, "value": value})
    assert status == 200, said
    return folder


def _check_api_flags(flags: Mapping[str, str]) -> list[list[str]]:
    """What kube-apiserver checks at its start; the rows of the token file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    _require(
        flags,
        "etcd-servers",
        "service-account-issuer",
        "service-account-key-file",
        "service-account-signing-key-file",
        "authorization-mode",
        "service-cluster-ip-range",
    )
    authority = x509.load_pem_x509_certificate(Path(flags["client-ca-file"]).read_bytes())
    serving = x509.load_pem_x509_certificate(Path(flags["tls-cert-file"]).read_bytes())
    serving.verify_directly_issued_by(authority)
    private = Path(flags["service-account-signing-key-file"]).read_bytes()
    public = Path(flags["service-account-key-file"]).read_bytes()
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signer = serialization.load_pem_private_key(private, password=None)
    if signer.public_key().public_bytes(*form) != public:
        fail("service account keys do not match")
    with Path(flags["token-auth-file"]).open(newline="") as file:
        rows = list(csv.reader(file))
    if any(len(row) < 3 for row in rows) or len({row[0] for row in rows}) != len(rows):
        fail("token file must have at least 3 columns (token, user name, user uid)")
    return rows


def _api_server(flags: Mapping[str, str], behaviour: Mapping[str, Any]) -> None:
    rows = _check_api_flags(flags)
    give_up = time.monotonic() + 20
    while True:
        try:
            where = _storage_folder(flags)
            break
        except (OSError, AssertionError) as error:
            if time.monotonic() > give_up:
                fail(f"Error: error while building storage: context deadline exceeded: {error}")
            time.sleep(0.1)
    asyncio.run(_serve_api(flags, behaviour, rows, where))


async def _serve_api(
    flags: Mapping[str, str], behaviour: Mapping[str, Any], rows: list[list[str]], where: Path
) -> None:
    from reconciler.sandbox.api import Api
    from reconciler.sandbox.catalog import Catalog
    from reconciler.sandbox.cluster import Cluster
    from reconciler.sandbox.controllers import Controllers
    from reconciler.sandbox.listening import Listener, bind_port
    from reconciler.sandbox.nodes import first_changes
    from reconciler.sandbox.state import ClusterState
    from reconciler.sandbox.storage import ClusterRow, Storage

    class Files:
        server, server_key = Path(flags["tls-cert-file"]), Path(flags["tls-private-key-file"])

    administrator = next(row[0] for row in rows if len(row) > 3 and "system:masters" in row[3].split(","))
    port = int(flags["secure-port"])
    storage = Storage(where / "registry.db")
    if not storage.clusters():
        uid, created = str(uuid.uuid4()), "2024-01-01T00:00:00Z"
        row = ClusterRow("registry", uid, VERSION, port, administrator, 0, 0, "running", created, 0)
        storage.save_cluster(row)
        ClusterState(row.name, storage).commit(first_changes(row))
    (row,) = storage.clusters()
    state = ClusterState.load(row.name, storage, row.revision)
    catalog = Catalog(Path(sys.argv[0]).parent)
    cluster = Cluster(row.name, row.version, administrator, state, catalog)
    app = _Front(Api(cluster, f"127.0.0.1:{port}"), rows, administrator, flags, bool(behaviour.get("never_ready")))
    listener = Listener(app, bind_port(port), Files())  # type: ignore[arg-type]  # the two paths are all it reads
    await listener.start()
    await Controllers(cluster).run()


class _Front:
    """Lets in whoever has a token of the file, and says at /readyz whether etcd can be reached."""

    def __init__(
        self, api: Any, rows: list[list[str]], administrator: str, flags: Mapping[str, str], never_ready: bool
    ) -> None:
        self._api = api
        self._tokens = {f"Bearer {row[0]}".encode() for row in rows}
        self._as = f"Bearer {administrator}".encode()
        self._flags = flags
        self._never_ready = never_ready

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers") or ())
        known = headers.get(b"authorization") in self._tokens
        if scope.get("path") == "/readyz":
            trouble = "401" if not known else "etcd" if self._never_ready or not await self._reaches_etcd() else ""
            await send({"type": "http.response.start", "status": 200 if not trouble else 500, "headers": []})
            said = b"ok" if not trouble else f"[+]ping ok\n[-]{trouble} failed: reason withheld\n".encode()
            await send({"type": "http.response.body", "body": said})
            return
        if known:
            kept = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
            scope = {**scope, "headers": [*kept, (b"authorization", self._as)]}
        await self._api(scope, receive, send)

    async def _reaches_etcd(self) -> bool:
        try:
            return (await asyncio.to_thread(_ask_etcd, self._flags, "GET", "/health"))[0] == 200
        except (OSError, http.client.HTTPException):
            return False


def _controllers(flags: Mapping[str, str], behaviour: Mapping[str, Any]) -> None:
    from reconciler.transports.kube import KubeTransport

    _require(flags, "kubeconfig", "service-account-private-key-file", "root-ca-file", "secure-port")
    give_up = time.monotonic() + 20
    while True:
        try:
            with KubeTransport(Path(flags["kubeconfig"])) as api:
                api.version()
                assert api.get("/api/v1/namespaces/kube-system") is not None
            break
        except Exception as error:
            if time.monotonic() > give_up:
                fail(f"Error: failed to wait for apiserver being healthy: {error}")
            time.sleep(0.1)
    context = _server_context(flags["tls-cert-file"], flags["tls-private-key-file"])
    _serve(int(flags["secure-port"]), context, {"/healthz": "ok"}, ready=not behaviour.get("never_ready"))


SERVING = {"etcd": _etcd, "kube-apiserver": _api_server, "kube-controller-manager": _controllers}
