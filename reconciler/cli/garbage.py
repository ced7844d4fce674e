"""When Python looks for garbage in cycles. Called by `main`, and by the daemon's command.

Of itself it looks after every 700 new objects. While modules and documents are read nothing is garbage, so that over a
thousand looks, each at more objects than the last, take a sixth of the time of a short command.
"""

from __future__ import annotations

import gc

OF_A_COMMAND = 200_000
"""Objects between two looks: a command that ends soon hardly ever gets there, one that goes on does."""
OF_A_SERVICE = 10_000


def look_rarely() -> None:
    """For a process that has just begun."""
    gc.set_threshold(OF_A_COMMAND)


def look_at_what_is_new() -> None:
    """For a process that has all that it will keep, and stays: that is not looked at any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OF_A_SERVICE)


def look_no_more() -> None:
    """For a process that ends: its memory goes all at once, and need not be searched for garbage before."""
    gc.freeze()
