"""What a cluster says about itself: health, version, discovery, OpenAPI. Called by `api` for every path of no object.

Discovery comes from the registry's table each time; the OpenAPI documents are made when first asked for and kept until
the registry changes.
"""

from __future__ import annotations

import hashlib
from typing import Any

from reconciler.sandbox import discovery, openapi, openapi_v2, openapi_v2_protobuf, statuses
from reconciler.sandbox.cluster import Cluster
from reconciler.sandbox.requests import Request
from reconciler.sandbox.state import encode

JSON_HEADER = (b"content-type", b"application/json")
Answer = tuple[int, bytes, list[tuple[bytes, bytes]]]

_JSON_ACCEPTED = ("application/json", "application/*", "*/*", "")


class Documents:
    """The documents of one cluster. address: host:port, shown in discovery."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        self._cluster = cluster
        self._address = address
        self._revision = -1
        self._v3: dict[str, bytes] = {}
        self._v2: tuple[bytes, bytes] | None = None

    async def answer(self, request: Request) -> Answer:
        """The document at the request's path. ApiError 404, 406."""
        path = request.path.rstrip("/") or "/"
        if request.method not in ("GET", "HEAD"):
            raise statuses.no_such_path()
        if path in ("/healthz", "/livez", "/readyz") or path.startswith(("/livez/", "/readyz/", "/healthz/")):
            return 200, b"ok", [(b"content-type", b"text/plain; charset=utf-8")]
        if path == "/version":
            return 200, encode(discovery.version_document(self._cluster.version)), [JSON_HEADER]
        if path in ("/api", "/apis"):
            version = discovery.negotiate(request.headers.get("accept", ""))
            if version:
                return self._aggregated(request, version, core=path == "/api")
        if path == "/openapi/v2":
            return await self._openapi_v2(request)
        if path.startswith("/openapi/v3"):
            return await self._openapi_v3(path.removeprefix("/openapi/v3").strip("/"))
        return 200, encode(self._discovery(path)), [JSON_HEADER]

    def _aggregated(self, request: Request, version: str, *, core: bool) -> Answer:
        body = encode(discovery.aggregated(self._cluster.registry, version, core=core))
        etag = f'"{hashlib.sha256(body).hexdigest()[:32].upper()}"'
        headers = [(b"content-type", discovery.media_type(version).encode()), (b"etag", etag.encode())]
        headers.append((b"vary", b"Accept"))
        if request.headers.get("if-none-match") == etag:
            return 304, b"", headers
        return 200, body, headers

    def _discovery(self, path: str) -> dict[str, Any]:
        registry, parts = self._cluster.registry, path.strip("/").split("/")
        found: dict[str, Any] | None = None
        if path == "/":
            places = [f"/apis/{group}" if group else "/api" for group in registry.group_versions()]
            others = ["/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
            found = {"paths": sorted([*places, *others])}
        elif path == "/api":
            found = discovery.api_versions(self._address)
        elif path == "/apis":
            found = discovery.group_list(registry)
        elif parts[0] == "api" and len(parts) == 2:
            found = discovery.resource_list(registry, "", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            found = discovery.group(registry, parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.resource_list(registry, parts[1], parts[2])
        if found is None:
            raise statuses.no_such_path()
        return found

    async def _openapi_v2(self, request: Request) -> Answer:
        """In the first encoding of the Accept header that is written here. ApiError 406."""
        for option in request.headers.get("accept", "").split(","):
            wanted = option.partition(";")[0].strip()
            if wanted in _JSON_ACCEPTED:
                return 200, (await self._renewed_v2())[0], [JSON_HEADER]
            if wanted in openapi_v2_protobuf.MEDIA_TYPES:
                answered = openapi_v2_protobuf.MEDIA_TYPES[0].encode()
                return 200, (await self._renewed_v2())[1], [(b"content-type", answered)]
        raise statuses.not_acceptable(["application/json", *openapi_v2_protobuf.MEDIA_TYPES])

    async def _renewed_v2(self) -> tuple[bytes, bytes]:
        """As JSON and as protobuf."""
        await self._renew()
        if self._v2 is None:
            document = openapi_v2.document(self._cluster.version, self._v3.values())
            self._v2 = (encode(document), openapi_v2_protobuf.encode_document(document))
        return self._v2

    async def _openapi_v3(self, place: str) -> Answer:
        await self._renew()
        if not place:
            return 200, encode(openapi.index(self._v3)), [JSON_HEADER]
        if place not in self._v3:
            raise statuses.no_such_path()
        return 200, self._v3[place], [JSON_HEADER]

    async def _renew(self) -> None:
        await self._cluster.catalog.ready()
        revision = self._cluster.registry.revision
        if self._revision != revision:
            self._revision, self._v3, self._v2 = revision, openapi.documents(self._cluster), None
