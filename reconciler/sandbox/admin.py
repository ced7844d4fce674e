"""The admin API on `admin.sock`: create, scale, stop, start and delete clusters, and end the process. Served by
`service`.

    GET /healthz · GET /clusters[/NAME] · PUT /clusters/NAME · DELETE /clusters/NAME
    POST /clusters/NAME/start|stop · POST /shutdown
Errors are {"reason", "message"}.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from reconciler.errors import ReconcilerError
from reconciler.sandbox.objects import is_dns_label
from reconciler.sandbox.state import encode

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, dict[str, Any]]

_LOG = logging.getLogger(__name__)
_VERSION = re.compile(r"^\d+\.\d+\.\d+$")
_MOST_NODES = 250


class AdminError(ReconcilerError):
    """A request that cannot be done; code is the HTTP status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ClusterWish:
    """What a PUT asks for; port None: any free one."""

    name: str
    version: str = "1.32.0"
    servers: int = 1
    agents: int = 0
    port: int | None = None


class Clusters(Protocol):
    """What the admin API needs of the service. Each dict is a CLUSTER of the contract."""

    def list(self) -> list[dict[str, Any]]:
        """Every cluster, by name."""
        ...

    def get(self, name: str) -> dict[str, Any]:
        """One cluster. AdminError 404."""
        ...

    async def ensure(self, wish: ClusterWish) -> tuple[bool, dict[str, Any]]:
        """Create or scale it: whether it is new, and what it is. AdminError 409."""
        ...

    async def delete(self, name: str) -> dict[str, Any]:
        """Delete it with all its objects. AdminError 404."""
        ...

    async def start(self, name: str) -> dict[str, Any]:
        """Serve it. AdminError 404, and 409 when its port is taken."""
        ...

    async def stop(self, name: str) -> dict[str, Any]:
        """Serve it no longer; its objects stay. AdminError 404."""
        ...

    def shut_down(self) -> None:
        """End the process once this request is answered."""
        ...


def read_wish(name: str, body: Any) -> ClusterWish:
    """The wish of a PUT. AdminError 400 naming the field."""
    if not is_dns_label(name):
        raise AdminError(400, "InvalidName", f"{name!r} is no DNS-1123 label of at most 63 characters")
    if not isinstance(body, dict):
        raise AdminError(400, "BadRequest", "the body of a PUT is a JSON object")
    unknown = sorted(body.keys() - {"version", "servers", "agents", "port"})
    if unknown:
        raise AdminError(400, "BadRequest", f"unknown field {unknown[0]!r}")
    version = body.get("version", "1.32.0")
    if not isinstance(version, str) or not _VERSION.match(version):
        raise AdminError(400, "BadRequest", f"version {version!r} is not of the form 1.32.0")
    port = body.get("port")
    return ClusterWish(
        name=name,
        version=version,
        servers=_number(body, "servers", 1, (1, _MOST_NODES)),
        agents=_number(body, "agents", 0, (0, _MOST_NODES)),
        port=None if port is None else _number(body, "port", 0, (1, 65535)),
    )


def _number(body: dict[str, Any], field: str, default: int, bounds: tuple[int, int]) -> int:
    value = body.get(field, default)
    low, high = bounds
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise AdminError(400, "BadRequest", f"{field} is {value!r}, it must be a number from {low} to {high}")
    return value


class Admin:
    """The ASGI application on the Unix socket."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request."""
        if scope["type"] != "http":
            return
        try:
            code, body = await self._answer(scope["method"], scope["path"], receive)
        except AdminError as error:
            code, body = error.code, {"reason": error.reason, "message": error.message}
        except ReconcilerError as error:
            _LOG.error("%s %s: %s", scope["method"], scope["path"], error)
            code, body = 500, {"reason": error.reason, "message": error.message}
        except Exception as error:  # noqa: BLE001 - the last place before the wire: logged, answered with 500
            _LOG.exception("%s %s", scope["method"], scope["path"])
            code, body = 500, {"reason": "InternalError", "message": str(error)}
        encoded = encode(body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(encoded)).encode())]
        await send({"type": "http.response.start", "status": code, "headers": headers})
        await send({"type": "http.response.body", "body": encoded})

    async def _answer(self, method: str, path: str, receive: Receive) -> Answer:
        parts = path.strip("/").split("/")
        if (method, path) == ("GET", "/healthz"):
            return 200, {"status": "ok", "pid": os.getpid()}
        if (method, path) == ("GET", "/clusters"):
            return 200, {"clusters": self._clusters.list()}
        if (method, path) == ("POST", "/shutdown"):
            self._clusters.shut_down()
            return 202, {"status": "stopping", "pid": os.getpid()}
        if parts[0] == "clusters" and len(parts) == 2:
            return await self._one(method, parts[1], receive)
        if parts[0] == "clusters" and len(parts) == 3 and method == "POST" and parts[2] in ("start", "stop"):
            change = self._clusters.start if parts[2] == "start" else self._clusters.stop
            return 200, await change(parts[1])
        raise AdminError(404, "NotFound", f"there is no {method} {path}")

    async def _one(self, method: str, name: str, receive: Receive) -> Answer:
        if method == "GET":
            return 200, self._clusters.get(name)
        if method == "DELETE":
            return 200, await self._clusters.delete(name)
        if method == "PUT":
            created, cluster = await self._clusters.ensure(read_wish(name, await _read_json(receive)))
            return (201 if created else 200), cluster
        raise AdminError(405, "MethodNotAllowed", f"{method} is not possible on a cluster")


async def _read_json(receive: Receive) -> Any:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > 65536:
            raise AdminError(413, "TooLarge", "the body is larger than 64 KiB")
        if not message.get("more_body"):
            break
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise AdminError(400, "BadRequest", f"the body is no JSON: {error}") from error
