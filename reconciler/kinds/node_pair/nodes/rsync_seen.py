"""What a look at a node's rsync says, as values. Pure. Called by `rsync_control`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from reconciler.kinds.node_pair.nodes.pause_marks import Pause, in_force

RsyncStatus = Literal["RUNNING", "STOPPED"]
"""UNKNOWN is what a caller says when looking raised."""
Control = Literal["systemd", "sysv", "command"]
_STOPPED = ("inactive", "failed")
_STARTERS = (".timer", ".socket", ".path")


@dataclass(frozen=True, slots=True)
class RsyncSeen:
    """How the rsync of a node stands. exists: there is such a unit, script or command. pause: our marker on the node.

    timers: what would start it or a client of it, as far as it is active now: units, and files of cron. children:
    processes of the daemon, that is transfers in progress. detail: for people.
    """

    status: RsyncStatus
    exists: bool
    pause: Pause | None
    timers: tuple[str, ...]
    children: int
    detail: str


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit that exists: Id|ActiveState|UnitFileState|MainPID|TriggeredBy|Triggers."""

    id: str
    state: str
    main_pid: str
    triggered_by: tuple[str, ...]
    triggers: tuple[str, ...]

    @property
    def runs(self) -> bool:
        return self.state not in _STOPPED


def seen_of(said: str, control: Control, unit: str, port: int) -> RsyncSeen:
    """From what the script LOOK printed."""
    found: dict[str, list[str]] = {}
    for line in said.splitlines():
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest)
    units = [_unit(line) for line in found.get("unit", ())]
    main = found.get("main", [""])[0]
    daemon = next((one for one in units if one.id == main), None)
    listeners = _listeners(found.get("listen", ()))
    pause = in_force(found["marker"]) if "marker" in found else None
    says_so = "status" in found
    runs = bool(listeners) or says_so or (daemon is not None and daemon.runs)
    return RsyncSeen(
        status="RUNNING" if runs else "STOPPED",
        exists=_exists(control, main, units, found),
        pause=pause,
        timers=(*(one.id for one in units if one.runs and _starts(one, main, units)), *found.get("cron", ())),
        children=len(found.get("child", ())),
        detail="; ".join(
            one
            for one in (
                _of_daemon(control, unit, daemon),
                _of_port(listeners, port),
                "its status command says that it runs" if says_so and not listeners else "",
                _of_pause(pause, control),
            )
            if one
        ),
    )


def _unit(line: str) -> _Unit:
    id_, state, _, main_pid, triggered_by, triggers = line.split("|", 5)
    return _Unit(id_, state, main_pid, tuple(triggered_by.split()), tuple(triggers.split()))


def _starts(unit: _Unit, main: str, units: Sequence[_Unit]) -> bool:
    """Whether it is something that starts another, or was named itself: not the daemon, nor what others start."""
    if unit.id.endswith(_STARTERS):
        return True
    return unit.id != main and not any(unit.id in one.triggers for one in units)


def _exists(control: Control, main: str, units: Sequence[_Unit], found: Mapping[str, Sequence[str]]) -> bool:
    if control == "systemd":
        own = f"{main.rpartition('.')[0]}.socket"
        return any(one.id in (main, own) or main in one.triggers for one in units)
    return control == "command" or "script" in found


def _listeners(lines: Sequence[str]) -> dict[str, str]:
    """Names of the processes that listen, by process id; "0" only where none of them may be seen."""
    found = {pid: _printing(name) for pid, _, name in (line.partition(" ") for line in lines)}
    return {pid: name for pid, name in found.items() if pid != "0"} or found


def _printing(name: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in name)[:50]


def _of_daemon(control: Control, unit: str, daemon: _Unit | None) -> str:
    if control != "systemd":
        return ""
    if daemon is None:
        return f"there is no {unit}"
    return f"{daemon.id} is {daemon.state}" + (f" (pid {daemon.main_pid})" if daemon.main_pid not in ("", "0") else "")


def _of_port(listeners: Mapping[str, str], port: int) -> str:
    if not listeners:
        return f"nothing listens on port {port}"
    who = ", ".join("something" if pid == "0" else f"{name} (pid {pid})" for pid, name in listeners.items())
    return f"{who} listens on port {port}"


def _of_pause(pause: Pause | None, control: Control) -> str:
    if pause is None:
        return ""
    since = datetime.fromtimestamp(pause.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if pause.at else "an unknown time"
    who = f"for upgrade {pause.by}" if pause.reason == "UPGRADE" else f"by hand, by {pause.by},"
    lasts = (
        "" if control == "systemd" else "; a reboot may start it again, which control " + control + " cannot prevent"
    )
    return f"paused {who} since {since}{lasts}"
