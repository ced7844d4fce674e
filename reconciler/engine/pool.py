"""A bounded pool of daemon threads. Used by the observer and the executor.

`concurrent.futures.ThreadPoolExecutor` joins its threads when the interpreter ends, so that one hung call would keep a
finished command from returning; these threads end with the process.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonPool:
    """At most `size` calls at a time, in the order in which they were submitted."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call it on some thread; the future has its answer or its exception."""
        future: Future[T] = Future()
        self._calls.put((future, lambda: function(*args, **kwargs)))
        if not self._idle.acquire(blocking=False):
            self._grow()
        return future

    def close(self) -> None:
        """Start nothing more; calls that wait are cancelled, calls that run go on."""
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                break
            if call is not None:
                call[0].cancel()
        for _ in self._threads:
            self._calls.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the threads of a closed pool. False when some still run after `timeout` seconds in all."""
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _grow(self) -> None:
        with self._lock:
            if len(self._threads) >= self._size:
                return
            name = f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, run = call
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(run())
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks the future
                    future.set_exception(error)
            del future, run, call
            self._idle.release()
