"""Commands that outlive their connection: each runs on its host under a name, at most once. For kinds, over `Ssh`.

    BASE/NAME/               mode 0700, on a disk that survives a reboot
        script, runner       what runs, as it was put there
        running/             made whole by the runner that won: whoever finds it there runs nothing
            boot, pid        on which boot, and which process (with its start time)
        log                  the first megabyte of what it said
        status               how it ended, written last

Starting is asked for as often as it takes to be sure: a second runner finds `running/` and ends. Under systemd the
runner is a unit of its own, so that it belongs to no login; elsewhere it leads a session of its own. The deadline is
kept on the host, by `timeout`. What the script leaves behind (a daemon that it started) goes on; for what that may say
nobody waits longer than half a second.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from reconciler.errors import DeadlineError, TerminalError, UnreachableError
from reconciler.transports.output import KEPT_BYTES
from reconciler.transports.process import Completed
from reconciler.transports.ssh import Ssh

Standing = Literal["never", "running", "ended", "interrupted"]
"""never: nothing of it ran. interrupted: it ran and is gone without having ended: a reboot, or somebody killed it."""
TIMED_OUT = 124
BASE_OF_ROOT = "/var/lib/reconciler-node"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_ASK_TIMEOUT = 30.0
_BEGINS_WITHIN = 10.0
_POLL = (0.05, 1.0)
_USUAL = 'if test "$(id -u)" = 0; then base={root}; else base="$HOME/.local/state/reconciler-node"; fi'
_RUNNER = """#!/bin/sh
# Runs the script beside it, once: started by systemd-run or setsid, $1 seconds at most.
at=$(dirname "$0")
mine="$at/.running.$$"
mkdir "$mine" || exit 1
cat /proc/sys/kernel/random/boot_id >"$mine/boot"
echo $$ "$(cut -d ' ' -f 22 /proc/$$/stat)" >"$mine/pid"
mv -T "$mine" "$at/running" 2>/dev/null || { rm -rf "$mine"; exit 0; }
mkfifo -m 600 "$at/out"
{ head -c %(kept)d; cat >/dev/null; } <"$at/out" >"$at/log" 2>/dev/null &
reader=$!
timeout -k 5 "$1" /bin/sh "$at/script" >"$at/out" 2>&1 </dev/null
echo $? >"$at/status.new"
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 $reader 2>/dev/null || break; sleep 0.05; done
sync "$at/status.new" 2>/dev/null
mv "$at/status.new" "$at/status"
"""
_PUT = """set -e
umask 077
mkdir -p "$base"
chmod 700 "$base"
if ! test -d "$at"; then
  new=$(mktemp -d "$base/.new-XXXXXX")
  cat >"$new/script"
  printf '%s' {runner} >"$new/runner"
  mv -T "$new" "$at" 2>/dev/null || rm -rf "$new"
fi
if test -d "$at/running"; then exit 0; fi
if test -d /run/systemd/system && command -v systemd-run >/dev/null && test "$(id -u)" = 0; then
  systemd-run --quiet --collect --no-block --unit="reconciler-{name}-$$" --property=KillMode=process \\
    /bin/sh "$at/runner" {seconds}
else
  setsid /bin/sh "$at/runner" {seconds} </dev/null >/dev/null 2>&1 &
