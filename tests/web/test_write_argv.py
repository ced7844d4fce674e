"""Row 0-27 on kind and k3d: whoever asks for a cluster, the tools are asked the same, word for word."""

from __future__ import annotations

import re
from collections.abc import Callable
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest

from tests.clusters.docker_lab import DockerLab, docker_cluster
from tests.daemon.lab import Daemon, until
from tests.web.write_lab import Answer, Api, api_of, token_of

PORTS = {"httpPort": 28190, "httpsPort": 28191, "pfPort": 28192}
SHARED = "docker network create k3d-shared"
"""Made once a host, by whichever cluster is the first, and kept."""


class Page:
    """A browser without scripts that is signed in."""

    def __init__(self, daemon: Daemon, token: str) -> None:
        self._api = Api(daemon.url, "")
        answer = self._send("/sign-in", token=token)
        cookie = SimpleCookie(answer.headers["set-cookie"])
        self._cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in cookie.items())

    def send(self, path: str, **fields: str) -> str:
        """Send a form of the page; where that leads."""
        token = re.search(r'name="form_token" value="(\w+)"', self._api.ask("GET", "/new", Cookie=self._cookie).body)
        assert token is not None
        answer = self._send(path, self._cookie, form_token=token[1], **fields)
        assert answer.status == 303, answer
        return answer.headers["location"]

    def _send(self, path: str, cookie: str = "", **fields: str) -> Answer:
        kind = "application/x-www-form-urlencoded"
        return self._api.ask("POST", path, urlencode(fields).encode(), Content_Type=kind, Cookie=cookie)


@pytest.mark.parametrize("provider", ["k3d", pytest.param("kind", marks=pytest.mark.soak)])
def test_row_0_27_the_tools_are_asked_the_same_whoever_asks(docker: DockerLab, provider: str) -> None:
    """The same spec by file, command line, API and page, created and deleted, one after the other; kind in the soak."""
    daemon = docker.daemon()
    api, page = api_of(docker, daemon), Page(daemon, token_of(docker))
    spec = {"provider": provider, "ports": PORTS}
    settings = [f"--set=ports.{name}={port}" for name, port in PORTS.items()]
    fields = {f"spec.ports.{name}": str(port) for name, port in PORTS.items()}

    def remove_file() -> None:
        docker.write("dev.yaml", docker_cluster("dev", provider, {"state": "absent"}, ports=PORTS))

    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "file": (lambda: docker.write("dev.yaml", docker_cluster("dev", provider, ports=PORTS)), remove_file),
        "command": (
            lambda: docker.ok("create", "cluster", "dev", "--provider", provider, *settings, "--no-apply"),
            lambda: docker.ok("delete", "Cluster/dev", "--yes", "--no-apply"),
        ),
        "API": (
            lambda: api.ended(api.ask("POST", "/api/v2/clusters", {"metadata": {"name": "dev"}, "spec": spec})),
            lambda: api.ask("DELETE", "/api/v2/clusters/dev"),
        ),
        "page": (
            lambda: page.send("/new", kind="Cluster", **{"metadata.name": "dev", "spec.provider": provider}, **fields),
            lambda: page.send("/resources/Cluster/dev/delete", name="dev"),
        ),
    }
    asked: dict[str, list[str]] = {}
    for way, (create, delete) in ways.items():
        create()
        docker.await_ready("Cluster/dev")
        delete()
        until(lambda: docker.row("dev") is None and docker.made_names() == [], lambda: docker.status("Cluster/dev"))
        if way == "file":
            docker.await_reason("Cluster/dev", "Absent")
            (docker.specs / "dev.yaml").unlink()
            until(lambda: docker.status("Cluster/dev")["vanished_at"])
        else:
            until(lambda: not docker.status("Cluster/dev"))
        lines = [line for line in docker.changing() if not line.startswith(SHARED)]
        asked[way] = [re.sub(r"--config \S+", "--config FILE", line) for line in lines]
        docker.forget_log()
    assert any(f"{provider} " in line and " create" in line for line in asked["file"]), asked
    assert any(f"{provider} " in line and " delete" in line for line in asked["file"]), asked
    assert asked["file"] == asked["command"] == asked["API"] == asked["page"]
