"""The rsync of one node under control: looked at, paused, stopped, resumed. For what steps and commands of a pair do.

What is meant by it: the daemon of the spec's port, found by its unit or by who listens there, with its transfers and
with what would start it again; never another rsync. A pause is a marker on the node that names who, why and since when.
With control `systemd` it holds over a reboot, because the units do not start while the marker is there; so do the files
of cron, which are moved aside. A script of /etc/init.d or a command of the spec has no such condition: with control
`sysv` and `command` the daemon is stopped, and a reboot may start it again.
"""

from __future__ import annotations

from typing import NoReturn

from reconciler.errors import BlockedError, DeadlineError, TerminalError
from reconciler.kinds.node_pair.nodes import rsync_scripts
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.pause_marks import Pause as Pause
from reconciler.kinds.node_pair.nodes.pause_marks import Reason, one_line
from reconciler.kinds.node_pair.nodes.rsync_seen import RsyncSeen as RsyncSeen
from reconciler.kinds.node_pair.nodes.rsync_seen import RsyncStatus as RsyncStatus
from reconciler.kinds.node_pair.nodes.rsync_seen import seen_of
from reconciler.kinds.node_pair.spec import RsyncSpec
from reconciler.transports.process import Completed

STOP_TIMEOUT = 95.0
"""Seconds for one call that stops or starts: a little longer than systemd gives a unit by itself."""
_LOOK_TIMEOUT = 60.0
_SUFFIXES = (".service", ".socket", ".path", ".target")


class RsyncControl:
    """The rsync of one node of a pair.

    stop_timeout: seconds that stopping or starting it once may take. What every method may raise beside what it names:
    UnreachableError, WaitingError, TerminalError (no login, host key), as `Node.run` does.
    """

    def __init__(self, node: Node, spec: RsyncSpec, pair: str, *, stop_timeout: float = STOP_TIMEOUT) -> None:
        self._node = node
        self._spec = spec
        self._pair = pair
        self._port = spec.ports[node.role]
        self._stop_timeout = stop_timeout

    def look(self) -> RsyncSeen:
        """How it stands, in one round trip. Raises TerminalError("RsyncUnknown") when that cannot be seen."""
        done = self._run(rsync_scripts.LOOK, timeout=_LOOK_TIMEOUT)
        if done.returncode or not done.stdout.endswith("end\n"):
            raise TerminalError("RsyncUnknown", f"{self._where}: the state of rsync cannot be seen: {_why(done)}")
        return seen_of(done.stdout, self._spec.control, self._unit, self._port)

    def pause(self, pause: Pause) -> None:
        """Stop it with its transfers, timers, sockets and files of cron, and keep it from starting. Idempotent.

        A pause that is there for the other reason stays in force beside this one. Raises TerminalError("PauseFailed")
        with what to check; the marker is then there all the same, and `resume` takes back what was done.
        """
        try:
            done = self._run(rsync_scripts.PAUSE, pause, timeout=3 * self._stop_timeout + 60)
        except DeadlineError as error:
            raise self._failed("PauseFailed", "could not be paused", error.message) from error
        if done.returncode:
            raise self._failed("PauseFailed", "could not be paused", _why(done))

    def stop(self) -> None:
        """Stop the daemon with its transfers, without a mark. Raises TerminalError("StillRunning")."""
        try:
            done = self._run(rsync_scripts.STOP, timeout=2 * self._stop_timeout + 60)
        except DeadlineError as error:
            raise self._failed("StillRunning", "does not stop", error.message) from error
        if done.returncode:
            raise self._failed("StillRunning", "does not stop", _why(done))

    def resume(self, reason: Reason) -> None:
        """Take back the pause of this reason: what ran before runs again, and on the master the daemon in any case.

        One try, which may be repeated. While a pause for the other reason is in force nothing is started: BlockedError
        ("PausedByHand" or "PausedByUpgrade"). Raises TerminalError("ResumeFailed") with what to check.
        """
        try:
            done = self._run(rsync_scripts.RESUME, Pause(reason, "", 0.0), timeout=2 * self._stop_timeout + 60)
        except DeadlineError as error:
            raise self._failed("ResumeFailed", "could not be resumed", error.message) from error
        self._log(done)
        if done.returncode in (rsync_scripts.BY_HAND, rsync_scripts.BY_UPGRADE):
            self._refuse(done)
        if done.returncode:
            raise self._failed("ResumeFailed", "could not be resumed", _why(done))

    def forget(self) -> None:
        """Remove everything of ours, and put back what was moved aside; nothing is started.

        Raises TerminalError("NotForgotten").
        """
        done = self._run(rsync_scripts.FORGET, timeout=_LOOK_TIMEOUT * 2)
        self._log(done)
        if done.returncode:
            raise TerminalError("NotForgotten", f"{self._where}: a pause of rsync cannot be removed: {_why(done)}")

    @property
    def _where(self) -> str:
        return f"{self._node.role} ({self._node.address})"

    @property
    def _unit(self) -> str:
        """The unit by its whole name; the name of a script as it is."""
        unit = self._spec.unit
        return unit if self._spec.control != "systemd" or unit.endswith(_SUFFIXES) else f"{unit}.service"

    def _run(self, script: str, pause: Pause | None = None, *, timeout: float) -> Completed:
        spec, by = self._spec, one_line(pause.by) if pause is not None else ""
        mark = (pause.reason, f"{pause.at:.3f}", by) if pause is not None else ("", "", "")
        daemon = (self._pair, self._node.role, str(self._port), spec.control, self._unit)
        commands = (str(max(1, round(self._stop_timeout))), spec.start, spec.stop, spec.status)
        words = ["/bin/sh", "-c", script, "sh", *mark, *daemon, *commands, *spec.timers]
        return self._node.run(words, timeout=timeout)

    def _log(self, done: Completed) -> None:
        if done.stdout:
            self._node.log(done.stdout)

    def _refuse(self, done: Completed) -> NoReturn:
        who = done.last_lines(1).strip()
        if done.returncode == rsync_scripts.BY_HAND:
            message = f"{self._where}: rsync was paused by hand, by {who}; `reconciler rsync resume` takes that back"
            raise BlockedError("PausedByHand", message)
        message = f"{self._where}: rsync is also paused by upgrade {who}, and starts when that has ended"
        raise BlockedError("PausedByUpgrade", message)

    def _failed(self, reason: str, what: str, why: str) -> TerminalError:
        unit = self._unit
        ways = {
            "systemd": f"`systemctl status {unit}`",
            "sysv": f"`/etc/init.d/{unit} status`",
            "command": f"`{self._spec.start if reason == 'ResumeFailed' else self._spec.stop}`",
        }
        check = f"check {ways[self._spec.control]} and `ss -ltnp 'sport = :{self._port}'` there"
        return TerminalError(reason, f"{self._where}: rsync {what}: {why}; {check}")


def _why(done: Completed) -> str:
    said = "; ".join(line.strip() for line in done.last_lines(6).splitlines() if line.strip())
    return said or f"it ended with {done.returncode}"
