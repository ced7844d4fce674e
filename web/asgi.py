"""The page as one ASGI application: event streams and given routes natively, everything else through Flask.

Called by the daemon, which brings its health routes, and by `python -m web`. Flask's threads are few and bounded; who
waits for events holds none of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route

from reconciler.store.database import Database
from web.admission import Admission
from web.app import create_flask_app
from web.live import Live
from web.recorded import shown_records
from web.security import Guard
from web.settings import PageSettings
from web.writing import Writer


def create_asgi_app(
    database: Database,
    settings: PageSettings | None = None,
    routes: Iterable[BaseRoute] = (),
    writing: tuple[Writer, Admission] | None = None,
) -> Starlette:
    """The whole page over an open database. routes: answered before ours, e.g. `/healthz`. writing: see `app`.

    `app.state.live` holds the open streams: `server.serve` ends them when it stops.
    """
    chosen = settings or PageSettings()
    live = Live(database, chosen, shown_records(writing[0]) if writing is not None else ())
    # Any: a2wsgi describes environ and scope more narrowly than Flask and Starlette do
    pages: Any = create_flask_app(database, chosen, writing)
    flask: Any = WSGIMiddleware(pages, workers=chosen.workers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await live.stop()
        flask.executor.shutdown(wait=False, cancel_futures=True)

    app = Starlette(
        routes=[*routes, Route("/events", live), Mount("/", flask)],
        middleware=[Middleware(Guard, chosen)],
        lifespan=lifespan,
    )
    app.state.live = live
    return app
