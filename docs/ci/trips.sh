#!/usr/bin/env bash
# A hundred operations on a host cost at most one round trip more than one: with
# about $DELAY ms (600) of round-trip time in the line, the time of runs that do
# one and a hundred operations is compared, less what they differ near by.
#
# TCP begins with windows of 14 KB and doubles them each round trip, so that what
# is larger takes longer whatever is said: it is measured with these windows.
#
#   trips.sh [KIND…]      calls, tasks, files, templates; all of them without an argument
#
# Needs root and the lab. KEEP=1 leaves the host up.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${SLOTH_SHARED:=$PWD/../shared}" "${DELAY:=600}"
kinds=("$@")
[ $# -gt 0 ] || kinds=(calls tasks files templates)
fleet=$SLOTH_SHARED/lab/lab
sloth=${SLOTH:-$PWD/bin/sloth}
unable() { # a reason; no failure unless everything must run
  echo "trips: skipped: $*" >&2
  [ "${SLOTH_MUST_RUN:-}" != 1 ] || exit 1
  exit 0
}
[ "$(id -u)" = 0 ] || unable "only root can boot hosts"
[ -x "$fleet" ] || unable "there is no lab at $fleet; set SLOTH_SHARED"
[ -x "$sloth" ] || { echo "trips: there is no $sloth; run make native" >&2; exit 1; }

export LAB_NAME=${LAB_NAME:-sites} LAB_SUBNET=${LAB_SUBNET:-10.83.0} LAB_DIR=${LAB_DIR:-/var/tmp/lab-sites}
export LAB_REPO_PKGS="nginx redis-server memcached haproxy cron rsync acl jq tree git vim-tiny logrotate rsyslog nftables"
work=$(mktemp -d)
finish() {
  local code=$?
  if [ "${KEEP:-}" = 1 ]; then "$fleet" delay 0; else "$fleet" down || code=1; fi
  rm -rf "$work"
  [ $code = 0 ] || echo "trips: FAILED" >&2
  exit $code
}
trap finish EXIT
export XDG_STATE_HOME=$work/state
unset SSH_AUTH_SOCK SLOTH_INVENTORY

# Four kinds of work, N of each: calls in one task, tasks of one call, files and
# templates of the controller.
mkdir -p "$work/site/files" "$work/site/templates"
for i in $(seq 100); do
  echo "file $i" >"$work/site/files/$i"
  echo "template $i on {{ inventory_hostname }}" >"$work/site/templates/$i.j2"
done
write() { # kind N: a script
  local kind=$1 n=$2 i f=$work/site/$1-$2.sloth
  case $kind in
    calls) printf 'local t = task("calls"):command(function()\n    for i = 1, %d do file_ops.copy({ content = "one " .. i .. stamp, dest = "/tmp/calls-" .. i }) end\nend):build()\n' "$n" | sed 's/stamp/vars.stamp/';;
    tasks) echo 'local t = {}'; for i in $(seq "$n"); do
        printf 't[%d] = task("task %d"):command(function() file_ops.copy({ content = vars.stamp, dest = "/tmp/tasks-%d" }) end):build()\n' "$i" "$i" "$i"; done;;
    files | templates) echo "local t = task(\"$kind\"):command(function()"
      for i in $(seq "$n"); do
        if [ "$kind" = files ]; then echo "    file_ops.copy({ src = \"files/$i\", dest = \"/tmp/files-$i\" })"
        else echo "    file_ops.template({ src = \"templates/$i.j2\", dest = \"/tmp/templates-$i\" })"; fi
      done
      echo 'end):build()';;
  esac >"$f"
  if [ "$kind" = tasks ]; then echo 'workflow.define("w", { tasks = t, config = { hosts = "all" } })'; else
    echo 'workflow.define("w", { tasks = { t }, config = { hosts = "all" } })'; fi >>"$f"
}

rtt() { # the milliseconds that a connection takes, the quickest of five
  "$fleet" run python3 -c '
import socket, sys, time
def once():
    begun = time.monotonic()
    socket.create_connection((sys.argv[1], 22)).close()
    return time.monotonic() - begun
print(max(1, round(1000 * min(once() for _ in range(5)))))' "$LAB_SUBNET.11"
}

measure() { # kind N: the milliseconds of the quickest of three runs, each of which changes everything
  local best=0 i begun took
  for i in 1 2 3; do
    "$fleet" ssh 1 'rm -f /tmp/calls-* /tmp/tasks-* /tmp/files-* /tmp/templates-*'
    begun=$(date +%s%N)
    "$fleet" run "$sloth" apply -i "$LAB_DIR/run/inventory.yml" -l h1 -e "stamp=$i" --output json "$work/site/$1-$2.sloth" >"$work/out.json" 2>"$work/log" ||
      { cat "$work/log" >&2; exit 1; }
    took=$((($(date +%s%N) - begun) / 1000000))
    [ "$("$fleet" ssh 1 "ls /tmp | grep -c '^$1-'")" = "$2" ] || { echo "trips: $1 $2: not all of it was done" >&2; exit 1; }
    if [ $best = 0 ] || [ $took -lt $best ]; then best=$took; fi
  done
  echo $best
}

"$fleet" down
"$fleet" up 1
printf '%s\n' 'local t = task("first"):command(function() fs.exists("/") end):build()' \
  'workflow.define("w", { tasks = { t }, config = { hosts = "all" } })' >"$work/site/first.sloth"
"$fleet" run "$sloth" apply -i "$LAB_DIR/run/inventory.yml" -l h1 "$work/site/first.sloth" >/dev/null # the worker is there from now on
bad=0
printf '%-10s %9s %9s %9s %9s %6s %11s\n' kind '1 near' '100 near' '1 far' '100 far' RTT 'trips more'
for kind in "${kinds[@]}"; do
  write $kind 1
  write $kind 100
  "$fleet" delay 0
  one=$(measure $kind 1) many=$(measure $kind 100)
  "$fleet" delay "$DELAY"
  line=$(rtt)
  one_far=$(measure $kind 1) many_far=$(measure $kind 100)
  # What a hundred cost more far away than they cost more near by.
  trips=$(python3 -c "print(f'{(($many_far - $one_far) - ($many - $one)) / $line:.2f}')")
  printf '%-10s %9d %9d %9d %9d %6d %11s\n' $kind "$one" "$many" "$one_far" "$many_far" "$line" "$trips"
  # Half a round trip is what a loaded machine is unsteady by.
  python3 -c "import sys; sys.exit($trips > 1.5)" || { bad=1; echo "trips: $kind: more than one round trip more" >&2; }
done
exit $bad
