"""A real sandbox process in a home of its own, and a plain client for its clusters."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import ssl
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.errors import UnreachableError
from reconciler.sandbox.asking import ask

START_DEADLINE = 30.0


@dataclass
class ApiClient:
    """Plain HTTPS requests to one cluster, one connection each kept open."""

    cluster: dict[str, Any]
    _connection: http.client.HTTPSConnection | None = field(default=None, repr=False)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded answer; a header `Content_Type` is sent as Content-Type, Authorization unless given."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Authorization", f"Bearer {self.cluster['token']}")
        sent.setdefault("Content-Type", "application/json")
        payload = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection = self.connection()
        connection.request(method, path, payload, sent)
        response = connection.getresponse()
        text = response.read()
        self.warnings = response.headers.get_all("Warning") or []
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    def connection(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            context = ssl.create_default_context(cadata=self.cluster["caData"])
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", self.cluster["port"], context=context, timeout=30
            )
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str) -> Any:
        status, found = self.call("GET", path)
        assert status == 200, found
        return found

    def eventually(self, path: str, wanted: Any, within: float = 15.0) -> Any:
        """The object at `path` once `wanted(status, object)` is true."""
        deadline = time.monotonic() + within
        while True:
            status, found = self.call("GET", path)
            if wanted(status, found):
                return found
            assert time.monotonic() < deadline, (status, found)
            time.sleep(0.02)

    def namespace(self) -> str:
        """A new namespace of its own."""
        name = f"t-{uuid.uuid4().hex[:8]}"
        status, answer = self.call(
            "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        )
        assert status == 201, answer
        return name


@dataclass
class Sandbox:
    """The server of one home."""

    home: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "reconciler.sandbox", "serve", "--home", str(self.home), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        deadline = time.monotonic() + START_DEADLINE
        while True:
            try:
                assert self.ask("GET", "/healthz")[1]["pid"] == self.process.pid
                return
            except UnreachableError:
                assert self.process.poll() is None, self.process.communicate()[0].decode()
                assert time.monotonic() < deadline, "the sandbox did not answer"
                time.sleep(0.01)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return ask(self.home, method, path, body, timeout=30)

    def create(self, name: str, **wish: Any) -> dict[str, Any]:
        status, cluster = self.ask("PUT", f"/clusters/{name}", {"version": "1.32.0", **wish})
        assert status in (200, 201), cluster
        return dict(cluster)

    def kill(self, number: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "reconciler.sandbox", arguments[0], "--home", str(self.home), *arguments[1:]]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill(signal.SIGTERM)


def write_kubeconfig(path: Path, cluster: dict[str, Any]) -> Path:
    """A kubeconfig for a CLUSTER of the admin API."""
    authority = base64.b64encode(cluster["caData"].encode()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sandbox",
        "clusters": [
            {"name": "sandbox", "cluster": {"server": cluster["server"], "certificate-authority-data": authority}}
        ],
        "users": [{"name": "sandbox", "user": {"token": cluster["token"]}}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
    }
    path.write_text(json.dumps(content))
    return path
