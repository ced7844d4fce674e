"""A real HAProxy on ports of the loopback address, and what stands behind it. Used by the tests here.

Its file is like the predecessor's: two frontends, hosts of the management routed by hand, our regions between. It runs
as Debian's unit runs it, as a master with a worker and a master socket.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import UnreachableError
from reconciler.kinds.cluster.haproxy.gateway import Gateway, gateway_of
from reconciler.kinds.cluster.haproxy.master import Master
from reconciler.transports.process import ProcessRunner

BASE_DOMAIN = "192.168.51.30.sslip.io"
PROGRAM = shutil.which("haproxy") or "/usr/sbin/haproxy"
needs_haproxy = pytest.mark.skipif(not Path(PROGRAM).exists(), reason="haproxy is not installed")
NOT_FOUND = (404, "404 Not Found - Domain not configured in HAProxy\n")
"""What it answers for a host that nothing says anything about."""
REGIONS = """\
  # BEGIN DYNAMIC ACL (managed by scripts/haproxy_route.sh)
  # END DYNAMIC ACL
  # BEGIN DYNAMIC USE_BACKEND (managed by scripts/haproxy_route.sh)
  # END DYNAMIC USE_BACKEND
"""
_FILE = """\
global
  stats socket {folder}/stats.sock mode 600 level admin expose-fd listeners

defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s

frontend fe_http
  bind 127.0.0.1:{http}
  acl host_portainer  hdr_reg(host) -i ^portainer\\.devops\\.[^:]+
{regions}
  use_backend be_portainer if host_portainer
  default_backend be_default_404

frontend fe_https
  bind 127.0.0.1:{https}
{regions}
  default_backend be_default_404

# BEGIN DYNAMIC BACKENDS (managed by scripts/haproxy_route.sh)
# END DYNAMIC BACKENDS

backend be_portainer
  server s1 127.0.0.1:{portainer}

backend be_default_404
  http-request return status 404 content-type text/plain string "404 Not Found - Domain not configured in HAProxy\\n"
"""


@dataclass
class BareContext:
    """What of a `kind.Context` the code for HAProxy needs outside of a step."""

    said: list[str] = field(default_factory=list)
    deadline: float = 30.0

    @property
    def process(self) -> ProcessRunner:
        """External commands, as everywhere."""
        return ProcessRunner()

    def log(self, text: str) -> None:
        """Kept for the test."""
        self.said.append(text)

    def sleep(self, seconds: float) -> None:
        """Really."""
        time.sleep(seconds)


class HaproxyLab:
    """An HAProxy with a folder of its own. portainer: port of what stands behind the one host routed by hand."""

    def __init__(self, folder: Path, portainer: int = 9) -> None:
        self.folder = folder
        self.http, self.https = free_ports(2)
        self.file = folder / "haproxy.cfg"
        self.socket = folder / "master.sock"
        self.file.write_text(file_text(folder, self.http, self.https, portainer))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The section `haproxy` of the kind's settings."""
        return {
            "file": str(self.file),
            "baseDomain": BASE_DOMAIN,
            "program": PROGRAM,
            "reload": {"masterSocket": str(self.socket)},
            "timeout": "20s",
        }

    def gateway(self, **more: Any) -> Gateway:
        """It, with other settings where a test needs them."""
        return gateway_of({"haproxy": {**self.settings, **more}})

    @property
    def text(self) -> str:
        """Its file."""
        return self.file.read_text()

    @property
    def pid(self) -> int:
        """The master process."""
        assert self._process is not None
        return self._process.pid

    def worker(self) -> int:
        """The process that takes connections."""
        (worker,) = Master(self.socket).processes(10).workers
        return worker

    def start(self) -> None:
        """Start it and wait until it listens."""
        tied_to_us = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with (self.folder / "haproxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*tied_to_us, PROGRAM, "-W", "-S", str(self.socket), "-f", str(self.file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + 30
        while not (is_open(self.http) and self._is_ready()):
            assert self._process.poll() is None, (self.folder / "haproxy.log").read_text()
            assert time.monotonic() < give_up, (self.folder / "haproxy.log").read_text()
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return bool(Master(self.socket).processes(10).workers)
        except UnreachableError:
            return False

    def stop(self) -> None:
        """End it with its workers."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(20)
            self._process = None

    def get(self, host: str, port: int | None = None) -> tuple[int, str]:
        """Status and body of a request for a host."""
        return get(port or self.http, host)


def file_text(folder: Path, http: int, https: int, portainer: int = 9) -> str:
    """A file without routes."""
    regions = REGIONS.rstrip("\n")
    return _FILE.format(folder=folder, http=http, https=https, portainer=portainer, regions=regions)


def get(port: int, host: str) -> tuple[int, str]:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(folder: Path, portainer: int = 9) -> Iterator[HaproxyLab]:
    """An HAProxy that runs inside."""
    lab = HaproxyLab(folder, portainer)
    lab.start()
    try:
        yield lab
    finally:
        lab.stop()


@contextmanager
def serving(names: Sequence[str]) -> Iterator[dict[str, int]]:
    """An HTTP server for each name that says `Hostname: NAME`, as whoami does; their ports."""
    servers = {name: ThreadingHTTPServer(("127.0.0.1", 0), _whoami(name)) for name in names}
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers.values()]
    for thread in threads:
        thread.start()
    try:
        yield {name: server.server_port for name, server in servers.items()}
    finally:
        for server in servers.values():
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def _whoami(name: str) -> type[BaseHTTPRequestHandler]:
    class Whoami(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"Hostname: {name}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            del format, arguments

    return Whoami
