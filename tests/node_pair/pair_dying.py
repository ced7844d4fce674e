"""Runs the real command line and kills it at one moment: `pair_dying.py begun:install_backup apply specs --yes`.

    begun:STEP      the step's row is stored, and nothing of it was done
    ran:STEP        all of the step was done, and nothing of that is stored
    stops:STEP      as begun, but it is stopped (SIGSTOP): whoever started it lets it go on

Taking a step back is the step `undo-STEP`. A moment that never comes kills nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from reconciler.cli.main import main
from reconciler.store import journal

_when, _, _step = sys.argv.pop(1).partition(":")
assert _when in ("begun", "ran", "stops")
_open, _close = journal.open_step, journal.close_step
_names: dict[int, str] = {}


def _dies_at(moment: str, step: str) -> None:
    if (moment, step) == (_when, _step):
        os.kill(os.getpid(), signal.SIGKILL)


def _opened(lease: Any, change_id: int, sequence: int, step: Any) -> int:
    number = _open(lease, change_id, sequence, step)
    _names[number] = step.name
    _dies_at("begun", step.name)
    if (_when, _step) == ("stops", step.name):
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    return number


def _closed(lease: Any, step_id: int, *rest: Any, **others: Any) -> None:
    _dies_at("ran", _names[step_id])
    _close(lease, step_id, *rest, **others)


journal.open_step, journal.close_step = _opened, _closed
main()
