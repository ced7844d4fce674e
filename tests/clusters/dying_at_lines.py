"""Runs the real command line and kills it at the Nth line of some code that it comes to.

`dying_at_lines.py 117 apply specs/ --yes`: a kill -9 before that line runs for the first time, counted over all threads
and over the files whose paths hold one of the parts in $DYING_IN, separated by colons.
Lines that run again, as while it waits, count once, so that the number means the same each time. It ends by itself when
it comes to fewer lines. 0 kills nothing and prints how many there were.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

_number = int(sys.argv.pop(1))
_seen: set[tuple[str, int]] = set()
_PARTS = os.environ["DYING_IN"].split(":")


def _at_call(frame: FrameType, event: str, argument: Any) -> Any:
    del event, argument
    return _at_line if any(part in frame.f_code.co_filename for part in _PARTS) else None


def _at_line(frame: FrameType, event: str, argument: Any) -> Any:
    del argument
    place = (frame.f_code.co_filename, frame.f_lineno)
    if event == "line" and place not in _seen:
        _seen.add(place)
        if len(_seen) == _number:
            os.kill(os.getpid(), signal.SIGKILL)
    return _at_line


threading.settrace(_at_call)
sys.settrace(_at_call)

from reconciler.cli.main import run  # noqa: E402 - under the trace

code = run(sys.argv[1:])
if _number == 0:
    print(f"lines: {len(_seen)}", file=sys.stderr)
sys.exit(code)
