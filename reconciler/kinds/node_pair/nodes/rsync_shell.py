"""Functions in POSIX sh with which a node's rsync is found: its units, its processes. For `rsync_scripts`.

Who holds the port is read from /proc alone: sockets by port, processes by socket. `ss` would say the same, with names
in between that a process chooses for itself, and is not everywhere.
"""

from __future__ import annotations

BEGIN = r"""
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
reason=$1 at=$2 by=$3; shift 3
pair=$1 role=$2 port=$3 control=$4 unit=$5 seconds=$6 start=$7 stop=$8 status=$9; shift 9
if test "$(id -u)" = 0; then base=/var/lib/reconciler-node; else base=$HOME/.local/state/reconciler-node; fi
place=$base/pairs/$pair
marker=$place/rsync-pause-$port     # by port: the nodes of a pair may be two folders of one machine
conf=reconciler-$pair-$port.conf
IFS='
'
set -f
trouble= stopping= said=
unknown() { printf '%s\n' "$1" >&2; exit 10; }
failed() { printf '%s\n' "$1" >&2; exit 11; }
note() { trouble="$trouble$1$IFS"; }
lines() { test -z "$1" || printf '%s\n' "$1"; }
is_there() { test -f "$1" || test -L "$1"; }
read_marker() { text= ; test ! -e "$marker" || text=$(cat "$marker") || unknown "$marker cannot be read"; }
alone() {   # one of us at a time: a script whose connection was lost may still be at work. A full disk stops nobody
  umask 077
  mkdir -p "$place" && chmod 700 "$base"
  command -v flock >/dev/null 2>&1 && (: >>"$place/lock-$port") 2>/dev/null || return 0
  exec 9>>"$place/lock-$port"
  tries=0
  until flock -n 9; do
    tries=$((tries + 1))
    test $tries -lt 150 || failed "an earlier call still holds $place/lock-$port"
    sleep 0.2
  done
}
keep_marker() {   # standard input, whole or not at all, and on the disk
  cat >"$marker.new" && { sync "$marker.new" 2>/dev/null || sync; } && mv -f "$marker.new" "$marker" || return 1
  sync "$place" 2>/dev/null || :
}
aside_of() { printf '%s\n' "${1%/*}/.${1##*/}.reconciler-paused"; }    # with dots, which no cron reads
"""

UNITS = r"""
named_units= cron_files=
for one in "$@"; do
  case $one in
    /*) cron_files="$cron_files$one$IFS" ;;
    *@.*) ;;                        # a template is nothing that runs
    *) named_units="$named_units$one$IFS" ;;
  esac
done
systemd() { test -d /run/systemd/system; }
state_of_main() {
  timeout 20 systemctl show --property=ActiveState --value -- "$main" 2>&1 || unknown "systemctl does not answer"
}
table() {   # of units that exist: Id|ActiveState|UnitFileState|MainPID|TriggeredBy|Triggers
  shown=Id,LoadState,ActiveState,UnitFileState,MainPID,TriggeredBy,Triggers
  raw=$(timeout 20 systemctl show --no-pager --property="$shown" -- "$@" 2>&1) ||
    unknown "systemctl does not answer: $raw"
  lines "$raw" | awk '
    function flush(id) {
      id = of["Id"]
      if (id != "" && of["LoadState"] != "not-found" && !(id in seen)) print id "|" of["ActiveState"] "|" \
        of["UnitFileState"] "|" of["MainPID"] "|" of["TriggeredBy"] "|" of["Triggers"]
      seen[id] = 1
      split("", of)
    }
    /^$/ { flush(); next }
    { name = $0; sub(/=.*/, "", name); sub(/^[^=]*=/, ""); of[name] = $0 }
    END { flush() }'
}
discover() {   # sets units, a table: of the daemon (main), of what was named, and of what starts or is started by these
  main= units=
  test "$control" != systemd || systemd || unknown "systemd does not run here"
  systemd || return 0
  if test "$control" = systemd; then
    case $unit in *@.*) unknown "$unit is a template" ;; esac
    main=$(table "$unit" | cut -d '|' -f 1) || exit     # by its own name, not an alias
    main=${main:-$unit}
    named="$main$IFS${main%.*}.socket$IFS$named_units"
  else
    named=$named_units
  fi
  test -n "$named" || return 0
  units=$(table $named) || exit
  more=$(lines "$units" | awk -F'|' '{ print $5 " " $6 }' | tr -s ' ' '\n' | grep -v '@\.' | grep .)
  test -z "$more" || more=$(table $more) || exit
  units=$(lines "$units$IFS$more" | awk -F'|' 'NF && !seen[$1]++')
}
ids() { lines "$units" | cut -d '|' -f 1; }
is_main() { case $IFS$units in *"$IFS$main|"*) test -z "$main" || echo "$main" ;; *) return 1 ;; esac; }
starters() { ids | grep -E '\.(timer|socket|path)$'; }
services() { ids | grep -vE '\.(timer|socket|path)$'; }
sockets_of_main() {
  test -z "$main" || lines "$units" | awk -F'|' -v main="$main" -v own="${main%.*}.socket" '
    $1 ~ /\.socket$/ && ($1 == own || index(" " $6 " ", " " main " ")) { print $1 }'
}
"""

