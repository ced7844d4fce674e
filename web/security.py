"""What every answer carries and every request has to bring, whichever part of the page answers.

A pure ASGI wrapper, so that event streams pass through untouched; `app.create_flask_app` uses the same two rules where
Flask runs without it (tests, another WSGI server).
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.settings import PageSettings

MISDIRECTED = (
    "This page is not served under that name. Ask for it as 127.0.0.1 or localhost, or add the name to the settings.\n"
)
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers hide the Origin of our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses requests under foreign names, and adds HEADERS to every answer that lacks them."""

    def __init__(self, app: ASGIApp, settings: PageSettings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if self.settings.allows_host(Headers(scope=scope).get("host", "")):
            await self.app(scope, receive, guarded)
        else:
            await PlainTextResponse(MISDIRECTED, status_code=421)(scope, receive, guarded)
