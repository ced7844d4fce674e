"""etcd, kube-apiserver and kube-controller-manager as recorded contracts: a part of what they take, and no more.

`install` writes one script a program into a folder. Each takes the flags of a list below and refuses all others in its
words, checks what it is given (certificates, keys, tokens, that what it needs is reachable) as the real
one does at its start, and notes its command line in `$HOME/argv.jsonl`. kube-apiserver then serves a real sandbox API
with the given certificate and tokens; its objects lie in etcd's data folder, so what etcd loses is lost. How one
misbehaves stands in `$HOME/behave.json`: {program: {dies | never_ready | slow | ignores_term | port_taken}}.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import fcntl
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
VERSION = "1.32.0"

# What we use and a little more: of etcd as its --help (3.5) says, of the others as far as their pages were seen.
FLAGS = {
    "etcd": """
        name data-dir wal-dir snapshot-count heartbeat-interval election-timeout initial-election-tick-advance
        listen-peer-urls listen-client-urls max-snapshots max-wals quota-backend-bytes backend-bbolt-freelist-type
        backend-batch-interval backend-batch-limit max-txn-ops max-request-bytes grpc-keepalive-min-time
        grpc-keepalive-interval grpc-keepalive-timeout socket-reuse-port socket-reuse-address
        initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token advertise-client-urls
        discovery-srv discovery-srv-name strict-reconfig-check pre-vote auto-compaction-retention auto-compaction-mode
        cert-file key-file client-cert-auth client-crl-file client-cert-allowed-hostname trusted-ca-file auto-tls
        peer-cert-file peer-key-file peer-client-cert-auth peer-trusted-ca-file peer-cert-allowed-cn
        peer-cert-allowed-hostname peer-auto-tls self-signed-cert-validity peer-crl-file cipher-suites cors
        host-whitelist auth-token bcrypt-cost auth-token-ttl enable-pprof metrics listen-metrics-urls logger
        log-outputs log-level enable-log-rotation log-rotation-config-json force-new-cluster unsafe-no-fsync version""",
    "kube-apiserver": """
        admission-control-config-file advertise-address aggregator-reject-forwarding-redirect allow-metric-labels
        allow-privileged anonymous-auth api-audiences audit-log-format audit-log-maxage audit-log-maxbackup
        audit-log-maxsize audit-log-mode audit-log-path audit-policy-file audit-webhook-config-file
        authentication-config authentication-token-webhook-config-file authorization-config authorization-mode
        authorization-policy-file authorization-webhook-config-file bind-address cert-dir client-ca-file
        contention-profiling cors-allowed-origins default-not-ready-toleration-seconds
        default-unreachable-toleration-seconds default-watch-cache-size delete-collection-workers
        disable-admission-plugins disabled-metrics egress-selector-config-file enable-admission-plugins
        enable-aggregator-routing enable-bootstrap-token-auth enable-garbage-collector enable-logs-handler
        enable-priority-and-fairness encryption-provider-config encryption-provider-config-automatic-reload
        endpoint-reconciler-type etcd-cafile etcd-certfile etcd-compaction-interval etcd-count-metric-poll-period
        etcd-db-metric-poll-interval etcd-healthcheck-timeout etcd-keyfile etcd-prefix etcd-readycheck-timeout
        etcd-servers etcd-servers-overrides event-ttl external-hostname feature-gates goaway-chance help
        http2-max-streams-per-connection kubelet-certificate-authority kubelet-client-certificate kubelet-client-key
        kubelet-port kubelet-preferred-address-types kubelet-timeout kubernetes-service-node-port
        lease-reuse-duration-seconds livez-grace-period log-flush-frequency logging-format
        max-connection-bytes-per-sec max-mutating-requests-inflight max-requests-inflight min-request-timeout
        oidc-ca-file oidc-client-id oidc-groups-claim oidc-issuer-url oidc-username-claim permit-address-sharing
        permit-port-sharing profiling proxy-client-cert-file proxy-client-key-file request-timeout
        requestheader-allowed-names requestheader-client-ca-file requestheader-extra-headers-prefix
        requestheader-group-headers requestheader-username-headers runtime-config secure-port
        service-account-extend-token-expiration service-account-issuer service-account-jwks-uri
        service-account-key-file service-account-lookup service-account-max-token-expiration
        service-account-signing-key-file service-cluster-ip-range service-node-port-range
        show-hidden-metrics-for-version shutdown-delay-duration shutdown-send-retry-after
        shutdown-watch-termination-grace-period storage-backend storage-media-type strict-transport-security-directives
        tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file tls-sni-cert-key token-auth-file
        tracing-config-file v version vmodule watch-cache watch-cache-sizes""",
    "kube-controller-manager": """
        allocate-node-cidrs allow-metric-labels authentication-kubeconfig authentication-skip-lookup
        authentication-token-webhook-cache-ttl authentication-tolerate-lookup-failure
        authorization-always-allow-paths authorization-kubeconfig bind-address cert-dir cidr-allocator-type
        client-ca-file cloud-config cloud-provider cluster-cidr cluster-name cluster-signing-cert-file
        cluster-signing-duration cluster-signing-key-file concurrent-deployment-syncs concurrent-endpoint-syncs
        concurrent-gc-syncs concurrent-namespace-syncs concurrent-replicaset-syncs concurrent-statefulset-syncs
        configure-cloud-routes contention-profiling controller-start-interval controllers disabled-metrics
        enable-dynamic-provisioning enable-garbage-collector endpoint-updates-batch-period feature-gates help
        horizontal-pod-autoscaler-sync-period http2-max-streams-per-connection kube-api-burst
        kube-api-content-type kube-api-qps kubeconfig leader-elect leader-elect-lease-duration
        leader-elect-renew-deadline leader-elect-resource-lock leader-elect-resource-name
        leader-elect-resource-namespace leader-elect-retry-period log-flush-frequency logging-format master
        max-endpoints-per-slice min-resync-period namespace-sync-period node-cidr-mask-size node-eviction-rate
        node-monitor-grace-period node-monitor-period permit-address-sharing permit-port-sharing profiling
        requestheader-allowed-names requestheader-client-ca-file resource-quota-sync-period root-ca-file
        secure-port service-account-private-key-file service-cluster-ip-range show-hidden-metrics-for-version
        terminated-pod-gc-threshold tls-cert-file tls-cipher-suites tls-min-version tls-private-key-file
        use-service-account-credentials v version vmodule volume-host-allow-local-loopback""",
}


def install(folder: Path, names: Sequence[str] = PROGRAMS) -> Path:
    """Write the programs into `folder`. Schemas of the API are derived once, into it."""
    folder.mkdir(exist_ok=True)
    for name in names:
        script = folder / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.clusters.envtest_programs import main\nmain({name!r})\n"
        )
        script.chmod(0o755)
    return folder


def main(program: str) -> None:
    """Be one of them."""
    home = Path(os.environ["HOME"])
    with (home / "argv.jsonl").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        log.write(json.dumps([program, *sys.argv[1:]]) + "\n")
    behaviour = _behaviour(home, program)
    flags = _flags(program)
    if "version" in flags:
        version = behaviour.get("version", VERSION)
        print(f"Kubernetes v{version}" if program != "etcd" else "etcd Version: 3.5.16\nGit SHA: f20bbad")
        sys.exit(0)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as a Go program does that cannot write its log any more
    print(f"{program} starts", file=sys.stderr, flush=True)
    if behaviour.get("ignores_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if behaviour.get("dies"):
        _fail(behaviour["dies"])
    if behaviour.get("port_taken"):
        _squat(home, program, flags)
    time.sleep(behaviour.get("slow", 0.0))
    {"etcd": _etcd, "kube-apiserver": _api_server, "kube-controller-manager": _controllers}[program](flags, behaviour)


def _behaviour(home: Path, program: str) -> Mapping[str, Any]:
    try:
        given: Mapping[str, Any] = json.loads((home / "behave.json").read_text()).get(program, {})
    except FileNotFoundError:
        return {}
    return given


def _flags(program: str) -> dict[str, str]:
    known = set(FLAGS[program].split())
    given: dict[str, str] = {}
    for argument in sys.argv[1:]:
        name, _, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in known:
            if program == "etcd":
                print(f"flag provided but not defined: -{name}", file=sys.stderr)
                sys.exit(2)
            _fail(f"Error: unknown flag: --{name}")
        given[name] = value
    return given


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr, flush=True)
    sys.exit(1)


def _require(flags: Mapping[str, str], *names: str) -> None:
    missing = [name for name in names if not flags.get(name)]
    if missing:
        _fail(f"Error: required flag(s) {', '.join(missing)} not set")


def _squat(home: Path, program: str, flags: Mapping[str, str]) -> None:
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
    _fail(f"listen tcp 127.0.0.1:{port}: bind: address already in use")


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
        _fail("--initial-cluster does not match --initial-advertise-peer-urls")
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
        _fail("service account keys do not match")
    with Path(flags["token-auth-file"]).open(newline="") as file:
        rows = list(csv.reader(file))
    if any(len(row) < 3 for row in rows) or len({row[0] for row in rows}) != len(rows):
        _fail("token file must have at least 3 columns (token, user name, user uid)")
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
                _fail(f"Error: error while building storage: context deadline exceeded: {error}")
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
                _fail(f"Error: failed to wait for apiserver being healthy: {error}")
            time.sleep(0.1)
    context = _server_context(flags["tls-cert-file"], flags["tls-private-key-file"])
    _serve(int(flags["secure-port"]), context, {"/healthz": "ok"}, ready=not behaviour.get("never_ready"))
