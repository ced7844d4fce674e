"""The daemon as a process: what is started and stopped, in which order, and on which signal. Called by `cli.daemon`.

Start: the daemon's lease, the page, the workers, the watcher, the first load, the clock. Stop, on SIGTERM or SIGINT:
no new step; running steps get up to `shutdownTimeout` seconds; then the lease is given back. SIGHUP reads everything
again.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from reconciler.daemon.logs import LogListener, configure
from reconciler.daemon.metrics import Metrics
from reconciler.daemon.reload import Reloader
from reconciler.daemon.resync import Resync
from reconciler.daemon.watcher import Watcher
from reconciler.daemon.worker import Worker
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.runtime import Runtime
from reconciler.engine.workspace import Workspace
from reconciler.errors import LeaseLostError
from reconciler.store import leases
from reconciler.store.leases import Lease

if TYPE_CHECKING:
    from pathlib import Path

    from web.server import Served

log = logging.getLogger(__name__)
DAEMON_LEASE = "daemon"


class Service:
    """One daemon over one database."""

    def __init__(self, runtime: Runtime, workspace: Workspace, specs: Path | None) -> None:
        self._runtime = runtime
        self._specs = specs
        self._metrics = Metrics()
        self._reconciler = Reconciler(runtime, long_lived=True)
        self._stop = threading.Event()
        self._page_stop = threading.Event()
        self._worker = Worker(self._reconciler, workspace, self._metrics, LogListener())
        self._reloader = Reloader(workspace, self._worker.queue, self._metrics)
        self._worker.dependents_of = self._reloader.dependents
        self._resync = Resync(runtime, self._reloader, self._worker.queue, self._worker.end_runs)
        self._metrics.watch_queue(self._worker.queue.depth, self._worker.queue.in_work)

    def run(self, announce: Callable[[str], None] = lambda _url: None) -> int:
        """Work until told to stop; the exit code. announce: called with the page's address once it answers.

        Raises LeaseHeldError when a daemon works on this database already, saying which and since when.
        """
        settings = self._runtime.settings
        configure(settings.log.format, settings.log.level)
        with self._reconciler.keeper.holding(self._acquire) as lease, self._signals():
            self._runtime.fence = lease
            served = self._serve()
            announce(served.url)
            watcher = self._watcher()
            try:
                self._start(watcher)
                log.info("daemon started", extra={"page": served.url, "specs": str(self._specs or "-")})
                lost = self._wait(lease)
            finally:
                self._shut_down(watcher, served)
        if lost:
            raise LeaseLostError("LeaseLost", "another daemon took over")
        return 0

    def stop(self) -> None:
        """Ask it to stop, from any thread."""
        self._stop.set()

    def _acquire(self) -> Lease:
        return leases.acquire(
            self._runtime.database, DAEMON_LEASE, self._runtime.owner, self._runtime.settings.lease_ttl
        )

    def _start(self, watcher: Watcher | None) -> None:
        self._reconciler.recover()
        self._worker.start()
        if watcher is not None:
            watcher.start()
        self._reloader.start()
        self._resync.start()

    def _wait(self, lease: Lease) -> bool:
        """Until somebody says stop. True when the daemon's lease was lost."""
        while not self._stop.wait(0.2):
            if lease.lost.is_set():
                log.error("another daemon took over; stopping")
                return True
        log.info("stopping: no new step is started")
        return False

    def _shut_down(self, watcher: Watcher | None, served: Served) -> None:
        self._runtime.stopping.set()
        if watcher is not None and watcher.running:
            watcher.stop()
        self._resync.stop()
        self._reloader.stop()
        timeout = self._runtime.settings.shutdown_timeout
        if not self._worker.stop(timeout):
            log.warning("steps still ran after %g s; they end with this process and are unconfirmed", timeout)
        self._page_stop.set()
        served.join(5)
        self._reconciler.close()
        log.info("stopped")

    def _serve(self) -> Served:
        from reconciler.daemon.health import health_routes  # noqa: PLC0415 - starlette, only where a page is served
        from web.asgi import create_asgi_app  # noqa: PLC0415
        from web.server import serve  # noqa: PLC0415
        from web.settings import PageSettings  # noqa: PLC0415

        web = self._runtime.settings.web
        routes = health_routes(lambda: self._resync.beat, self._why_not_ready, self._metrics)
        app = create_asgi_app(self._runtime.database, PageSettings(host=web.host), routes)
        return serve(app, web.host, web.port, self._page_stop)

    def _why_not_ready(self) -> str:
        return "" if self._reloader.loaded.is_set() else "the specs were not loaded yet"

    def _watcher(self) -> Watcher | None:
        if self._specs is None:
            return None
        settings = self._runtime.settings
        return Watcher(self._specs, self._reloader.request, settings.debounce, settings.debounce_max)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop, SIGHUP loads again. Only in the main thread, as Python wants it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stop.set()

        def reload(_number: int, _frame: FrameType | None) -> None:
            self._reloader.request()

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                with suppress(TypeError):
                    signal.signal(number, handler)
