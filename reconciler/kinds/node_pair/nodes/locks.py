"""Keeping a node's configuration from being changed during an upgrade. Called by `looking` and the steps.

    PAIR/lock          who holds it (run, expires: seconds of the node's clock or never, how)
    PAIR/immutable     what we made immutable, ended by NUL; never what an administrator had made so before
    PAIR/modes         mode and path of what we took write permissions from, each ended by NUL
    PAIR/unlock        the script that ends it, run by the timer reconciler-unlock-PAIR; `release` runs the same

A lock outlives a dead reconciler by at most its expiry: the timer is installed, enabled and looked at before anything
is locked. It fires at its time, after each boot, and every minute from then on; the script decides by the marker and
the clock. What is going to be locked is written down first, so that a lock that was half set can be taken back.
Without systemd nothing could do that: then the lock is `readonly` whatever was asked for, and does not expire.
"""

from __future__ import annotations

import math
import shlex
import time
from dataclasses import dataclass

from reconciler.errors import ReconcilerError, TerminalError
from reconciler.kinds.node_pair.nodes.node import Node
from reconciler.kinds.node_pair.nodes.pair_folder import check, checked_name, run_script
from reconciler.kinds.node_pair.nodes.sums import FIND, PACK, records, roots
from reconciler.kinds.node_pair.spec import ConfigurationSpec

