"""One Kubernetes API: plain JSON objects in and out, errors that say what to do. Kinds get it from `Context.kube`.

Only what every API server has is used: discovery, GET, LIST, WATCH, server-side apply, DELETE. Every request has a
deadline. What the answers mean:

    no connection, no answer in time, wrong certificate     UnreachableError
    401, 403                                                TerminalError naming what was not allowed
    404                                                     None from `get`, False from `delete`, else TransientError
    409                                                     BlockedError naming who owns which field
    other 4xx                                               TerminalError with the server's message
    410                                                     TransientError("Expired"): list, or begin to watch, again
    429, 5xx                                                TransientError
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from reconciler.errors import TransientError, UnreachableError
from reconciler.model.marks import FIELD_MANAGER
from reconciler.transports.https import Https
from reconciler.transports.kube_errors import refuse
from reconciler.transports.kube_watch import KubeWatch
from reconciler.transports.kubeconfig import Access, Trust, read_access
from reconciler.transports.kubeconfig import KubeconfigPolicy as KubeconfigPolicy

PAGE = 500
MAX_OBJECTS = 50_000
_JSON = "application/json"
ONLY_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceType:
    """What discovery says of a kind. path: of all its objects, e.g. `/apis/apps/v1`; plural: e.g. `deployments`."""

    path: str
    plural: str
    namespaced: bool


class KubeTransport:
    """The API behind one context of a kubeconfig. Safe to share between threads; `close` it, or use `with`.

    kubeconfig: read and checked here, so that the constructor raises TerminalError for what the policy refuses.
    timeout: seconds that a request may take.
    """

    def __init__(
        self, kubeconfig: Path, context: str = "", policy: KubeconfigPolicy | None = None, *, timeout: float = 15.0
    ) -> None:
        access = read_access(kubeconfig, context, policy)
        https = Https(access)
        self._use(access, https, https.close, timeout)

    @classmethod
    def over(cls, access: Access, https: Https, give_back: Callable[[], None], *, timeout: float = 15.0) -> Self:
        """One over connections that somebody else keeps. give_back: called once, when it is closed."""
        made = cls.__new__(cls)
        made._use(access, https, give_back, timeout)
        return made

    def _use(self, access: Access, https: Https, release: Callable[[], None], timeout: float) -> None:
        self.server = access.server
        self._access = access
        self._timeout = timeout
        self._https = https
        self._release: Callable[[], None] | None = release
        self._types: dict[str, dict[str, ResourceType]] = {}
        self._types_lock = threading.Lock()

    def close(self) -> None:
        """Close the connections, or give them back. Safe to call more than once."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def trust(self) -> Trust:
        """By what the server is recognised, for others that are to reach it. Raises TerminalError."""
        return self._access.trust()

    def ready(self) -> bool:
        """Whether the server says at /readyz that it serves. Raises UnreachableError when it does not answer."""
        status = self._https.request("GET", "/readyz", timeout=self._timeout).status
        if status in (401, 403):
            refuse("GET", "/readyz", status, {}, None)
        return status == 200

    def version(self) -> str:
        """The server's version without its `v`, e.g. `1.31.5`."""
        answer = self._json("GET", "/version")
        return str(answer.get("gitVersion", "")).removeprefix("v")

    def get(self, path: str) -> Object | None:
        """The object at `path`, or None."""
        status, answer = self._exchange("GET", path)
        if status == 404:
            return None
        return self._checked("GET", path, status, answer)

    def list(self, path: str, *, label_selector: str = "") -> list[Object]:
        """Every object at `path`, with `apiVersion` and `kind` filled in. Raises TransientError above MAX_OBJECTS."""
        found: list[Object] = []
        for page in self._pages(path, label_selector):
            common = {"apiVersion": page.get("apiVersion"), "kind": str(page.get("kind", "")).removesuffix("List")}
            found.extend({**common, **entry} for entry in page.get("items") or ())
            if len(found) > MAX_OBJECTS:
                raise TransientError("TooMany", f"{self.server} has over {MAX_OBJECTS:,} objects at {path}")
        return found

    def revision(self, path: str) -> str:
        """The resourceVersion of the collection at `path` now: what a `watch` begins after."""
        page = self._json("GET", f"{path}?limit=1")
        return str((page.get("metadata") or {}).get("resourceVersion", ""))

    def watch(
        self,
        path: str,
        *,
        resource_version: str,
        label_selector: str = "",
        timeout: float = 300.0,
        metadata_only: bool = False,
    ) -> KubeWatch:
        """What happens to the objects at `path` after `resource_version`, until `timeout` seconds are over.

        An iterator that may be cancelled from another thread; use it with `with`. Nothing is asked before the first
        event is. metadata_only: of each object only its metadata, which is all that is sent then. Raises
        TransientError("Expired") when the server does not remember as far back: take a new `revision` and look again.
        """
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(int(timeout), 1)),
            **({"labelSelector": label_selector} if label_selector else {}),
        }
        accept = ONLY_METADATA if metadata_only else ""
        stream = self._https.stream(f"{path}?{urlencode(query)}", accept=accept, timeout=self._timeout)
        return KubeWatch(stream, path, timeout)

    def resource_path(self, api_version: str, kind: str, namespace: str = "", name: str = "") -> str:
        """Where an object is (or all of its kind, with name ""), by discovery. namespace "" means `default` for one
        object and every namespace for all. Raises TransientError("UnknownType"): a CRD may still make it known.
        """
        found = self._resource_type(api_version, kind)
        scope = namespace or ("default" if name else "")
        parts = [found.path]
        if found.namespaced and scope:
            parts += ["namespaces", quote(scope, safe="")]
        parts += [found.plural, *([quote(name, safe="")] if name else [])]
        return "/".join(parts)

    def apply(self, manifest: Mapping[str, Any], *, force: bool = False) -> Object:
        """Server-side apply as field manager `reconciler`. Returns the object as it is now.

        force: take fields over from other managers; without it a field that another one owns is a BlockedError.
        """
        metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
        path = self.resource_path(
            manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"]
        )
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"})
        return self._json("PATCH", f"{path}?{query}", {**manifest, "metadata": metadata}, _APPLY)

    def delete(self, path: str) -> bool:
        """Ask for the object at `path` to be deleted, what it owns in the background. False when it is not there."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        status, answer = self._exchange("DELETE", path, options, _JSON)
        if status == 404:
            return False
        self._checked("DELETE", path, status, answer)
        return True

    def _pages(self, path: str, label_selector: str) -> Iterator[Object]:
        query = {"limit": str(PAGE), **({"labelSelector": label_selector} if label_selector else {})}
        while True:
            page = self._json("GET", f"{path}?{urlencode(query)}")
            yield page
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                return
            query["continue"] = following

    def _resource_type(self, api_version: str, kind: str) -> ResourceType:
        with self._types_lock:
            known = self._types.get(api_version, {}).get(kind)
        if known is None:
            found = self._discover(api_version)
            with self._types_lock:
                self._types[api_version] = found
            known = found.get(kind)
        if known is None:
            raise TransientError("UnknownType", f"{self.server} knows no {kind} of {api_version}")
        return known

    def _discover(self, api_version: str) -> dict[str, ResourceType]:
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        answer = self.get(path) or {}
        return {
            entry["kind"]: ResourceType(path, entry["name"], bool(entry.get("namespaced")))
            for entry in answer.get("resources", ())
            if "/" not in entry["name"]
        }

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "") -> Object:
        status, answer = self._exchange(method, path, body, content_type)
        return self._checked(method, path, status, answer, body)

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = ""
    ) -> tuple[int, Object]:
        sent = None if body is None else json.dumps(body).encode()
        answer = self._https.request(method, path, body=sent, content_type=content_type, timeout=self._timeout)
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            if answer.status < 400:
                raise UnreachableError("NotKubernetes", f"{self.server} does not answer in JSON") from error
            value = {}
        return answer.status, value if isinstance(value, dict) else {}

    def _checked(
        self, method: str, path: str, status: int, answer: Object, body: Mapping[str, Any] | None = None
    ) -> Object:
        if not 200 <= status < 300:
            refuse(method, path.partition("?")[0], status, answer, body)
        return answer
