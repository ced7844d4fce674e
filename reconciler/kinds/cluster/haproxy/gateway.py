"""Which HAProxy carries routes: `haproxy` and `haproxies` of the kind's settings, typed. Called by all parts.

Only the settings say which file is written and which commands are run. A document names an HAProxy of the settings at
most: whoever may write documents may not thereby run programs on this host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import SpecError
from reconciler.kinds.cluster.haproxy.routes import FRONTENDS
from reconciler.model.duration import parse_duration

FILE_MARK = "${file}"
"""Stands in the command that checks a file for the path of what is checked."""
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LONGEST_HOST = 251
"""One label and a dot come before it."""
DEFAULT_FILE = "/etc/haproxy/haproxy.cfg"
DEFAULT_SOCKET = "/run/haproxy-master.sock"


@dataclass(frozen=True, slots=True)
class Gateway:
    """One HAProxy.

    name: "" for the one that is meant when a document names none. file: with all links followed. base_domain: below
    which clusters have their hosts, "" for none. frontends: which the routes go through. program: of HAProxy, to check
    files. check: another command for that, with FILE_MARK or reading the file from its input. master_socket: where the
    master process listens. reload: the command that makes it take the file, where the socket is not to. container: in
    which it runs, "" for none. in_place: the file is written, not replaced; None to find out. timeout: of each thing
    that is waited for, in seconds. host_address: under which it reaches ports of this host. node_port: of clusters
    that name none.
    """

    name: str
    file: Path
    base_domain: str
    frontends: tuple[str, ...]
    program: str
    check: tuple[str, ...]
    master_socket: Path | None
    reload: tuple[str, ...]
    container: str
    in_place: bool | None
    timeout: float
    host_address: str
    node_port: int

    def host_of(self, cluster: str, host: str) -> str:
        """The host of a cluster; host: of its spec, or "". Raises SpecError without one, and for what is none."""
        if not host and not self.base_domain:
            where = "set route.host, or kinds.Cluster.haproxy.baseDomain in the settings"
            raise SpecError("NoHost", f"nothing says under which host {cluster} is reached: {where}")
        found = host or f"{cluster}.{self.base_domain}"
        if len(found) > _LONGEST_HOST or not _HOST.fullmatch(found):  # it becomes a part of a line, and of a pattern
            raise SpecError("BadHost", f"{found[:100]!r} is no host name of letters, digits, dashes and dots")
        return found


def gateway_of(settings: Mapping[str, Any], name: str = "") -> Gateway:
    """The HAProxy of that name. settings: of the kind, as settings.json has them. Raises SpecError for a name that they
    do not have."""
    values: Mapping[str, Any] = settings.get("haproxy", {})
    others: Mapping[str, Any] = settings.get("haproxies", {})
    if name and name not in others:
        known = ", ".join(sorted(others)) or "none"
        message = f"the settings of kind Cluster have no HAProxy {name!r} in haproxies; they have {known}"
        raise SpecError("NoSuchHaproxy", message)
    return _gateway(name, {**values, **others[name]} if name else values)


def gateways(settings: Mapping[str, Any]) -> list[Gateway]:
    """Every HAProxy of the settings; none when they have none."""
    first = [""] if "haproxy" in settings else []
    return [gateway_of(settings, name) for name in (*first, *sorted(settings.get("haproxies", {})))]


def _gateway(name: str, values: Mapping[str, Any]) -> Gateway:
    reload: Mapping[str, Any] = values.get("reload", {})
    container = values.get("container", "")
    socket = reload.get("masterSocket", "" if container or "command" in reload else DEFAULT_SOCKET)
    return Gateway(
        name=name,
        file=Path(values.get("file", DEFAULT_FILE)).resolve(),
        base_domain=values.get("baseDomain", ""),
        frontends=tuple(values.get("frontends", FRONTENDS)),
        program=values.get("program", "haproxy"),
        check=tuple(values.get("check", ())),
        master_socket=Path(socket) if socket else None,
        reload=tuple(reload.get("command", ())),
        container=container,
        in_place=values.get("inPlace"),
        timeout=parse_duration(values.get("timeout", "30s")),
        host_address=values.get("hostAddress", "127.0.0.1"),
        node_port=values.get("nodePort", 30080),
    )
