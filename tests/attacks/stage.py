"""A stage for attacks: a place with daemons, their page, and the sandbox that they start."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forking import Forked
from place import PLUGINS, Place, wait_for

HERE = Path(__file__).parent
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal may obey: every control character beside tab and line feed."""


@dataclass
class Daemon:
    """A running daemon and what it said so far."""

    process: Forked
    output: Path

    @property
    def said(self) -> str:
        """Everything that it printed."""
        return self.output.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    @property
    def url(self) -> str:
        """The page's address."""
        wait_for(lambda: "page: " in self.said or not self.alive)
        assert "page: " in self.said, self.said
        return self.said.partition("page: ")[2].split()[0].rstrip("/")

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Status and body."""
        request = urllib.request.Request(self.url + path, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def everything(self) -> Iterator[tuple[str, str]]:
        """Every page and every API answer that one can reach by links from the start, with its path."""
        waiting = ["/", "/api/v2/", "/metrics"]
        seen: set[str] = set()
        while waiting:
            path = waiting.pop()
            if path in seen or path.startswith(("/static/", "/events", "/api/v2/stream")) or len(seen) > 150:
                continue
            seen.add(path)
            status, body = self.get(path)
            assert status < 500, (path, status, body[:500])
            yield path, body
            waiting += [link.replace("&amp;", "&") for link in re.findall(r'(?:href="|")(/[^"\s{}<>]*)"', body)]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Stage(Place):
    """A place whose daemons and sandbox end with the test."""

    def __init__(self, root: Path, template: Path | None = None) -> None:
        super().__init__(root, template)
        self.daemons: list[Daemon] = []
        self.more: dict[str, str] = {}

    @property
    def environ(self) -> dict[str, str]:
        """Also the kinds of this folder, and a page on a free port."""
        return {
            **super().environ,
            "PYTHONPATH": os.pathsep.join((str(PLUGINS), str(HERE / "plugins"))),
            "RECONCILER_WEB_PORT": "0",
            "RECONCILER_UNSETTLED_INTERVAL": "500ms",
            "RECONCILER_BACKOFF_MIN": "100ms",
            "RECONCILER_BACKOFF_MAX": "1s",
            **self.more,
        }

    def git_daemon(self, url: str) -> Daemon:
        """A daemon that follows the branch main of a repository."""
        return self._daemon("daemon", "--git", url)

    def daemon(self, *arguments: str, env: Mapping[str, str] | None = None, options: tuple[str, ...] = ()) -> Daemon:
        """A daemon on the specs that has loaded them."""
        return self._daemon(*options, "daemon", str(self.specs), *arguments, env=env)

    def _daemon(self, *arguments: str, env: Mapping[str, str] | None = None) -> Daemon:
        output = self.root / f"daemon-{len(self.daemons)}.txt"
        with output.open("wb") as stream:
            environ = {**self.environ, **(env or {})}
            process = Forked(["reconciler", *arguments], environ, stdout=stream, stderr=stream)
        self.daemons.append(Daemon(process, output))
        wait_for(lambda: self.daemons[-1].get("/readyz")[0] == 200)
        return self.daemons[-1]

    def ready(self, ref: str) -> str:
        """The reason of its Ready condition, "" while nothing is known."""
        kind, _, name = ref.partition("/")
        rows = self.rows("SELECT reason FROM statuses WHERE kind = ? AND name = ?", kind, name)
        return str(rows[0]["reason"]) if rows else ""

    def kept(self) -> dict[str, bytes]:
        """Every file of the home, except what the sandbox's clusters keep: they are the live system."""
        files = [path for path in self.home.rglob("*") if path.is_file() and not path.is_symlink()]
        return {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in files
            if path.relative_to(self.home).parts[0] != "sandbox"
        }

    def close(self) -> None:
        """End what still runs."""
        for daemon in self.daemons:
            if daemon.alive:
                daemon.process.kill()
            daemon.process.wait(10)
        process = self.home / "sandbox" / "process.json"
        with suppress(FileNotFoundError, ProcessLookupError):  # an orderly end takes seconds, and nobody reads it again
            os.kill(json.loads(process.read_text())["pid"], signal.SIGKILL)


def cluster(name: str, lifecycle: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """The document of a cluster."""
    document = {"apiVersion": "reconciler.dev/v1", "kind": "Cluster", "metadata": {"name": name}}
    return {**document, **({"lifecycle": dict(lifecycle)} if lifecycle else {}), "spec": spec}
