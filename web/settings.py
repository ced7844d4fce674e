"""How the page is served. Made by the daemon from its settings, read by `app`, `asgi` and `security`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PageSettings:
    """Settings of the page.

    host: the address that it is bound to. allowed_hosts: further names under which browsers may ask for it. workers:
    threads that make pages. max_viewers: open event streams at once. poll: seconds between two looks at the store.
    heartbeat: seconds of silence after which a stream says that it is still there.
    """

    host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    workers: int = 4
    max_viewers: int = 5000
    poll: float = 0.25
    heartbeat: float = 15.0

    def allows_host(self, header: str) -> bool:
        """True when the Host header names us.

        A page of somebody else can make its own name point to our address (DNS rebinding), but it cannot make the
        browser send another name. Bound to every address, we are also asked for by address: that is no name.
        """
        name = _host_name(header)
        if name in {"localhost", "127.0.0.1", "::1", _host_name(self.host), *map(str.lower, self.allowed_hosts)}:
            return True
        return self.host in ("0.0.0.0", "::", "") and _is_address(name)  # noqa: S104 - compared, not bound


def _host_name(header: str) -> str:
    """`Host` without its port and without the brackets of IPv6."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
