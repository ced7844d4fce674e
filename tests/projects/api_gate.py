"""A door in front of a cluster's API: it writes down what passes, and misbehaves on demand. TLS on both sides."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Fault = Callable[[str, str], tuple[int, Mapping[str, Any]] | None]
"""Given method and path: the answer to give instead of asking the API, or None. A status of 0 hangs up."""


@dataclass
class ApiGate:
    """Serves what `cluster` (of the sandbox's admin API) serves. passed: method and path of every request, in order."""

    cluster: Mapping[str, Any]
    passed: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    fault: Fault = lambda _method, _path: None
    delay: float = 0.0

    def writes(self) -> list[tuple[str, str]]:
        """The requests that change something, without their queries."""
        return [(method, path.partition("?")[0]) for method, path in self.passed if method not in ("GET", "HEAD")]

    def forget(self) -> None:
        """Start with nothing written down."""
        self.passed.clear()
        self.bodies.clear()

    @contextmanager
    def misbehaving(self, fault: Fault) -> Iterator[None]:
        """Answer like this for a while."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = lambda _method, _path: None

    @contextmanager
    def open(self, folder: Path) -> Iterator[Path]:
        """Serve; gives a kubeconfig that leads here."""
        certificate, key = _self_signed(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        upstream = ssl.create_default_context(cadata=self.cluster["caData"])
        server = _Server(("127.0.0.1", 0), _visitor(self, upstream))
        server.tls = context
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(_kubeconfig(server.server_address[1], certificate, self.cluster["token"])))
        kubeconfig.chmod(0o600)
        try:
            yield kubeconfig
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(30)
        try:
            with self.tls.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)  # type: ignore[arg-type]  # a socket all the same
        except (OSError, ssl.SSLError):
            pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up is not our trouble."""


def _visitor(gate: ApiGate, upstream: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class Visitor(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            port = gate.cluster["port"]
            self.behind = HTTPSConnection("127.0.0.1", port, context=upstream, timeout=30)

        def finish(self) -> None:
            self.behind.close()
            super().finish()

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            gate.passed.append((self.command, self.path))
            gate.bodies.append(body)
            if gate.delay:
                time.sleep(gate.delay)
            answer = gate.fault(self.command, self.path)
            if answer is not None and answer[0] == 0:
                self.close_connection = True
                return
            if answer is not None:
                self._give(answer[0], "application/json", json.dumps(dict(answer[1])).encode())
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            self.behind.request(self.command, self.path, body or None, headers)
            response = self.behind.getresponse()
            self._give(response.status, response.headers.get("Content-Type", ""), response.read())

        do_GET = do_PATCH = do_POST = do_PUT = do_DELETE = pass_on  # noqa: N815 - the names are the library's

        def _give(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: `passed` has it."""

    return Visitor


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gate")])
    import ipaddress

    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "gate.pem", folder / "gate.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def _kubeconfig(port: int, certificate: Path, token: str) -> dict[str, Any]:
    server = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(certificate)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gate",
        "clusters": [{"name": "gate", "cluster": server}],
        "users": [{"name": "gate", "user": {"token": token}}],
        "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "gate"}}],
    }
