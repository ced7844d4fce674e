"""Loopback ports for control planes. Called by `control_plane` under the lock that it holds while it records them.

They lie below the range from which the kernel takes the local ports of outgoing connections, so that one that is
recorded is still free after a restart.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from secrets import SystemRandom

from reconciler.errors import TransientError

FIRST, LAST = 20000, 29999
_HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a closed connection is no obstacle
        try:
            tried.bind((_HOST, port))
            tried.listen(1)
        except OSError:
            return False
    return True


def free_port(taken: Collection[int]) -> int:
    """Any free port that is not `taken`."""
    for port in SystemRandom().sample(range(FIRST, LAST + 1), LAST + 1 - FIRST):
        if port not in taken and is_free(port):
            return port
    raise TransientError("NoPort", f"no port between {FIRST} and {LAST} is free on {_HOST}")
