"""Whether a port of this host is free. Called by `reserving` before a port is given."""

from __future__ import annotations

import socket

_ADDRESSES = ("0.0.0.0", "127.0.0.1")  # noqa: S104 - bound for a moment to see whether anybody else has it


def is_free(port: int) -> bool:
    """True when nobody listens on `port`, on every address or on the loopback address."""
    return all(_can_bind(address, port) for address in _ADDRESSES)


def _can_bind(address: str, port: int) -> bool:
    """Bound and never listened on, so that two who look at the same moment are not in each other's way."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what lingers after a close holds nobody up
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