_AT_ONCE = "now"
_NEVER = "never"
_FLAGS = r"""line='
'
each() {
  flags=$(lsattr -d "$@" 2>/dev/null) && test "$(printf '%s\n' "$flags" | wc -l)" -eq $# && {
    printf '%s\n' "$flags" | while read -r flags rest; do
      case $flags in *i*) told "$1" ;; *) untold "$1" ;; esac
      shift
    done
    return
  }
  for path; do
    if test -L "$path" || ! test -e "$path"; then continue; fi
    flags=$(lsattr -d "$path") || { unlockable "$path"; continue; }
    case ${flags%% *} in *i*) told "$path" ;; *) untold "$path" ;; esac
  done
}
told() { :; }
untold() { :; }
unlockable() { :; }
"""
"""`each PATH...` calls `told` for those that are immutable and `untold` for the others, asking for many at once."""
_STILL_IMMUTABLE = rf"""{_FLAGS}told() {{ printf 'path %s\0' "$1"; }}
each "$@"
"""
_UNLOCK_READONLY = r"""mode=$1 path=$2
test -L "$path" || ! test -e "$path" || test "$(stat -c %a "$path")" = "$mode" || chmod "$mode" "$path" || exit 1
"""
_UNLOCK = rf"""#!/bin/sh
# Ends the lock of the pair's configuration once its time is past, with `now` at once; started by its timer as well.
export LC_ALL=C
umask 077
pair=$1 timer=reconciler-unlock-$2.timer service=reconciler-unlock-$2.service
cd "$pair" 2>/dev/null || exit 0
is_due() {{
  test "$3" != {_AT_ONCE} && test -f lock || return 0
  expires=$(sed -n 's/^expires //p' lock)
  test "$expires" != {_NEVER} && test "$(date +%s)" -ge "$expires"
}}
is_due "$@" || exit 0
exec 9>>busy
flock -w 60 9 || exit 75
is_due "$@" || exit 0
if test -f immutable; then
  xargs -0 -r chattr -f -i <immutable >/dev/null 2>&1
  left=$(xargs -0 -r sh -c {shlex.quote(_STILL_IMMUTABLE)} sh <immutable | tr '\0' ' ') && test -z "$left" ||
    {{ echo "still immutable: $left" >&2; exit 1; }}
fi
if test -f modes; then
  xargs -0 -r -n 2 sh -c {shlex.quote(_UNLOCK_READONLY)} sh <modes ||
    {{ echo "not all is writable again" >&2; exit 1; }}
fi
rm -f immutable modes more && {{ sync . 2>/dev/null || sync; }} && rm -f lock
at=/etc/systemd/system
if test -d /run/systemd/system && {{ test -e "$at/$timer" || test -e "$at/$service" || test -e unlock; }}; then
  test ! -e "$at/$timer" || systemctl disable --no-reload --quiet --now "$timer" || exit 1
  rm -f "$at/$timer" "$at/$timer.new" "$at/$service" "$at/$service.new" "/var/lib/systemd/timers/stamp-$timer"
  systemctl daemon-reload
  systemctl reset-failed "$timer" "$service" 2>/dev/null
fi
rm -f unlock *.new
"""
_UNITS = r"""unit() { printf '[Unit]\nDescription=Unlocks the configuration of the pair %s\n\n' "$name"; }
put() { cat >"$1.new" && { sync "$1.new" 2>/dev/null || sync; } && mv "$1.new" "$1"; }
expiring() {
  timer=reconciler-unlock-$name.timer service=reconciler-unlock-$name.service at=/etc/systemd/system
  printf %s "$unlock" | put "$pair/unlock" &&
    { unit && printf '[Service]\nType=oneshot\nExecStart=/bin/sh %s/unlock %s %s\n' "$pair" "$pair" "$name"; } |
    put "$at/$service" && {
    unit && printf '[Timer]\nOnCalendar=%s\n' "$(date -u -d "@$expires" '+%Y-%m-%d %H:%M:%S UTC')" &&
      printf 'Persistent=true\nOnBootSec=5s\nOnUnitInactiveSec=60s\nAccuracySec=1s\nUnit=%s\n\n' "$service" &&
      printf '[Install]\nWantedBy=timers.target\n'
  } | put "$at/$timer" && systemctl enable --no-reload --quiet "$timer" && systemctl daemon-reload &&
    systemctl restart "$timer" || refuse NotLocked "the timer that would end the lock could not be installed"
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    next=$(systemctl show --property=NextElapseUSecRealtime "$timer")
    test -z "${next#*=}" || break
    sleep 0.1
  done
  test "$(systemctl is-enabled "$timer")" = enabled && systemctl is-active --quiet "$timer" &&
    test -n "${next#*=}" && test -f "$pair/unlock" ||
    refuse NotLocked "the timer that would end the lock does not run: systemctl status $timer"
}
"""
_MUTABLE = rf"""{_FLAGS}untold() {{ printf '%s\0' "$1"; }}
unlockable() {{
  echo "!NotLocked $1 cannot be made immutable on its file system: take lock: readonly" >&2
  exit 1
}}
each "$@"
"""
_WRITABLE = rf"""{_FLAGS}untold() {{
  mode=$(stat -c %a "$1") || exit
  printf '%s\0%s\0' "$mode" "$1"
}}
unlockable() {{ untold "$1"; }}
each "$@"
"""
_TAKE = r"""run=$1 seconds=$2 how=$3
shift 3
alone
for root; do test ! -L "$root" || refuse NotLocked "$root is a symbolic link: name what it points to"; done
marked() { printf 'run %s\nexpires %s\nhow %s\n' "$run" "$1" "$how" | put "$pair/lock" || exit 1; }
if test -d /run/systemd/system && command -v systemctl >/dev/null; then
  expires=$(($(date +%s) + seconds))
  marked "$expires"
  expiring
else
  how=readonly
  marked never
fi
list() {
  for root; do
    if absent "$root"; then continue; fi
    if test "$how" = immutable; then
      below "$root" \( -type f -o -type d \) -exec sh -c "$mutable" sh {} +
    else
      below "$root" \( -type f -o -type d \) \( -perm -200 -o -perm -020 -o -perm -002 \) \
        -exec sh -c "$writable" sh {} +
    fi || exit 1
  done
}
for try in 1 2 3 4 5; do
  list "$@" >"$pair/more" || exit 1
  if ! test -s "$pair/more"; then
    rm -f "$pair/more"
    exit 0
  fi
  if test "$how" = immutable; then names=immutable; else names=modes; fi
  { test ! -f "$pair/$names" || cat "$pair/$names"; cat "$pair/more"; } | put "$pair/$names" || exit 1
  if test "$how" = immutable; then xargs -0 -r chattr +i <"$pair/more"
  else xargs -0 -r -n 2 sh -c 'chmod a-w "$2"' sh <"$pair/more"
  fi || refuse NotLocked "not all of it could be locked; where chattr +i does not work take lock: readonly"
done
refuse NotLocked "files go on appearing below $*"
"""
_STILL_READONLY = r"""test ! -e "$2" || test $((0$(stat -c %a "$2") & 0222)) != 0 || printf "path %s\0" "$2"
"""
_LOOK = rf"""cd "$pair" 2>/dev/null || {{
  printf 'end\0'
  exit 0
}}
if test -f lock; then
  printf 'run %s\0' "$(sed -n 's/^run //p' lock)"
  expires=$(sed -n 's/^expires //p' lock)
  test "$expires" = {_NEVER} || printf 'left %s\0' $((expires - $(date +%s)))
  test ! -f immutable || xargs -0 -r sh -c {shlex.quote(_STILL_IMMUTABLE)} sh <immutable || exit 1
  test ! -f modes || xargs -0 -r -n 2 sh -c {shlex.quote(_STILL_READONLY)} sh <modes || exit 1
fi
printf 'end\0'
"""


