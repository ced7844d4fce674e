"""A real TLS server that answers as it is told, for what no well-behaved API server does."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TOKEN = "test-token-of-the-api"

Reply = tuple[int, Any] | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Api:
    """One server. replies: by `METHOD path` without its query; seen: requests as (method, path with query, body)."""

    port: int
    ca: str
    replies: dict[str, Reply] = field(default_factory=dict)
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)

    def kubeconfig(self, folder: Path, *, ca: str | None = None, host: str = "127.0.0.1", token: str = TOKEN) -> Path:
        """A kubeconfig for it in `folder`."""
        encoded = base64.b64encode((ca or self.ca).encode()).decode()
        document = {
            "clusters": [
                {
                    "name": "t",
                    "cluster": {"server": f"https://{host}:{self.port}", "certificate-authority-data": encoded},
                }
            ],
            "users": [{"name": "t", "user": {"token": token}}],
            "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
            "current-context": "t",
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(document))
        return path


def make_certificate(*hosts: str) -> tuple[str, str]:
    """A self-signed certificate and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test api")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), private.decode()


class Server(ThreadingHTTPServer):
    """Threads are waited for, so that none outlives its test."""

    daemon_threads = False
    block_on_close = True
    api: Api

    def __init__(self, *args: Any) -> None:
        self.ending = threading.Event()
        super().__init__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    server: Server
    wbufsize = -1

    def _reply(self) -> None:
        api = self.server.api
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        api.seen.append((self.command, self.path, body))
        api.connections.add(self.client_address)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            reply: Reply = (401, {"message": "Unauthorized"})
        else:
            reply = api.replies.get(f"{self.command} {self.path.partition('?')[0]}", (404, {"message": "not found"}))
        if callable(reply):
            reply(self)
            return
        status, value = reply
        sent = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_PATCH = do_DELETE = _reply  # noqa: N815 - the names that http.server calls

    def log_message(self, *args: Any) -> None:
        """Silent."""
