"""What an error answer of a Kubernetes API means, as one of our errors. Called by `kube` and `kube_watch`.

The table stands in `kube`. Of a Secret that a server refuses, no value is quoted.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from reconciler.errors import BlockedError, ReconcilerError, TerminalError, TransientError
from reconciler.model.secret import SECRET_MARK

EXPIRED = "Expired"
"""The reason when what a resourceVersion or a `continue` stands for is no longer kept: list again."""

Object = dict[str, Any]


def refuse(method: str, path: str, status: int, answer: Object, body: Mapping[str, Any] | None) -> NoReturn:
    """Raise what an error answer means."""
    what = f"{method} {path}"
    if body is not None:
        what = f"applying {body.get('kind')} {body.get('metadata', {}).get('name')}"
    message = _without_secret_values(str(answer.get("message") or f"HTTP status {status}"), body)
    raise meaning(status, answer, what, message)


def meaning(status: int, answer: Object, what: str, message: str) -> ReconcilerError:
    """The error that an error answer means. what: was asked for. message: what the server says, without secrets."""
    causes = _causes(answer)
    if status == 401:
        return TerminalError("Unauthorized", f"{what}: the credentials in the kubeconfig are not accepted")
    if status == 409:
        owners = "; ".join(f"{cause['field']} {cause['message']}" for cause in causes if cause.get("field"))
        return BlockedError("Conflict", f"{what}: {owners or message}")
    if status == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return TransientError("NamespaceTerminating", f"{what}: {message}")
    if status == 403:
        return TerminalError("Forbidden", f"{what}: {message}")
    if status in (404, 408, 410, 429) or status >= 500:
        reason = {404: "NotFound", 410: EXPIRED}.get(status, "ServerError")
        return TransientError(reason, f"{what}: {message}")
    return TerminalError("Rejected", f"{what}: {message}")


def _causes(answer: Object) -> list[Mapping[str, str]]:
    details = answer.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    return [cause for cause in causes if isinstance(cause, Mapping)] if isinstance(causes, list) else []


def _without_secret_values(message: str, body: Mapping[str, Any] | None) -> str:
    """A server may quote what it refuses; of a Secret nothing is quoted."""
    if body is None or body.get("kind") != "Secret":
        return message
    for value in _secret_values(body):
        message = message.replace(value, SECRET_MARK)
    return message


def _secret_values(body: Mapping[str, Any]) -> Iterator[str]:
    """Every value of a Secret as it may be quoted: as written, and decoded. Longest first, so none hides in another."""
    found: set[str] = set()
    for part in ("data", "stringData"):
        values = body.get(part)
        for value in values.values() if isinstance(values, Mapping) else ():
            found.add(str(value))
            try:
                found.add(base64.b64decode(str(value), validate=True).decode())
            except (binascii.Error, ValueError):
                continue
    yield from sorted((value for value in found if value), key=len, reverse=True)
