"""Which HAProxy carries routes: the section `haproxy` of the kind's settings, typed. Called by all that touches one.

Only the settings say which file is written and which commands are run. A document names an HAProxy of the settings at
most: whoever may write documents may not thereby run programs on this host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.errors import SpecError, UsageError
from reconciler.kinds.cluster.haproxy.routes import FRONTENDS
from reconciler.model.duration import parse_duration

FILE_MARK = "${file}"
"""Stands in the command that checks a file for the path of what is checked."""
DEFAULT_FILE = "/etc/haproxy/haproxy.cfg"
DEFAULT_SOCKET = "/run/haproxy-master.sock"
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


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
        """The host of a cluster, unless its spec gives one. Raises SpecError when nothing says where it lies."""
        if not host and not self.base_domain:
            where = "set route.host, or haproxy.baseDomain in the settings of kind Cluster"
            raise SpecError("NoHost", f"nothing says under which host {cluster} is reached: {where}")
        return host or f"{cluster}.{self.base_domain}"


def gateway_of(settings: Mapping[str, Any], name: str = "") -> Gateway:
    """The HAProxy of that name. settings: of the kind. Raises SpecError for a name that they do not have, UsageError
    for settings that are wrong."""
    section = _section(settings)
    others = section.get("others", {})
    if name and name not in others:
        known = ", ".join(sorted(others)) or "none"
        raise SpecError(
            "NoSuchHaproxy", f"the settings have no HAProxy {name!r} under haproxy.others; they have {known}"
        )
    values = {key: value for key, value in section.items() if key != "others"}
    return _gateway(name, {**values, **others[name]} if name else values)


def gateways(settings: Mapping[str, Any]) -> list[Gateway]:
    """Every HAProxy of the settings; none when they have no such section."""
    if "haproxy" not in settings:
        return []
    return [
        gateway_of(settings),
        *(gateway_of(settings, name) for name in sorted(_section(settings).get("others", {}))),
    ]


def _section(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    section = settings.get("haproxy", {})
    if not isinstance(section, Mapping):
        raise _wrong("", "it is no mapping")
    others = section.get("others", {})
    if not isinstance(others, Mapping) or not all(isinstance(one, Mapping) for one in others.values()):
        raise _wrong("others", "it has to be settings of further HAProxies by name")
    return section


def _gateway(name: str, values: Mapping[str, Any]) -> Gateway:
    for key, value in values.items():
        if key not in _FORMS:
            raise _wrong(key, f"there is no such setting; there are {', '.join(_FORMS)}, others")
        is_right, expected = _FORMS[key]
        if not is_right(value):
            raise _wrong(key, f"expected {expected}")
    reload: Mapping[str, Any] = values.get("reload", {})
    container = values.get("container", "")
    is_default = not (container or "command" in reload)
    socket = reload.get("masterSocket", DEFAULT_SOCKET if is_default else None)
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


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and Path(value).is_absolute()


def _is_host(value: Any) -> bool:
    return isinstance(value, str) and _HOST.fullmatch(value) is not None


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./:-]{0,254}", value) is not None


def _is_command(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) and word for word in value)


def _is_reload(value: Any) -> bool:
    known = {"masterSocket": _is_path, "command": _is_command}
    return isinstance(value, Mapping) and all(key in known and known[key](one) for key, one in value.items())


def _is_duration(value: Any) -> bool:
    try:
        return isinstance(value, str) and parse_duration(value) > 0
    except ValueError:
        return False


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536


def _is_list_of_words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_word, value))


_FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "file": (_is_path, "an absolute path"),
    "baseDomain": (_is_host, "a domain in lower case, such as apps.example.org"),
    "frontends": (_is_list_of_words, "a list of names of frontends"),
    "program": (_is_word, "the name or the path of a program"),
    "check": (_is_command, "a command as a list of words"),
    "reload": (_is_reload, "masterSocket (an absolute path) or command (a list of words), or both"),
    "container": (_is_word, "the name of a container"),
    "inPlace": (lambda value: isinstance(value, bool), "true or false"),
    "timeout": (_is_duration, "a duration like 30s"),
    "hostAddress": (_is_host, "an address or a host name"),
    "nodePort": (_is_port, "the number of a port"),
}


def _wrong(key: str, why: str) -> UsageError:
    place = f"haproxy.{key}" if key else "haproxy"
    return UsageError("BadSettings", f"kinds.Cluster.{place} in the settings: {why}")
