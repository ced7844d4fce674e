"""The Kubernetes API of one cluster as an ASGI application: authentication, routes, answers. Served by `service`.

Everything that decides is elsewhere; this module finds out what is asked, calls one function and writes the answer.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from reconciler.errors import ReconcilerError
from reconciler.sandbox import (
    bodies,
    deletion,
    reading,
    rendering,
    requests,
    reviews,
    scale,
    service_accounts,
    statuses,
    watching,
    writes,
)
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.documents import JSON_HEADER, Answer, Documents
from reconciler.sandbox.reading import Selection
from reconciler.sandbox.requests import Request
from reconciler.sandbox.state import encode
from reconciler.sandbox.statuses import ApiError
from reconciler.sandbox.targets import Target, Written

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LOG = logging.getLogger(__name__)
_MOST_WATCHES = 1000
_OPEN_PATHS = ("/healthz", "/livez", "/readyz", "/version")


class Api:
    """The application of one cluster. address: host:port, shown in discovery."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        self.cluster = cluster
        self._documents = Documents(cluster, address)
        self._watches: set[asyncio.Event] = set()

    def end_watches(self) -> None:
        """End every stream, so that the server can stop."""
        for ended in self._watches:
            ended.set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request."""
        if scope["type"] != "http":
            return
        try:
            request = requests.read_request(scope, await _read_body(receive))
            self._authenticate(request)
            target = requests.resolve(self.cluster.registry, request.path)
            if target is not None and _is_watch(request, target):
                await self._watch(request, target, receive, send)
                return
            answer = await self._answer(request, target)
        except ApiError as error:
            answer = _refusal(error)
        except RecursionError:
            answer = _refusal(statuses.bad_request("the object is nested too deeply"))
        except ReconcilerError as error:
            _LOG.error("%s %s: %s", scope["method"], scope["path"], error)
            answer = _refusal(ApiError(500, "InternalError", f"Internal error occurred: {error}"))
        except Exception:  # noqa: BLE001 - the last place before the wire: logged, answered with 500
            _LOG.exception("%s %s", scope["method"], scope["path"])
            answer = _refusal(ApiError(500, "InternalError", "Internal error occurred: see the server's log"))
        await _send(send, *answer)

    def _authenticate(self, request: Request) -> None:
        if request.path.startswith(_OPEN_PATHS):
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        is_ours = hmac.compare_digest(token.encode(), self.cluster.token.encode())
        if scheme.lower() != "bearer" or not (is_ours or service_accounts.accepts(self.cluster, token)):
            raise statuses.unauthorized()

    async def _answer(self, request: Request, target: Target | None) -> Answer:
        if target is None:
            return await self._documents.answer(request)
        if request.method in ("POST", "PUT", "PATCH", "DELETE"):
            await self.cluster.catalog.ready()
        if target.subresource == "scale":
            return self._scale(request, target)
        if not target.name:
            return self._collection(request, target)
        if request.method == "GET":
            return self._get(request, target)
        if request.method == "PUT":
            body, options = self._body(request, target), requests.write_options(request)
            return self._written(request, target, writes.replace_object(self.cluster, target, body, options))
        if request.method == "PATCH":
            return self._written(request, target, self._patch(request, target))
        if request.method == "DELETE" and not target.subresource:
            return self._delete(request, target)
        raise statuses.method_not_allowed()

    def _body(self, request: Request, target: Target) -> Any:
        component = "v1.DeleteOptions" if request.method == "DELETE" else target.type.component
        return bodies.parse_body(request, component, self.cluster.catalog.components)

    def _collection(self, request: Request, target: Target) -> Answer:
        if target.type.is_question:
            if request.method != "POST":
                raise statuses.method_not_allowed()
            body, options = self._body(request, target), requests.write_options(request)
            return self._written(request, target, reviews.answer(self.cluster, target, body, options))
        if request.method == "GET":
            return self._list(request, target)
        if request.method == "POST" and (target.namespace or not target.type.namespaced):
            body, options = self._body(request, target), requests.write_options(request)
            return self._written(request, target, writes.create(self.cluster, target, body, options))
        if request.method == "DELETE":
            return self._delete_collection(request, target)
        raise statuses.method_not_allowed()

    def _get(self, request: Request, target: Target) -> Answer:
        wanted = _format(request)
        stored = writes.find(self.cluster, target)
        if wanted.shape == "object":
            return _json(200, rendering.object_bytes(target.type, stored))
        return _json(200, rendering.render_object(target.type, stored.value, wanted))

    def _list(self, request: Request, target: Target) -> Answer:
        wanted = _format(request)
        if request.query.get("sendInitialEvents"):
            raise statuses.unprocessable("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list")
        selection = reading.read_selection(target.type, target.namespace, request.query)
        page = reading.list_page(self.cluster.state, target.type, selection, request.query)
        return _json(200, rendering.render_list(target.type, page.found, page.metadata, wanted))

    def _patch(self, request: Request, target: Target) -> Written:
        media_type = request.media_type
        allowed = [one for one in requests.PATCH_TYPES if not (target.type.custom and one == writes.STRATEGIC_PATCH)]
        if media_type not in allowed:
            raise statuses.unsupported_media_type(media_type, allowed)
        body = self._body(request, target)
        if media_type == writes.APPLY_PATCH:
            return writes.apply_object(self.cluster, target, body, requests.write_options(request, apply=True))
        return writes.patch_object(self.cluster, target, media_type, body, requests.write_options(request))

    def _scale(self, request: Request, target: Target) -> Answer:
        if request.method == "GET":
            return _json(200, encode(scale.read_scale(self.cluster, target)))
        body = bodies.parse_body(request, "v1.Scale", self.cluster.catalog.components)
        if request.method == "PUT":
            return _written_scale(
                scale.write_scale(self.cluster, target, lambda _: body, requests.write_options(request))
            )
        if request.method != "PATCH":
            raise statuses.method_not_allowed()
        media_type = request.media_type
        if media_type not in (writes.JSON_PATCH, writes.MERGE_PATCH, writes.STRATEGIC_PATCH):
            raise statuses.unsupported_media_type(media_type, requests.PATCH_TYPES[:3])
        node, options = self.cluster.catalog.compiler.reference("v1.Scale"), requests.write_options(request)

        def change(live: dict[str, Any]) -> Any:
            return writes.patched_value(node, media_type, live, body)

        return _written_scale(scale.write_scale(self.cluster, target, change, options))

    def _delete(self, request: Request, target: Target) -> Answer:
        live = writes.find(self.cluster, target)
        options = deletion.read_options(
            self._body(request, target), request.query, dry_run=requests.is_dry_run(request)
        )
        value, gone = deletion.delete_object(self.cluster, target.type, live, options)
        if not gone or target.type.returns_deleted:
            return _json(200, rendering.render_object(target.type, value, rendering.PLAIN))
        details = {"name": target.name, "group": target.type.group, "kind": target.type.plural, "uid": live.uid}
        return _json(200, encode(statuses.success({key: one for key, one in details.items() if one})))

    def _delete_collection(self, request: Request, target: Target) -> Answer:
        if target.type.namespaced and not target.namespace:
            raise statuses.method_not_allowed()
        selection = reading.read_selection(target.type, target.namespace, request.query)
        options = deletion.read_options(
            self._body(request, target), request.query, dry_run=requests.is_dry_run(request)
        )
        state = self.cluster.state
        found = [one for one in state.select(target.type.resource, target.namespace) if selection.accepts(one)]
        for stored in found:
            if state.get(stored.key) is not None:
                deletion.delete_object(self.cluster, target.type, stored, options)
        metadata = {"resourceVersion": str(state.revision)}
        return _json(200, rendering.render_list(target.type, found, metadata, rendering.PLAIN))

    def _written(self, request: Request, target: Target, written: Written) -> Answer:
        code = 201 if written.created else 200
        return _json(code, rendering.render_object(target.type, written.value, _format(request)), written.warnings)

    async def _watch(self, request: Request, target: Target, receive: Receive, send: Send) -> None:
        selection = reading.read_selection(target.type, target.namespace, request.query)
        if target.name:
            terms = (*selection.fields, ("metadata.name", True, target.name))
            selection = Selection(selection.namespace, selection.labels, terms)
        watch = watching.read_watch(self.cluster.state, target.type, selection, _format(request), request.query)
        if len(self._watches) >= _MOST_WATCHES:
            raise statuses.too_many_requests(f"{_MOST_WATCHES} watches are open, this server holds no more")
        ended = asyncio.Event()
        self._watches.add(ended)
        listening = asyncio.get_running_loop().create_task(_until_disconnect(receive, ended))
        try:
            headers = [JSON_HEADER, (b"cache-control", b"no-cache, private")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            async for line in watching.stream(self.cluster.state, watch, ended):
                await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            listening.cancel()
            self._watches.discard(ended)


def _is_watch(request: Request, target: Target) -> bool:
    asked = request.method == "GET" and not target.subresource and requests.is_true(request.query.get("watch", ""))
    return asked and not target.type.is_question


def _format(request: Request) -> rendering.Format:
    return rendering.negotiate(request.headers.get("accept", "*/*"), request.query.get("includeObject", ""))


async def _until_disconnect(receive: Receive, ended: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    ended.set()


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise statuses.bad_request("the request ended before its body")
        part = message.get("body", b"")
        size += len(part)
        if size > requests.LARGEST_BODY:
            raise statuses.too_large(requests.LARGEST_BODY)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _json(code: int, body: bytes, warnings: list[str] | None = None) -> Answer:
    headers = [JSON_HEADER]
    for warning in warnings or ():
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        headers.append((b"warning", f'299 - "{quoted}"'.encode("latin-1", "replace")))
    return code, body, headers


def _written_scale(written: Written) -> Answer:
    return _json(200, encode(written.value), written.warnings)


def _refusal(error: ApiError) -> Answer:
    code, body, headers = _json(error.code, encode(error.status()))
    if error.code == 401:
        headers = [*headers, (b"www-authenticate", b"Bearer")]
    return code, body, headers


async def _send(send: Send, code: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    all_headers = [*headers, (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-cache, private")]
    await send({"type": "http.response.start", "status": code, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})
