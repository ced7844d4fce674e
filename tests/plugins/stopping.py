"""Runs the real command line and stops the process at one moment: `stopping.py commit:7 apply specs/ --yes`.

`commit:N` is right before the Nth transaction is stored, so that the moments 1, 2, 3 … are every boundary between what
one kill -9 leaves in the store and what the next leaves there. Whoever started it kills it there, or lets it sleep.
"""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from typing import Any

from sqlalchemy import Engine, event

from reconciler.cli.main import main

_what, _, _number = sys.argv.pop(1).partition(":")
assert _what == "commit"
_commits = itertools.count(1)


@event.listens_for(Engine, "commit")
def _stop_at_it(_connection: Any) -> None:
    if next(_commits) == int(_number):
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # to this thread: it does not go on for a moment


main()
