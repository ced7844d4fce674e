"""What runs on a node to look at its rsync, to pause it and to let it start again: POSIX sh. For `rsync_control`.

Each script may be killed at any line, and is run again from its beginning. `rsync_control` gives the arguments and
reads what they print; how they end:

    0    done                                        12   paused by hand, and left so
    10   could not look: says nothing about rsync    13   paused by an upgrade, and left so
    11   tried, and it did not work
"""

from __future__ import annotations

from reconciler.kinds.node_pair.nodes.rsync_shell import BEGIN, PROCESSES, UNITS

UNKNOWN, FAILED, BY_HAND, BY_UPGRADE = 10, 11, 12, 13

_STOPPING = r"""
stop_units() {   # $@: units
  test $# -gt 0 || return 0
  what=$(timeout -k 2 "$seconds" systemctl --no-ask-password stop -- "$@" 2>&1) ||
    stopping="${stopping}systemctl stop ended with $?: $what$IFS"
}
end_children() {   # of a daemon that has stopped: they end, are asked to, are killed. $1: those seen before the stop
  tries=0 units_before=$units units=
  while :; do
    now=$(holders) || exit
    left=$({ lines "$1"; echo; processes; } | awk '
      !NF { known = 1; next } !known { was[$1] = $2; next } ($1 in was) && was[$1] == $21 { print $1 }')
    left=$({ lines "$left"; children "$now" | cut -d ' ' -f 1; } | sort -u)
    test -n "$left" || break
    case $tries in
      10) kill $left 2>/dev/null ;;
      60) kill -9 $left 2>/dev/null ;;
      110) note "transfers go on as process $(lines "$left" | tr '\n' ' ')"; break ;;
    esac
    tries=$((tries + 1))
    sleep 0.1
  done
  units=$units_before
}
stop_daemon() {   # and all that it does. $@: its units, if it has any
  now=$(holders) || exit
  before=$(children "$now")
  stop_units "$@"
  code=0 tries=0
  case $control in
    sysv) if test -x "/etc/init.d/$unit"; then by_hand stop ""; code=$?; fi ;;
    command) by_hand stop "$stop"; code=$? ;;
  esac
  test $code = 0 || stopping="${stopping}the stop command ended with $code: $said$IFS"
  while why=$(running) || exit; test -n "$why"; do
    tries=$((tries + 1))
    # What took the call may need a while; for what refused it nobody waits long, for what no unit runs not at all.
    case $#$control$code$stopping in 0systemd*) most=0 ;; *[a-z]0) most=50 ;; *) most=10 ;; esac
    test $tries -le $most || break
    sleep 0.1
  done
  if test -n "$why"; then note "$stopping$why"; else end_children "$before"; fi
}
"""

