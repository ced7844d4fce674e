"""`POST /api/v2/webhooks/git`: a git server says that something was pushed. Mounted by the daemon before the page.

All that a webhook does is to have the branch fetched now instead of within a minute: nothing in its body is believed,
or even read beyond its signature, so replaying one gains nothing. GitHub, Gitea and Forgejo sign the body
(`X-Hub-Signature-256`), GitLab sends the secret itself (`X-Gitlab-Token`). 202: fetching. 401: not signed with our
secret. 404: no webhook is set up. 408, 413: the body is too slow or too large. 503: the
secret cannot be read.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler.errors import ReconcilerError

PATH = "/api/v2/webhooks/git"
LONGEST = 25_000_000
"""Bytes of a body: the most that GitHub sends. It is hashed as it comes and kept nowhere."""
PATIENCE = 10.0
_PREFIX = "sha256="
log = logging.getLogger(__name__)


def webhook_routes(secret: Callable[[], str], wanted: Callable[[], None]) -> list[Route]:
    """secret: asked for each request, so that it can be changed; "" where there is no webhook. wanted: fetch now.

    Both are called in threads of their own: they may read files.
    """

    async def receive(request: Request) -> Response:
        try:
            key = (await asyncio.to_thread(secret)).encode()
        except ReconcilerError as error:
            log.error("a webhook could not be checked: %s", error)
            return _answer(503, error.reason, "the secret of this webhook cannot be read; the log says why")
        if not key:
            return _answer(404, "NoWebhook", "no webhook is set up here: see the setting git.webhookSecretFile")
        try:
            digest = await asyncio.wait_for(_signed(request, key), PATIENCE)
        except TimeoutError:
            return _answer(408, "TooSlow", f"the body did not come within {PATIENCE:g} s")
        except ClientDisconnect:
            return _answer(400, "Disconnected", "the body was not sent to its end")
        if digest is None:
            return _answer(413, "TooLarge", f"the body has more than {LONGEST:,} bytes")
        if not _is_ours(request, key, digest):
            log.warning("a webhook without our signature was refused")
            return _answer(401, "NotSigned", "the request is not signed with the secret of this webhook")
        await asyncio.to_thread(wanted)
        return _answer(202, "Fetching", "the branch is fetched now")

    return [Route(PATH, receive, methods=["POST"])]


async def _signed(request: Request, key: bytes) -> str | None:
    """The body's signature in hex; None for too long a body."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and (len(length) > 12 or int(length) > LONGEST):
        return None
    mac = hmac.new(key, digestmod=hashlib.sha256)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LONGEST:
            return None
        mac.update(chunk)
    return mac.hexdigest()


def _is_ours(request: Request, key: bytes, digest: str) -> bool:
    """Whether signature or token is right. Both are always compared, each in constant time."""
    signature = request.headers.get("x-hub-signature-256", "")
    token = request.headers.get("x-gitlab-token", "")
    is_signed = hmac.compare_digest(signature.encode("latin-1"), f"{_PREFIX}{digest}".encode())
    is_token = hmac.compare_digest(token.encode("latin-1"), key)
    return is_signed or is_token


def _answer(code: int, reason: str, message: str) -> Response:
    return JSONResponse({"reason": reason, "message": message}, code)
