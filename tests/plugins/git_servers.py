"""Servers that give out repositories as real ones do: smart HTTP through git's own backend, and ssh."""

from __future__ import annotations

import base64
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass
class Served:
    """A server that runs. login: what it asks for, as `user:password`. seen: what was asked for, with who asked.

    broken: answer everything with this status. redirect: send everybody there instead. delay: seconds before an answer.
    """

    url: str
    login: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    broken: int = 0
    redirect: str = ""
    delay: float = 0.0


@contextmanager
def smart_http(root: Path, login: str = "", certificate: Path | None = None) -> Iterator[Served]:
    """Repositories below `root` at http(s)://localhost:PORT/NAME. certificate: with its key, in one PEM file."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    server.daemon_threads = True
    scheme = "http"
    if certificate is not None:
        scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    served = Served(f"{scheme}://localhost:{server.server_port}", login)
    server.served = served  # type: ignore[attr-defined]  # what the requests need
    server.root = root  # type: ignore[attr-defined]  # likewise
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Backend(BaseHTTPRequestHandler):
    """Needs `served` and `root` of its server."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        served: Served = self.server.served  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        login = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        served.seen.append((self.path, login))
        until = time.monotonic() + served.delay
        while served.delay and time.monotonic() < until:
            time.sleep(0.02)
        if served.redirect:
            self._answer(302, [("Location", served.redirect + self.path)], b"")
        elif served.broken:
            self._answer(served.broken, [], b"this is broken\x1b[31m")
        elif served.login and login != served.login:
            self._answer(401, [("WWW-Authenticate", 'Basic realm="test"')], b"")
        else:
            self._run(body)

    def _run(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environ = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),  # type: ignore[attr-defined]
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environ, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().splitlines()]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        self._answer(status, [(name, value) for name, value in headers if name != "Status"], content)

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@dataclass(frozen=True)
class Ssh:
    """An sshd on loopback. key: that it lets in. known_hosts: that vouches for it."""

    port: int
    key: Path
    known_hosts: Path

    def url(self, repository: Path) -> str:
        """The address of a repository."""
        return f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}{repository}"


@contextmanager
def ssh_server(folder: Path) -> Iterator[Ssh]:
    """An sshd with keys of its own."""
    assert SSHD is not None
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kept[0]} {kept[1]}\n")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation insists on it
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL)
    try:
        _await_port(port)
        yield Ssh(port, folder / "user", folder / "known_hosts")
    finally:
        process.terminate()
        process.wait(10)


def _await_port(port: int) -> None:
    give_up = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < give_up, "sshd did not start"
            time.sleep(0.02)