_PAUSE = r"""
alone
discover
read_marker
old=$text ran= ; now=$(holders) || exit
test -z "$(listening "$now")" || ran=listened
test -n "$ran" || ran=$(running) || ran=unknown
case $ran in listened|'') ;; *) ran=ran ;; esac

# First of all what is about to be changed: whoever comes after a crash finds here what ran, and why it does not.
mark="$reason $at $by"
if kept=$(lines "$old" | grep "^$reason ") && test "${kept#* * }" = "$by"; then mark=$kept; fi
asked_for=$(printf '%s ' "$main" $named_units)
{
  echo "# The rsync of pair $pair is paused by reconciler. Without this file it may start again."
  lines "$old" | grep -E '^(UPGRADE|MANUAL) ' | grep -v "^$reason "
  lines "$mark"
  if test -n "$old"; then lines "$old" | grep -E '^(daemon|unit|cron) '; else echo "daemon ${ran:-stopped}"; fi
  lines "$units" | awk -F'|' -v asked_for=" $asked_for" '
    { state = index(asked_for, " " $1 " ") || $1 ~ /\.(timer|socket|path)$/ ? $2 : "triggered"
      print "unit " $1 " " state " " ($3 == "" ? "-" : $3) }' |
  while IFS=' ' read -r word id rest; do
    case $old in *"${IFS}unit $id "*) ;; *) echo "$word $id $rest" ;; esac
  done
  for one in $cron_files; do
    if is_there "$one"; then case $old$IFS in *"${IFS}cron $one$IFS"*) ;; *) echo "cron $one" ;; esac; fi
  done
} | keep_marker || note "$marker cannot be written, so the pause does not survive a reboot"

# A condition on the marker rather than a mask: a mask cannot cover a unit file in /etc/systemd/system, does not say who
# masked it, and cannot be set by two at a time. Each unit says by itself in its status why it does not start, and runs
# again as soon as the marker is gone, whatever became of us.
if test -n "$units" && test -e "$marker"; then
  umask 022
  for one in $(ids); do
    folder=/etc/systemd/system/$one.d
    mkdir -p "$folder" && printf '[Unit]\nConditionPathExists=!%s\n' "$marker" >"$folder/$conf.new" &&
      mv -f "$folder/$conf.new" "$folder/$conf" || note "$folder cannot be written, so $one may start again"
  done
  umask 077
  what=$(timeout 60 systemctl daemon-reload 2>&1) || note "systemctl daemon-reload failed: $what"
fi
for one in $cron_files; do    # a newer one that came meanwhile replaces the older: it is what shall run later
  if is_there "$one"; then mv -f "$one" "$(aside_of "$one")" || note "$one cannot be moved aside"; fi
done
stop_units $(starters)
stop_daemon $(services)
if test -n "$units"; then
  units=$(table $(ids)) || exit
  for one in $(lines "$units" | awk -F'|' '$2 !~ /^(inactive|failed)$/ { print $1 " is still " $2 }'); do
    test "${one%% *}" = "$main" || note "$stopping$one"
  done
fi
case $role$control in
  mastersystemd) test -n "$(is_main)$(sockets_of_main)" || note "there is no unit $unit" ;;
  mastersysv) test -x "/etc/init.d/$unit" || note "there is no /etc/init.d/$unit" ;;
esac
test -z "$trouble" || failed "$trouble"
"""

_RELEASING = r"""
remove_conditions() {
  (set +f; for one in /etc/systemd/system/*.d/"$conf" /etc/systemd/system/*.d/"$conf.new"; do
    if test -e "$one"; then rm -f -- "$one"; rmdir -- "${one%/*}" 2>/dev/null || :; fi
  done)
  systemd || return 0
  what=$(timeout 60 systemctl daemon-reload 2>&1) || note "systemctl daemon-reload failed: $what"
}
put_back() {   # the files of cron: those that were noted, and those named
  for one in $({ lines "$text" | sed -n 's/^cron //p'; lines "$cron_files"; } | sort -u); do
    aside=$(aside_of "$one")
    is_there "$aside" || continue
    if is_there "$one"; then mv -f "$aside" "$aside-older"; echo "$one is a new one; the older is $aside-older"
    else mv -f "$aside" "$one" || note "$aside cannot be moved back"; fi
  done
}
remove_marker() {
  rm -f "$marker" "$marker.new" "$place/said-$port" || failed "$marker cannot be removed"
  sync "$place" 2>/dev/null || :
}
"""

