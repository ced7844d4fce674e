"""The daemon as a process: what is started and stopped, in which order, and on which signal. Called by `cli.daemon`.

Start: the daemon's lease, the page, the workers, the watcher, the first load, the clock. Stop, on SIGTERM or SIGINT:
no new step; running steps get up to `shutdownTimeout` seconds; then the lease is given back. SIGHUP reads everything
again.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from reconciler.daemon.fetching import Fetcher
from reconciler.daemon.logs import LogListener, configure
from reconciler.daemon.metrics import Metrics
from reconciler.daemon.notify import Notifier
from reconciler.daemon.reload import Reloader
from reconciler.daemon.resync import Resync
from reconciler.daemon.watcher import Watcher
from reconciler.daemon.watching import LiveWatches
from reconciler.daemon.worker import Worker
from reconciler.engine.reconcile import Reconciler
from reconciler.engine.runtime import Runtime
from reconciler.engine.workspace import Workspace
from reconciler.errors import LeaseLostError
from reconciler.loading.git_source import GitSource
from reconciler.store import leases
from reconciler.store.leases import Lease
from reconciler.transports.git_command import read_private
from reconciler.transports.git_place import GitPlace

if TYPE_CHECKING:
    from web.server import Served

log = logging.getLogger(__name__)
DAEMON_LEASE = "daemon"
WATCHES_TIMEOUT = 1.0
SILENCE = 30.0
"""Seconds without a tick after which the watchdog is no longer kept quiet."""


class Service:
    """One daemon over one database."""

    def __init__(self, runtime: Runtime, workspace: Workspace, specs: Path | GitPlace | None) -> None:
        self._runtime = runtime
        self._specs = specs
        self._metrics = Metrics()
        self._reconciler = Reconciler(runtime, long_lived=True)
        self._stop = threading.Event()
        self._page_stop = threading.Event()
        self._worker = Worker(self._reconciler, workspace, self._metrics, LogListener())
        self._reloader = Reloader(workspace, self._worker.queue, self._metrics)
        self._worker.dependents_of = self._reloader.dependents
        self._worker.followers_of = self._reloader.followers
        source = workspace.source if isinstance(workspace.source, GitSource) else None
        self._fetcher = Fetcher(runtime, workspace, self._reloader, source)
        finish, sync = self._worker.end_runs, self._fetcher.answer
        self._resync = Resync(runtime, self._reloader, self._worker.queue, finish, sync)
        self._watches = LiveWatches(runtime, workspace, self._worker.queue, self._metrics)
        self._reloader.on_moved = self._watches.moved
        self._notifier = Notifier(os.environ)
        self._hung_up = threading.Event()
        self._told_ready = False
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
        self._watches.start()
        self._reloader.start()
        self._fetcher.start()
        self._resync.start()

    def _wait(self, lease: Lease) -> bool:
        """Until somebody says stop. True when the daemon's lease was lost."""
        while not self._stop.wait(0.2):
            if lease.lost.is_set():
                log.error("another daemon took over; stopping")
                return True
            self._tell_manager()
        log.info("stopping: no new step is started")
        return False

    def _tell_manager(self) -> None:
        """What the service manager waits for: that we are ready, again after SIGHUP, and that we are alive."""
        if self._hung_up.is_set():
            self._hung_up.clear()
            self._told_ready = False
            self._notifier.reloading()
            self._reload()
        if not self._told_ready and not self._why_not_ready() and self._reloader.idle.is_set():
            self._told_ready = True
            self._notifier.ready(f"looking after {self._specs or 'what the API keeps'}")
        self._notifier.beat(alive=time.monotonic() - self._resync.beat < SILENCE)

    def _reload(self) -> None:
        """Read everything again, from the remote too."""
        self._reloader.request()
        if self._fetcher.fetches:
            self._fetcher.request()

    def _shut_down(self, watcher: Watcher | None, served: Served) -> None:
        self._runtime.stopping.set()
        self._notifier.stopping()
        if watcher is not None and watcher.running:
            watcher.stop()
        self._resync.stop()
        self._fetcher.stop()
        self._reloader.stop()
        if not self._watches.stop(WATCHES_TIMEOUT):
            log.info("a watch that waits for a connection ends with this process")
        timeout = self._runtime.settings.shutdown_timeout
        if not self._worker.stop(timeout):
            log.warning("steps still ran after %g s; they end with this process and are unconfirmed", timeout)
        self._page_stop.set()
        served.join(5)
        self._reconciler.close()
        log.info("stopped")

    def _serve(self) -> Served:
        from reconciler.daemon.health import health_routes  # noqa: PLC0415 - starlette, only where a page is served
        from reconciler.loading.settings import api_token  # noqa: PLC0415
        from web.admission import Admission  # noqa: PLC0415
        from web.asgi import create_asgi_app  # noqa: PLC0415
        from web.server import serve  # noqa: PLC0415
        from web.settings import PageSettings  # noqa: PLC0415
        from web.webhook import webhook_routes  # noqa: PLC0415
        from web.writing import Writer  # noqa: PLC0415

        web = self._runtime.settings.web
        routes = health_routes(lambda: self._resync.beat, self._why_not_ready, self._metrics)
        routes += webhook_routes(self._webhook_secret, self._fetcher.request)
        page = PageSettings(host=web.host, allowed_hosts=web.allowed_hosts)
        writing = (Writer(self._runtime), Admission(api_token(self._runtime.home)))
        app = create_asgi_app(self._runtime.database, page, routes, writing)
        return serve(app, web.host, web.port, self._page_stop)

    def _why_not_ready(self) -> str:
        if self._fetcher.fetches and not self._fetcher.tried.is_set():
            return "the specs were not fetched yet"
        return "" if self._reloader.loaded.is_set() else "the specs were not loaded yet"

    def _webhook_secret(self) -> str:
        path = self._runtime.settings.git.webhook_secret_file
        return read_private(path).strip() if path is not None and self._fetcher.fetches else ""

    def _watcher(self) -> Watcher | None:
        if not isinstance(self._specs, Path):
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
            self._hung_up.set()

        handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                with suppress(TypeError):
                    signal.signal(number, handler)