PROCESSES = r"""
inodes() {   # of the port's sockets: "listen INODE" and "open INODE"
  test -r /proc/net/tcp || unknown "/proc/net/tcp cannot be read"
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$port")" '
    substr($2, length($2) - 4) == port && $4 != "06" { print ($4 == "0A" ? "listen" : "open"), $10 }'
}
holders() {   # "listen PID" and "open PID" of the port's sockets; of each that listens PID 0 too: not all may be seen
  found=$(inodes) || exit
  test -n "$found" || return 0
  { lines "$found"; (set +f; ls -ln /proc/[0-9]*/fd 2>/dev/null); } | awk '
    $1 == "listen" || $1 == "open" { kind["socket:[" $2 "]"] = $1; if ($1 == "listen") print "listen 0"; next }
    /^\/proc\/[0-9]+\/fd:$/ { split($0, path, "/"); next }
    NF > 2 && $(NF - 1) == "->" && ($NF in kind) { print kind[$NF], path[3], $(NF - 2), $NF }' | sort -u |
  while IFS=' ' read -r kind pid fd target; do
    if test "$pid" = 0; then echo "$kind 0"
    elif test "$(readlink "/proc/$pid/fd/$fd")" = "$target"; then echo "$kind $pid"    # names in a listing may lie
    fi
  done | sort -u
}
processes() {   # "PID STATE PPID ... NAME", as in /proc/PID/stat; NAME is rsync or -
  (set +f; cat /proc/[0-9]*/stat 2>/dev/null) |
    sed -n -e 's/^\([0-9]*\) (rsync) \([^Z] .*\)$/\1 \2 rsync/p; t' -e 's/^\([0-9]*\) (.*) \([^Z] .*\)$/\1 \2 -/p'
}
listening() { lines "$1" | sed -n 's/^listen //p'; }
name_of() { cat "/proc/$1/comm" 2>/dev/null || echo unknown; }
daemons() {   # the processes whose children are transfers. $1: the holders
  lines "$units" | awk -F'|' -v main="$main" '$1 == main && $4 > 1 { print $4 }'
  for pid in $(listening "$1"); do
    case $pid in 0|1) ;; *) test "$(name_of "$pid")" != rsync || echo "$pid" ;; esac
  done
}
children() {   # "PID STARTTIME" of the daemon's transfers. $1: the holders
  # Once nobody listens there any more, the port may be that of anybody's connection to somewhere else.
  { daemons "$1" | sed 's/^/daemon /'; lines "$1"; processes; } | awk '
    $1 == "daemon" { root[$2] = 1; not[$2] = 1; next }
    $1 == "listen" { listens = 1; not[$2] = 1; next }
    $1 == "open" { holds[$2] = 1; next }
    { parent[$1] = $3; began[$1] = $21; if (($1 in holds) && (listens || $NF == "rsync")) ours[$1] = 1 }
    END {
      for (grown = 1; grown;) {
        grown = 0
        for (pid in parent) {
          above = parent[pid]
          if (above > 1 && !(pid in ours) && ((above in ours) || (above in root))) ours[pid] = grown = 1
        }
      }
      for (pid in ours) if (pid > 1 && !(pid in not) && (pid in began)) print pid, began[pid]
    }'
}
asked() {   # the status command: 0 it runs, 1 it does not, 2 there is no such command
  test "$control" = command && test -n "$status" || return 2
  what=$(ROLE=$role PORT=$port timeout -k 2 20 /bin/sh -c "$status" 2>&1 </dev/null 9>&-)
  case $? in 0) return 0 ;; 1|3) return 1 ;; *) unknown "the status command ended with $?: $what" ;; esac
}
running() {   # says why it counts as running; nothing when it is stopped
  now=$(holders) || exit
  who=$(listening "$now" | sort -n | tail -n 1)
  case $who in
    '') ;;
    0) echo "something listens on port $port" ;;
    *) echo "$(name_of "$who") (pid $who) listens on port $port" ;;
  esac
  if test -n "$main"; then
    state=$(state_of_main) || exit
    case $state in inactive|failed) ;; *) echo "$main is $state" ;; esac
  fi
  asked; test $? != 0 || echo "the status command says that it runs"
}
by_hand() {   # start or stop of a script or of a command; sets said. A daemon may keep its output, so that is a file
  case $control in
    sysv) set -- "/etc/init.d/$unit" "$1" ;;
    command) set -- /bin/sh -c "$2" ;;
  esac
  out=$place/said-$port
  (: >"$out") 2>/dev/null || out=/dev/null
  ROLE=$role PORT=$port timeout -k 2 "$seconds" "$@" >"$out" 2>&1 </dev/null 9>&-
  ended=$?
  said=$(tail -n 3 "$out"); test "$out" = /dev/null || rm -f "$out"
  return $ended
}
"""