@dataclass(frozen=True, slots=True)
class LockSeen:
    """A lock on a node. held: it was taken and not given back. run: by whom.

    expires_at: epoch seconds of our clock; 0 for one that does not expire by itself. paths: what is really locked now.
    """

    held: bool
    run: str = ""
    expires_at: float = 0.0
    paths: tuple[str, ...] = ()


class ConfigurationLock:
    """The lock on all files and folders below the paths of a pair's configuration, on one node."""

    def __init__(self, node: Node, spec: ConfigurationSpec, pair: str) -> None:
        self._node = node
        self._spec = spec
        self._pair = checked_name(pair)

    def take(self, run: str, expires_at: float) -> None:
        """Lock all of it, until `release` or until expires_at (epoch seconds of our clock). Taking it again moves that.

        Raises TerminalError("NotLocked"): then nothing is locked that was not before, and no timer is left.
        """
        if self._spec.lock == "none":
            return
        seconds = math.ceil(expires_at - time.time())
        if seconds <= 0:
            raise TerminalError("NotLocked", f"{self._node.role}: the lock would have expired already")
        had = self.look()
        script = f"{FIND}unlock={shlex.quote(_UNLOCK)}\nmutable={shlex.quote(_MUTABLE)}\n"
        script += f"writable={shlex.quote(_WRITABLE)}\n{_UNITS}{_TAKE}"
        arguments = [self._pair, checked_name(run), str(seconds), self._spec.lock, *roots(self._spec.paths)]
        done = run_script(self._node, script, arguments)
        try:
            check(done, self._node)
        except TerminalError as error:
            if not had.held:
                self.release()
            raise TerminalError("NotLocked", error.message) from error

    def release(self) -> None:
        """Unlock what we locked, and remove the timer and the marker. Nothing when the expiry did it already.

        Raises TerminalError("NotUnlocked"): the lock is still marked then, and its timer goes on trying.
        """
        script = f'sh -c {shlex.quote(_UNLOCK)} sh "$pair" "$name" {_AT_ONCE}'
        done = run_script(self._node, script, [self._pair])
        try:
            check(done, self._node)
        except ReconcilerError as error:
            raise TerminalError("NotUnlocked", f"{error.message}; see lsattr and ls -l of its paths") from error

    def look(self) -> LockSeen:
        """What is locked by us now. Reads only."""
        done = run_script(self._node, f"{{ {_LOOK}}} | {PACK}", [self._pair])
        told = [record.decode("utf-8", "surrogateescape").split(" ", 1) for record in records(done, self._node)]
        words = {kind: rest for kind, rest in told if kind != "path"}
        if "run" not in words:
            return LockSeen(False)
        expires_at = time.time() + float(words["left"]) if "left" in words else 0.0
        return LockSeen(True, words["run"], expires_at, tuple(sorted({rest for kind, rest in told if kind == "path"})))
