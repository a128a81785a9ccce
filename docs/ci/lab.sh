#!/usr/bin/env bash
# Runs the sites of examples/ on booted Debian hosts, and checks what it sees:
#
#   lab.sh [SITE…]      web, database, cluster; all of them without an argument
#
# For each site: a plan of bare hosts leaves every file as it was (a control
# host has the same logins); apply; apply again with 0 changed; checks green;
# then three things are changed by hand, a plan names exactly those, and apply
# mends exactly those. Needs root and the lab ($SLOTH_SHARED/lab/lab).
# KEEP=1 leaves the hosts up.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${SLOTH_SHARED:=$PWD/../shared}"
fleet=$SLOTH_SHARED/lab/lab
sloth=${SLOTH:-$PWD/bin/sloth}
sites=("$@")
[ $# -gt 0 ] || sites=(web database cluster)

unable() { # a reason; no failure unless everything must run
  echo "lab: skipped: $*" >&2
  [ "${SLOTH_MUST_RUN:-}" != 1 ] || exit 1
  exit 0
}
[ "$(id -u)" = 0 ] || unable "only root can boot hosts"
[ -x "$fleet" ] || unable "there is no lab at $fleet; set SLOTH_SHARED"
[ -x "$sloth" ] || { echo "lab: there is no $sloth; run make native" >&2; exit 1; }

export LAB_NAME=${LAB_NAME:-sites} LAB_SUBNET=${LAB_SUBNET:-10.83.0} LAB_DIR=${LAB_DIR:-/var/tmp/lab-sites}
export LAB_REPO_PKGS="nginx redis-server memcached haproxy cron rsync acl jq tree git vim-tiny logrotate rsyslog nftables"
work=$(mktemp -d)
finish() {
  local code=$?
  [ "${KEEP:-}" = 1 ] || "$fleet" down || code=1
  rm -rf "$work"
  [ $code = 0 ] || echo "lab: FAILED" >&2
  exit $code
}
trap finish EXIT
export XDG_STATE_HOME=$work/state
unset SSH_AUTH_SOCK SLOTH_INVENTORY

say() { printf '\n== %s\n' "$*"; }
fail() { echo "lab: $*" >&2; exit 1; }
on() { "$fleet" ssh "$@"; }
address() { echo "$LAB_SUBNET.$((10 + $1))"; }

# Which hosts a site is on, and what stands in for its inventory there.
declare -A hosts=([web]="1" [database]="2" [cluster]="3 4 5 6") limit=([web]=h1 [database]=h2 [cluster]=all)
control=7

inventories() { # site: the arguments that name its hosts
  case $1 in
    cluster) echo "-i $work/cluster.yaml";;
    *) echo "-i hosts.yaml -i $work/$1.yaml -l ${limit[$1]}";;
  esac
}

write_inventories() {
  local login="    ansible_user: root
    ansible_ssh_private_key_file: $LAB_DIR/run/key
    ansible_ssh_common_args: -o UserKnownHostsFile=$LAB_DIR/run/known_hosts -o IdentitiesOnly=yes"
  printf 'all:\n  vars:\n%s\n  children:\n    web:\n      hosts:\n        h1: { ansible_host: %s }\n' \
    "$login" "$(address 1)" >"$work/web.yaml"
  # A container may tune the network only, and has no disks to mount.
  cat >"$work/database.yaml" <<YAML
all:
  vars:
$login
  children:
    database:
      hosts:
        h2:
          ansible_host: $(address 2)
          listen: [127.0.0.1, $(address 2)]
          redis_memory: 32mb
          volumes:
            - { path: /var/lib/redis, src: tmpfs, fstype: tmpfs, opts: "size=64m,mode=0750" }
            - { path: /srv/backup, src: tmpfs, fstype: tmpfs, opts: "size=64m,nodev,nosuid" }
          kernel: { net.core.somaxconn: 1024, net.ipv4.tcp_keepalive_time: 300 }
YAML
  cat >"$work/cluster.yaml" <<YAML
all:
  vars:
$login
    app_port: 8080
    release: "1.0"
  children:
    balancer: { hosts: { h3: { ansible_host: $(address 3) } } }
    app:
      hosts:
        h4: { ansible_host: $(address 4) }
        h5: { ansible_host: $(address 5) }
        h6: { ansible_host: $(address 6) }
YAML
}

