"""Tells systemd how the daemon is doing (sd_notify): `Type=notify` and `WatchdogSec=` of its unit. Used by `service`.

One datagram a message to the socket that `$NOTIFY_SOCKET` names, a path or, after `@`, an abstract name. Without the
variable nobody is told, and nobody is told twice that telling failed: a service manager must never stop a service by
not listening.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)
_MICRO = 1_000_000


class Notifier:
    """Messages to the service manager. environ: where the socket and the watchdog's time are named."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._every = _watchdog_seconds(environ) / 2
        self._beaten_at = 0.0
        self._warned = False

    def ready(self, status: str) -> None:
        """Started, or done with loading again."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Asked to load again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Begun to stop."""
        self._send("STOPPING=1", "STATUS=waiting for running steps")

    def beat(self, *, alive: bool) -> None:
        """Keep the watchdog quiet, as often as half its time. alive: False lets it bite."""
        now = time.monotonic()
        if self._every and alive and now - self._beaten_at >= self._every:
            self._beaten_at = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.connect(self._address)
                sender.send(message.encode())
        except OSError as error:
            if not self._warned:
                log.warning("the service manager could not be told: %s", error)
            self._warned = True


def _address(named: str) -> str | None:
    """The socket's address; None for none, and for a form that is not ours."""
    if named.startswith("@"):
        return f"\0{named[1:]}"
    return named if named.startswith("/") else None


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Seconds after which the watchdog of this very process bites, 0 for none."""
    text = environ.get("WATCHDOG_USEC", "")
    is_mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(text) / _MICRO if text.isdigit() and len(text) < 16 and is_mine else 0.0
