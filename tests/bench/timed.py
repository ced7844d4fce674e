"""Runs the real command line and notes what the entry kind itself costs: `timed.py COSTS daemon specs/`.

Each call appends a line to the file COSTS: what, when it ended, seconds of wall time, seconds of its thread's CPU. So
that what the live system costs can be told from what the reconciler does.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from entry_kind import kind

from reconciler.cli.main import main


def timed(what: str, function: Callable[..., Any], costs: int) -> Callable[..., Any]:
    """The function, with its cost noted."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent = f"{time.perf_counter() - wall:.6f} {time.thread_time() - cpu:.6f}"
            os.write(costs, f"{what} {time.time():.6f} {spent}\n".encode())

    return call


noted = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
kind.Entry.observe = timed("observe", kind.Entry.observe, noted)  # type: ignore[method-assign]  # that is the point
kind._change = timed("change", kind._change, noted)
sys.argv[0] = "reconciler"
main()