# run SITE COMMAND FILE [ARGUMENT…]: the document of the run goes to $work/out.json.
run() {
  local site=$1 command=$2 file=$3
  shift 3
  # shellcheck disable=SC2046 # the arguments are words
  (cd "examples/$site" && "$fleet" run "$sloth" "$command" $(inventories "$site") --output json "$@" "$file") \
    >"$work/out.json" 2>"$work/out.log" || { cat "$work/out.log" >&2; fail "$site: sloth $command $file failed"; }
}

# changes: what the last run changed or would change, one "HOST WHAT: ATTRIBUTE" a line.
changes() {
  python3 - "$work/out.json" <<'PY'
import json, sys
run = json.load(open(sys.argv[1]))
print("\n".join(sorted({
    f"{host} {d['what']}: {d['attr'] or 'state'}"
    for task in run["tasks"].values() for host, result in task["hosts"].items() for d in result["diff"] or []})))
PY
}

recap() { # of the last run, in a line
  python3 - "$work/out.json" <<'PY'
import json, sys
run = json.load(open(sys.argv[1]))
changed = sum(h["changed"] for h in run["hosts"].values())
print(f"{run['workflow']}: {run['status']} on {len(run['hosts'])} host(s) in {run['duration']}, {changed} changed")
PY
}

same() { # expected and found, as lines in any order
  diff <(sort -u <<<"$2") <(sort -u <<<"$3") >&2 || fail "$1: expected (<) is not what was found (>)"
}

# What is on a host's disk: all that differs from the base that all share. Not the
# logs, nor what is mounted, nor where the worker is kept.
listing() {
  python3 - "$LAB_DIR/run/h$1/up" <<'PY'
import hashlib, os, stat, sys
root = sys.argv[1]
skip = ("/proc", "/sys", "/run", "/var/log", "/root/.cache")
for folder, folders, files in os.walk(root):
    folders.sort()
    for name in sorted(folders + files):
        path = os.path.join(folder, name)
        inside = path[len(root):]
        if inside in skip or inside.startswith(tuple(s + "/" for s in skip)):
            continue
        st = os.lstat(path)
        what = ""
        if stat.S_ISREG(st.st_mode):
            what = hashlib.sha256(open(path, "rb").read()).hexdigest()
        elif stat.S_ISLNK(st.st_mode):
            what = os.readlink(path)
        print(inside, oct(st.st_mode), st.st_uid, st.st_gid, st.st_rdev, "" if inside == "/root" else st.st_mtime_ns, what)
PY
}

bare_plan() { # a plan of hosts where nothing is yet
  local site=$1 h logins=0 file
  for h in ${hosts[$site]} $control; do on "$h" sync; listing "$h" >"$work/before-$h"; done
  for file in $(files "$site"); do
    run "$site" plan "$file"
    ! grep -q 'cannot plan past' "$work/out.log" || { grep 'cannot plan past' "$work/out.log" >&2; fail "$site: the plan ends early"; }
    [ -n "$(changes)" ] || fail "$site: the plan of a bare host finds nothing to do"
    logins=$((logins + 1))
  done
  for ((h = 0; h < logins; h++)); do on $control true; done
  for h in ${hosts[$site]} $control; do
    on "$h" sync
    listing "$h" >"$work/after-$h"
    diff "$work/before-$h" "$work/after-$h" | sed -n 's/^[<>] \([^ ]*\) .*/\1/p' | sort -u >"$work/moved-$h" || true
  done
  for h in ${hosts[$site]}; do
    diff "$work/moved-$control" "$work/moved-$h" >&2 || fail "$site: the plan left something on h$h"
  done
  echo "planned $logins file(s); $(wc -l <"$work/before-${hosts[$site]%% *}") entries on the first host, as they were"
}

files() { # what is applied, in this order
  case $1 in cluster) echo "balancer.sloth site.sloth";; *) echo site.sloth;; esac
}

