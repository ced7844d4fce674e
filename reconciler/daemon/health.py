"""/healthz, /readyz and /metrics, as routes that `web.asgi` answers before the page. Made by `daemon.service`."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler.daemon.metrics import Metrics

SILENCE = 30.0


def health_routes(beat: Callable[[], float], ready: Callable[[], str], metrics: Metrics) -> list[Route]:
    """beat: when the daemon last ticked (monotonic). ready: why it is not ready, "" when it is."""

    async def healthz(_: Request) -> Response:
        silent = time.monotonic() - beat()
        if silent > SILENCE:
            return JSONResponse({"status": "failing", "message": f"no tick for {silent:.0f} s"}, 503)
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        why = ready()
        return JSONResponse({"status": "waiting", "message": why}, 503) if why else JSONResponse({"status": "ok"})

    async def exposition(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", exposition)]
