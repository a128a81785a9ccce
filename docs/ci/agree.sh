#!/usr/bin/env bash
# Ansible's own modules agree: the 25 operations of agree/playbook.yml, done by
# Ansible on one booted host, and those of agree/site.sloth, done by sloth on
# another, leave the same state; and each tool finds nothing to change on the
# other's host. Needs root, the lab ($SLOTH_SHARED/lab/lab) and Ansible.
# KEEP=1 leaves the hosts up.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${SLOTH_SHARED:=$PWD/../shared}"
fleet=$SLOTH_SHARED/lab/lab
sloth=${SLOTH:-$PWD/bin/sloth}
unable() { # a reason; no failure unless everything must run
  echo "agree: skipped: $*" >&2
  [ "${SLOTH_MUST_RUN:-}" != 1 ] || exit 1
  exit 0
}
[ "$(id -u)" = 0 ] || unable "only root can boot hosts"
[ -x "$fleet" ] || unable "there is no lab at $fleet; set SLOTH_SHARED"
command -v ansible-playbook >/dev/null || unable "there is no ansible-playbook; install ansible"
[ -x "$sloth" ] || { echo "agree: there is no $sloth; run make native" >&2; exit 1; }

export LAB_NAME=${LAB_NAME:-sites} LAB_SUBNET=${LAB_SUBNET:-10.83.0} LAB_DIR=${LAB_DIR:-/var/tmp/lab-sites}
export LAB_REPO_PKGS="nginx redis-server memcached haproxy cron rsync acl jq tree git vim-tiny logrotate rsyslog nftables"
work=$(mktemp -d)
finish() {
  local code=$?
  [ "${KEEP:-}" = 1 ] || "$fleet" down || code=1
  rm -rf "$work"
  [ $code = 0 ] || echo "agree: FAILED" >&2
  exit $code
}
trap finish EXIT
export XDG_STATE_HOME=$work/state ANSIBLE_LOCAL_TEMP=$work/ansible ANSIBLE_NOCOLOR=1
unset SSH_AUTH_SOCK SLOTH_INVENTORY
hosts=$LAB_DIR/run/inventory.yml

fail() { echo "agree: $*" >&2; exit 1; }

ansible() { # host
  "$fleet" run ansible-playbook -i "$hosts" -l "$1" docs/ci/agree/playbook.yml >"$work/ansible.log" 2>&1 ||
    { cat "$work/ansible.log" >&2; fail "Ansible failed on $1"; }
  grep -E "^$1 .*ok=" "$work/ansible.log"
}

sloth() { # host
  "$fleet" run "$sloth" apply -i "$hosts" -l "$1" docs/ci/agree/site.sloth >"$work/sloth.log" 2>&1 ||
    { cat "$work/sloth.log" >&2; fail "sloth failed on $1"; }
  tail -1 "$work/sloth.log"
}

# All that differs from the base that both hosts share: names, kinds, modes,
# owners, contents. Times are left out, and so is what each host or tool has for
# itself: identities, logs, caches, and what a boot writes.
listing() {
  python3 - "$LAB_DIR/run/h$1/up" "h$1" <<'PY'
import hashlib, os, re, stat, sys
root, name = sys.argv[1:]
skip = re.compile(r"""/(proc|sys|run|tmp|var/(log|tmp|cache)|root/\.(cache|ansible|local)
    |var/lib/(systemd|private|apt/(lists|periodic)|dbus)
    |etc/(hostname|machine-id|ssh/ssh_host_.*|resolv\.conf|(passwd|shadow|group|gshadow|subuid|subgid)-|\.pwd\.lock|\.updated)
    |var/\.updated|var/lib/dpkg/(lock.*|triggers/Lock|.*-old)|var/backups)(/|$)""", re.X)
for folder, folders, files in os.walk(root):
    for entry in folders + files:
        path = os.path.join(folder, entry)
        inside = path[len(root):]
        if skip.match(inside):
            continue
        st = os.lstat(path)
        what = ""
        if stat.S_ISREG(st.st_mode):
            text = open(path, "rb").read()
            if inside == "/etc/hosts":
                text = text.replace(name.encode(), b"HOST")
            what = f"{st.st_nlink} {hashlib.sha256(text).hexdigest()}"
        elif stat.S_ISLNK(st.st_mode):
            what = os.readlink(path)
        elif stat.S_ISCHR(st.st_mode) and st.st_rdev == 0:
            what = "removed"
        print(inside, oct(st.st_mode), st.st_uid, st.st_gid, what)
PY
}

running() { # what no file says
  "$fleet" ssh "$1" 'systemctl show -P ActiveState -P UnitFileState lab-toy cron fstrim.service; systemctl list-unit-files --no-legend --type=service,socket,timer; dpkg-query -W; dpkg --get-selections; getent passwd; getent group'
}

"$fleet" down
"$fleet" up 2
echo "== the 25 operations: Ansible on h1, sloth on h2"
[ "$(grep -c '^    - ansible\.' docs/ci/agree/playbook.yml)" = 25 ] || fail "the playbook has not 25 operations"
ansible h1
sloth h2
for h in 1 2; do
  "$fleet" ssh $h sync
  listing $h | sort >"$work/files-$h"
  running $h >"$work/running-$h"
done
diff "$work/files-1" "$work/files-2" >&2 || fail "files differ: Ansible's host has <, sloth's >"
diff "$work/running-1" "$work/running-2" >&2 || fail "what runs differs: Ansible's host has <, sloth's >"
echo "$(wc -l <"$work/files-1") entries and all users, packages and services are the same"

echo "== each on the other's host"
ansible h2 | grep 'changed=0 ' || { grep -B3 '^changed' "$work/ansible.log" >&2; fail "Ansible changes sloth's host"; }
sloth h1 | grep ', 0 changed' || { cat "$work/sloth.log" >&2; fail "sloth changes Ansible's host"; }
echo "agree: the same state"
