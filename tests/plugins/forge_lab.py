"""A GitHub or a GitLab on loopback: the part of its REST API that projects use, and its repositories over smart HTTP.

It answers as its documentation says, with the same words and headers, and makes a real bare repository, so that a push
with the same token works afterwards. What goes wrong in real life can be asked for: limits, names that are taken,
owners that forbid, servers that do not know yet what another one has made.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from git_lab import Repository
from git_servers import Backend, Served, smart_http

TOKEN = "forge-t0ken-of-the-test"
Answer = tuple[int, Any, Mapping[str, str]]


@dataclass
class Forge:
    """One server. api: address of its API. git: where repositories are. user: whose token it is.

    groups: organizations, or groups. forbidden: owners in which nothing may be made. hidden: repositories that the
    token may not see. unaware: how many further questions for a repository that was made are answered with 404.
    limited: how many further requests meet a limit. replies: by `METHOD path`, instead of what it would answer.
    hook: what each repository that is made runs before it takes a push, in the words of sh.
    """

    provider: str
    api: str
    git: Served
    root: Path
    user: str = "ada"
    groups: list[str] = field(default_factory=lambda: ["acme"])
    forbidden: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    unaware: int = 0
    limited: int = 0
    replies: dict[str, Answer] = field(default_factory=dict)
    hook: str = ""
    seen: list[tuple[str, str, Any]] = field(default_factory=list)

    def url(self, name: str) -> str:
        """By which git reaches a repository."""
        return f"{self.git.url}/{name}.git"

    def repository(self, name: str) -> Repository:
        """The real one behind a name."""
        return Repository(self.root / f"{name}.git")

    def add(self, name: str, **values: Any) -> Repository:
        """Make a repository, as somebody else would have."""
        self.repositories[name] = {"visibility": "private", **values}
        made = self.repository(name)
        made.git("config", "http.receivepack", "true")
        if self.hook:
            path = made.path / "hooks" / "pre-receive"
            path.parent.mkdir()
            path.write_text(f"#!/bin/sh\n{self.hook}\n")
            path.chmod(0o755)
        return made

    @property
    def written(self) -> list[tuple[str, str]]:
        """What was asked for that is not reading."""
        return [(method, path) for method, path, _ in self.seen if method != "GET"]


@contextmanager
def forge_server(provider: str, root: Path) -> Iterator[Forge]:
    """A forge with repositories below `root`, for the token TOKEN."""
    with smart_http(root, f"git:{TOKEN}") as git:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _GitHub if provider == "github" else _GitLab)
        server.daemon_threads = True
        base = "/api/v3" if provider == "github" else "/api/v4"
        forge = Forge(provider, f"http://localhost:{server.server_port}{base}", git, root)
        server.forge, server.served, server.root = forge, git, root  # type: ignore[attr-defined]  # what requests need
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield forge
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Api(Backend):
    """The API below `base`; git beside it, as forges have both at one address."""

    base = ""

    def do_GET(self) -> None:  # noqa: N802 - the name is the library's
        if self.path.startswith(self.base):
            self._reply(None)
        else:
            super().do_GET()

    def do_POST(self) -> None:  # noqa: N802 - likewise
        if self.path.startswith(self.base):
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        else:
            super().do_POST()

    @property
    def forge(self) -> Forge:
        return self.server.forge  # type: ignore[attr-defined,no-any-return]

    def _reply(self, body: Any) -> None:
        path = urlsplit(self.path).path.removeprefix(self.base)
        self.forge.seen.append((self.command, path, body))
        status, value, headers = self._checked(path, body)
        content = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", "Content-Length": len(content), **headers}.items():
            self.send_header(name, str(text))
        self.end_headers()
        self.wfile.write(content)

    def _checked(self, path: str, body: Any) -> Answer:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.unauthorized()
        if self.forge.limited:
            self.forge.limited -= 1
            return self.limit()
        told = self.forge.replies.get(f"{self.command} {path}")
        return told or self.answer(self.command, path, body)

    def found(self, name: str) -> dict[str, Any] | None:
        """A repository as the token sees it now."""
        known = {one.lower(): one for one in self.forge.repositories}.get(name.lower())
        if known is None or known in self.forge.hidden:
            return None
        if self.forge.repositories[known].get("is_new") and self.forge.unaware:
            self.forge.unaware -= 1
            return None
        return self.shown(known)

    def make(self, name: str, **values: Any) -> Answer:
        self.forge.add(name, is_new=True, **values)
        return 201, self.shown(name), {}

    def answer(self, method: str, path: str, body: Any) -> Answer:
        raise NotImplementedError

    def shown(self, name: str) -> dict[str, Any]:
        raise NotImplementedError

    def unauthorized(self) -> Answer:
        raise NotImplementedError

    def limit(self) -> Answer:
        raise NotImplementedError


class _GitHub(_Api):
    base = "/api/v3"

    def unauthorized(self) -> Answer:
        return 401, {"message": "Bad credentials", "status": "401"}, {}

    def limit(self) -> Answer:
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 30)}
        return 403, {"message": f"API rate limit exceeded for user {self.forge.user}."}, headers

    def answer(self, method: str, path: str, body: Any) -> Answer:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if not self.headers.get("User-Agent"):
            return 403, {"message": "Request forbidden by administrative rules."}, {}
        if (method, path) == ("GET", "/user"):
            return 200, {"login": self.forge.user}, {}
        if method == "GET" and parts[0] == "repositories":
            return 200, self.shown(parts[1] + "/" + parts[2]), {}
        if method == "GET" and parts[0] == "repos" and len(parts) == 3:
            name = "/".join(parts[1:])
            if name in self.forge.moved:
                place = f"{self.base}/repositories/{self.forge.moved[name]}"
                return 301, {"message": "Moved Permanently"}, {"Location": place}
            found = self.found(name)
            return (200, found, {}) if found else _none("Not Found")
        if (method, path) == ("POST", "/user/repos"):
            return self.create(self.forge.user, body)
        if method == "POST" and parts[0] == "orgs" and parts[2:] == ["repos"]:
            if parts[1] not in self.forge.groups:
                return _none("Not Found")
            if parts[1] in self.forge.forbidden:
                said = "You need admin access to the organization before adding a repository to it."
                return 403, {"message": said}, {}
            return self.create(parts[1], body)
        return _none("Not Found")

    def create(self, owner: str, body: Mapping[str, Any]) -> Answer:
        name = f"{owner}/{body['name']}"
        if name.lower() in {one.lower() for one in self.forge.repositories}:
            fault = {"resource": "Repository", "code": "custom", "field": "name"}
            said = {**fault, "message": "name already exists on this account"}
            return 422, {"message": "Repository creation failed.", "errors": [said]}, {}
        if len(body.get("description", "")) > 350:
            return 422, {"message": "Repository creation failed.", "errors": ["description is too long"]}, {}
        visibility = body.get("visibility") or ("private" if body.get("private") else "public")
        return self.make(name, visibility=visibility, description=body.get("description", ""))

    def shown(self, name: str) -> dict[str, Any]:
        one = self.forge.repositories[name]
        return {
            "full_name": name,
            "private": one["visibility"] != "public",
            "visibility": one["visibility"],
            "archived": one.get("archived", False),
            "default_branch": "main",
            "clone_url": self.forge.url(name),
            "ssh_url": f"git@localhost:{name}.git",
            "permissions": {"admin": True, "push": one.get("push", True), "pull": True},
        }


class _GitLab(_Api):
    base = "/api/v4"

    def unauthorized(self) -> Answer:
        return 401, {"message": "401 Unauthorized"}, {}

    def limit(self) -> Answer:
        reset = str(int(time.time()) + 30)
        return 429, None, {"RateLimit-Remaining": "0", "RateLimit-Reset": reset, "Retry-After": "30"}

    def answer(self, method: str, path: str, body: Any) -> Answer:
        kind, _, encoded = path.strip("/").partition("/")
        name = unquote(encoded)
        if method == "GET" and kind == "projects" and "/" not in encoded:
            if name in self.forge.moved:
                return 200, self.shown(self.forge.moved[name]), {}
            found = self.found(name)
            return (200, found, {}) if found else _none("404 Project Not Found")
        if method == "GET" and kind == "namespaces" and "/" not in encoded:
            owners = [self.forge.user, *self.forge.groups]
            if name not in owners:
                return _none("404 Namespace Not Found")
            return 200, {"id": owners.index(name) + 10, "full_path": name}, {}
        if (method, path) == ("POST", "/projects"):
            return self.create([self.forge.user, *self.forge.groups][body["namespace_id"] - 10], body)
        return _none("404 Not Found")

    def create(self, owner: str, body: Mapping[str, Any]) -> Answer:
        name = f"{owner}/{body['path']}"
        if owner in self.forge.forbidden:
            return 403, {"message": "403 Forbidden"}, {}
        if name.lower() in {one.lower() for one in self.forge.repositories}:
            taken = ["has already been taken"]
            return 400, {"message": {"project_namespace.name": taken, "name": taken, "path": taken}}, {}
        if len(body.get("description", "")) > 2000:
            return 400, {"message": {"description": ["is too long (maximum is 2000 characters)"]}}, {}
        return self.make(name, visibility=body["visibility"], description=body.get("description", ""))

    def shown(self, name: str) -> dict[str, Any]:
        one = self.forge.repositories[name]
        level = 40 if one.get("push", True) else 20
        return {
            "path_with_namespace": name,
            "visibility": one["visibility"],
            "archived": one.get("archived", False),
            "default_branch": None if one.get("is_new") else "main",
            "http_url_to_repo": self.forge.url(name),
            "ssh_url_to_repo": f"git@localhost:{name}.git",
            "permissions": {"project_access": None, "group_access": {"access_level": level}},
        }


def _none(said: str) -> Answer:
    return 404, {"message": said}, {}