_RESUME = r"""
alone
read_marker
if test -e "$marker"; then
  marks=$(lines "$text" | grep -E '^(UPGRADE|MANUAL) ')
  test -n "$marks" || marks="MANUAL 0 somebody"      # whoever made it, it was not an upgrade
  others=$(lines "$marks" | grep -v "^$reason ")
  if test -n "$others"; then
    if lines "$text" | grep -q "^$reason "; then
      lines "$text" | grep -v "^$reason " | keep_marker || failed "$marker cannot be written"
    fi
    lines "$others" | cut -d ' ' -f 3- >&2
    case $others in MANUAL*) exit 12 ;; *) exit 13 ;; esac
  fi
fi
discover
if test -e "$marker"; then remove_conditions; fi

# What ran comes back, on the master the daemon in any case; the marker goes last, so that a second try finds it.
daemon=$(lines "$text" | sed -n 's/^daemon //p')
test "$role" != master || daemon=listened
noted=$(lines "$text" | awk -v main="${main:-|}" '
  $1 == "unit" && ($3 ~ /^(active|reloading)$/ || ($3 == "activating" && $2 == main)) { print $2 }')
there= first= then=
test -z "$noted" || there=$(table $noted | cut -d '|' -f 1) || exit
for one in $noted; do
  if ! lines "$there" | grep -qFx -- "$one"; then echo "$one is not there any more"; continue; fi
  case $one in *.timer|*.path) then="$then$one$IFS" ;; *) first="$first$one$IFS" ;; esac
done
sockets=$(sockets_of_main)
if test "$role$control" = mastersystemd && ! lines "$first" | grep -qFx -- "${sockets:-none}"; then
  one=$(is_main) || one=$sockets
  first="$first${one:-$unit}"
fi
start_units() {
  test $# -gt 0 || return 0
  what=$(timeout -k 2 "$seconds" systemctl --no-ask-password start -- "$@" 2>&1) ||
    failed "systemctl start ended with $?: $what"
}
start_units $(lines "$first" | sort -u)
case $daemon in listened|ran)
  now=$(holders) || exit
  if test "$control" != systemd && test -z "$(listening "$now")"; then
    by_hand start "$start" || failed "the start command ended with $?: $said"
  fi ;;
esac
state=
if lines "$first" | grep -qFx -- "${main:-|}"; then state=active; fi
if test "$daemon" = listened; then
  tries=0
  while now=$(holders) || exit; test -z "$(listening "$now")"; do
    test -z "$state" || state=$(state_of_main) || exit
    tries=$((tries + 1))
    case $tries$state in
      100*) failed "nothing listens on port $port after the start; $(running)" ;;
      *inactive|*failed)
        met=$(timeout 20 systemctl show --property=ConditionResult --value -- "$main")
        test "$met" != no || state="$state: a condition of the unit is not met"
        failed "nothing listens on port $port after the start; $main is $state" ;;
    esac
    sleep 0.1
  done
fi
test -z "$state" || state=$(state_of_main) || exit
case $state in ''|active) ;; *) failed "$main is $state after its start; $(running)" ;; esac
start_units $then
put_back
test -z "$trouble" || failed "$trouble"
remove_marker
"""

_LOOK = r"""
discover
read_marker
if test -e "$marker"; then echo marker; lines "$text" | sed 's/^/marker /'; fi
lines "$units" | sed 's/^/unit /'
echo "main $main"
for one in $cron_files; do if is_there "$one"; then echo "cron $one"; fi; done
now=$(holders) || exit
for pid in $(listening "$now"); do echo "listen $pid $(name_of "$pid")"; done
children "$now" | sed 's/^/child /'
asked; case $? in 0) echo "status runs" ;; esac
if test -x "/etc/init.d/$unit"; then echo script; fi
echo end
"""

_STOP = r"""
alone
discover
stop_daemon $(sockets_of_main; is_main)
test -z "$trouble" || failed "$trouble"
"""

_FORGET = r"""
alone
read_marker
remove_conditions
put_back
test -z "$trouble" || failed "$trouble"
remove_marker
rm -f "$place/lock-$port"
rmdir "$place" "$base/pairs" 2>/dev/null || :
"""

_LOOKING = BEGIN + UNITS + PROCESSES
LOOK = _LOOKING + _LOOK
PAUSE = _LOOKING + _STOPPING + _PAUSE
STOP = _LOOKING + _STOPPING + _STOP
RESUME = _LOOKING + _RELEASING + _RESUME
FORGET = _LOOKING + _RELEASING + _FORGET