fi
"""
_ASK = """test -d "$at/running" || { echo never; exit 0; }
boot=$(cat "$at/running/boot")
read -r pid start <"$at/running/pid"
runs() {
  test "$(cut -d ' ' -f 22 "/proc/$pid/stat" 2>/dev/null)" = "$start" && return
  printf '%s' "$at/script" | grep -qsFf - /proc/[0-9]*/cmdline
}
if test -f "$at/status"; then echo "ended $(cat "$at/status") $boot"
elif test "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" && runs; then echo "running - $boot"
elif test -f "$at/status"; then echo "ended $(cat "$at/status") $boot"
else echo "interrupted - $boot"
fi
tail -c +{offset} "$at/log" 2>/dev/null | head -c {most}
"""
_FORGET = 'test ! -d "$at" || mv -T "$at" "$at.gone.$$" && rm -rf "$at".gone.*'


@dataclass(frozen=True, slots=True)
class Found:
    """How a command stands. status: its exit status once it ended. boot_id: on which boot of the host it ran.

    said: what it said after the offset that was asked for.
    """

    standing: Standing
    status: int | None = None
    boot_id: str = ""
    said: str = ""


class DetachedCommands:
    """The commands of one host. become: how to be root, as words before a command: `("sudo", "-n")`.

    base: the folder on the host in which they are kept; "" for the usual one of root, or of the user.
    """

    def __init__(self, ssh: Ssh, become: tuple[str, ...] = (), base: str = "") -> None:
        self._ssh = ssh
        self._become = become
        self._base = base

    def start(self, name: str, script: str, *, timeout: float, env: Mapping[str, str] | None = None) -> None:
        """Make sure that the command of this name has been started, once.

        script: for /bin/sh. timeout: seconds after which the host ends it, with status 124. A name that was used stays
        used until it is forgotten. Raises what `Ssh.run` raises; whether it was started is then what `ask` says.
        """
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in (env or {}).items())
        runner = shlex.quote(_RUNNER % {"kept": KEPT_BYTES})
        put = _PUT.format(name=_checked(name), runner=runner, seconds=max(1, round(timeout)))
        done = self._run(name, put, stdin=f"{exports}{script}\n")
        if done.returncode:
            raise TerminalError("NotStarted", f"{self._ssh.place}: {name} could not be started: {done.last_lines(3)}")

    def ask(self, name: str, offset: int = 0) -> Found:
        """How the command stands, and what it said from byte `offset` of its log on."""
        ask = _ASK.replace("{offset}", str(offset + 1)).replace("{most}", str(KEPT_BYTES))
        done = self._run(name, ask)
        first, _, said = done.stdout.partition("\n")
        words = first.split()
        if not words or words[0] not in ("never", "running", "ended", "interrupted"):
            raise UnreachableError("NotUnderstood", f"{self._ssh.place}: no answer about {name}: {done.last_lines(3)}")
        status = int(words[1]) if words[0] == "ended" and words[1:2] and words[1].isdigit() else None
        standing: Standing = words[0]  # type: ignore[assignment]  # one of the four, as was just looked at
        return Found(standing, status, words[2] if len(words) > 2 else "", said)

    def wait(
        self,
        name: str,
        *,
        timeout: float,
        on_output: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Found:
        """Wait until it runs no longer, passing on what it says. sleep: waits, or raises to end the wait.

        Raises DeadlineError after `timeout` seconds (it goes on then), UnreachableError when the host does not answer.
        """
        began, offset, pause = time.monotonic(), 0, _POLL[0]
        give_up = began + timeout
        while True:
            found = self.ask(name, offset)
            offset += len(found.said.encode("utf-8", "surrogateescape"))
            if found.said and on_output is not None:
                on_output(found.said)
            has_begun = found.standing != "never" or time.monotonic() - began > _BEGINS_WITHIN
            if found.standing != "running" and has_begun:
                return found
            if time.monotonic() >= give_up:
                raise DeadlineError("Deadline", f"{self._ssh.place}: {name} still runs after {timeout:g} s")
            sleep(pause)
            pause = min(pause * 1.5, _POLL[1])

    def forget(self, name: str) -> None:
        """Remove what was kept of a command that has ended."""
        self._run(name, _FORGET)

    def _run(self, name: str, script: str, stdin: str | None = None) -> Completed:
        where = f"base={shlex.quote(self._base)}" if self._base else _USUAL.format(root=BASE_OF_ROOT)
        base = f'{where}\nat="$base"/{_checked(name)}\n'
        command = shlex.join([*self._become, "/bin/sh", "-c", base + script])
        return self._ssh.run(command, timeout=_ASK_TIMEOUT, stdin=stdin)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise TerminalError("BadCommand", f"{name[:100]!r} is no name for a command: a-z, 0-9 and dashes")
    return name