tamper() { # three changes by hand
  case $1 in
    web) on 1 'echo "# by hand" >>/etc/nginx/sites-available/www.example.com.conf; systemctl stop cron; apt-get remove -y -qq logrotate';;
    database) on 2 'echo "maxclients 5" >>/etc/redis/redis.conf; systemctl stop redis-server; apt-get remove -y -qq jq';;
    cluster) on 5 'echo "# by hand" >>/etc/nginx/conf.d/app.conf; systemctl stop nginx; apt-get remove -y -qq jq';;
  esac >"$work/tamper.log" 2>&1 || { cat "$work/tamper.log" >&2; fail "$1: cannot change it by hand"; }
}

tampered() { # how sloth names them
  case $1 in
    web) printf 'h1 %s\n' '/etc/nginx/sites-available/www.example.com.conf: content' 'cron.service: state' 'package logrotate: state';;
    database) printf 'h2 %s\n' '/etc/redis/redis.conf: content' 'redis-server.service: state' 'package jq: state';;
    cluster) printf 'h5 %s\n' '/etc/nginx/conf.d/app.conf: content' 'nginx.service: state' 'package jq: state';;
  esac
}

consequences() { # what the handlers of a file that was put back do besides
  case $1 in
    web) echo 'h1 nginx.service: reload';;
    database) printf 'h2 %s\n' 'redis-server.service: restart';;
  esac
}

checks() { run "$1" test checks.sloth; }

# A release is rolled while somebody asks all the time: no request is lost, and
# never are two nodes out at once.
roll() {
  say "cluster: another release, under load"
  local stop=$work/stop asked lost
  "$fleet" run python3 - "http://$(address 3)" "$stop" >"$work/load" <<'PY' &
import os, sys, time, urllib.request
base, stop = sys.argv[1:]
asked, lost, seen = 0, [], []
while not os.path.exists(stop):
    try:
        text = urllib.request.urlopen(base + "/version", timeout=5).read().decode().strip()
        if text not in seen: seen.append(text)
    except Exception as e:
        lost.append(str(e))
    try:
        rows = urllib.request.urlopen(base + ":8404/stats;csv", timeout=5).read().decode().splitlines()
        out = [r.split(",")[1] for r in rows if r.startswith("app,h") and not r.split(",")[17].startswith("UP")]
        if len(out) > 1: lost.append("out at once: " + " ".join(out))
    except Exception as e:
        lost.append("stats: " + str(e))
    asked += 1
    time.sleep(0.005)
print(asked, len(lost), ",".join(seen), *lost[:5])
PY
  local load=$!
  run cluster apply site.sloth -e release=1.1
  [ -n "$(changes)" ] || fail "cluster: the new release changed nothing"
  touch "$stop"
  wait $load
  read -r asked lost _ <"$work/load"
  echo "asked $asked times: $(cat "$work/load")"
  [ "$lost" = 0 ] && [ "$asked" -gt 50 ] || fail "cluster: requests were lost"
  grep -q '1.0,1.1' "$work/load" || fail "cluster: the releases seen are not 1.0 and then 1.1"
  run cluster apply site.sloth -e release=1.1
  same "cluster: a second roll" "" "$(changes)"
  run cluster apply site.sloth
}

"$fleet" down
"$fleet" up 7
write_inventories
for site in "${sites[@]}"; do
  say "$site: a plan of bare hosts"
  bare_plan "$site"

  say "$site: apply, and again"
  for file in $(files "$site"); do run "$site" apply "$file"; recap; done
  for file in $(files "$site"); do
    run "$site" apply "$file"
    same "$site: the second apply of $file" "" "$(changes)"
    recap
  done
  checks "$site"
  [ "$site" != cluster ] || roll

  say "$site: changed by hand"
  tamper "$site"
  run "$site" plan site.sloth
  same "$site: the plan" "$(tampered "$site")" "$(changes)"
  changes
  run "$site" apply site.sloth
  same "$site: the repair" "$(tampered "$site"; consequences "$site")" "$(changes)"
  run "$site" apply site.sloth
  same "$site: the apply after the repair" "" "$(changes)"
  checks "$site"
done
printf '\nlab: %s: as they should be\n' "${sites[*]}"
