"""A daemon over a sandbox, and a client of its API: what the tests of the write API share."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.clusters.sandbox_lab import SandboxLab
from tests.daemon.lab import Daemon, until

TOKEN = "a-token-that-nobody-guesses-for-these-tests-1"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API. body: parsed where it is JSON, else as text."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Api:
    """A client that says no more than it is told to. token: "" for none."""

    url: str
    token: str
    extra: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request. body: bytes are sent as they are, anything else as JSON."""
        place = urlsplit(self.url)
        sent = {**self.extra, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        content = body if isinstance(body, bytes) else None
        if body is not None and content is None:
            content = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        try:
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            found = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        is_json = found.get("content-type", "").startswith("application/json")
        return Answer(answer.status, found, json.loads(text) if is_json else text)

    def task(self, accepted: Answer) -> dict[str, Any]:
        """The task that an answer speaks of."""
        return self.ask("GET", accepted.headers["location"]).body

    def ended(self, accepted: Answer) -> dict[str, Any]:
        """The same once it is over, or blocked."""
        assert accepted.status == 202, accepted
        return until(
            lambda: task if (task := self.task(accepted))["state"] not in ("pending", "running") else None,
            lambda: self.task(accepted),
        )


def document(name: str, lifecycle: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """The body that creates a sandbox cluster."""
    found: dict[str, Any] = {"metadata": {"name": name}, "spec": {"provider": "sandbox", **spec}}
    return found | ({"lifecycle": lifecycle} if lifecycle else {})


def token_of(lab: SandboxLab) -> str:
    """The token of the lab's home."""
    return (lab.home / "api-token").read_text().strip()


def api_of(lab: SandboxLab, daemon: Daemon) -> Api:
    """A client of a daemon that may write."""
    return Api(daemon.url, token_of(lab))
