"""What an HTTP request means: its path and its query. Pure; called by `api`; bodies are read in `bodies`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from reconciler.sandbox import statuses
from reconciler.sandbox.registry import Registry
from reconciler.sandbox.targets import Target, WriteOptions
from reconciler.sandbox.writes import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

LARGEST_BODY = 3 * 1024 * 1024
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
YAML_TYPES = ("application/yaml", APPLY_PATCH)
_SUBRESOURCES = ("status", "scale")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its body read. query: the last value of each parameter."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Content-Type without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_request(scope: Mapping[str, Any], body: bytes) -> Request:
    """The request of an ASGI scope."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return Request(scope["method"], scope["path"], query, headers, body)


def resolve(registry: Registry, path: str) -> Target | None:
    """The type, namespace, name and subresource that a path under /api or /apis names; None when it names none."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in _SUBRESOURCES:
        namespace, rest = rest[1], rest[2:]
    found = registry.find(group, version, rest[0])
    if found is None or len(rest) > 3 or "" in rest or (namespace and not found.namespaced):
        return None
    name = rest[1] if len(rest) > 1 else ""
    if name and found.is_question:
        return None
    if name and found.namespaced and not namespace:
        return None
    subresource = rest[2] if len(rest) > 2 else ""
    served = {"": True, "status": found.status, "scale": found.scale is not None}
    return Target(found, namespace, name, subresource) if served.get(subresource) else None


def write_options(request: Request, *, apply: bool = False) -> WriteOptions:
    """fieldManager, dryRun, fieldValidation and force of a write. ApiError 400, 422."""
    query = request.query
    manager = query.get("fieldManager", "")
    if len(manager) > 128 or not manager.isprintable():
        raise statuses.unprocessable("fieldManager: Invalid value: must be printable and at most 128 characters long")
    if apply and not manager:
        raise statuses.unprocessable(
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
        )
    if "force" in query and not apply and request.method == "PATCH":
        raise statuses.unprocessable(
            'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch'
        )
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        message = f'fieldValidation: Unsupported value: "{validation}": supported values: "Ignore", "Strict", "Warn"'
        raise statuses.unprocessable(message)
    return WriteOptions(
        manager=manager or _program(request.headers.get("user-agent", "")),
        dry_run=is_dry_run(request),
        validation=validation,
        force=is_true(query.get("force", "")),
    )


def _program(user_agent: str) -> str:
    return user_agent.partition("/")[0][:128] or "unknown"


def is_dry_run(request: Request) -> bool:
    """Whether nothing may be kept. ApiError 422 on an unknown value."""
    wanted = request.query.get("dryRun")
    if wanted not in (None, "", "All"):
        raise statuses.unprocessable(f'dryRun: Unsupported value: "{wanted}": supported values: "All"')
    return wanted == "All"


def is_true(text: str) -> bool:
    """How Kubernetes reads a boolean parameter; present without a value is true."""
    return text.lower() in ("1", "t", "true")
