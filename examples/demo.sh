#!/usr/bin/env bash
# Starts three throw-away OpenSSH servers on loopback, configures them with
# site.sloth, does it again, and takes everything away. Nothing outside a
# temporary folder is touched; openssh-server is installed if it is missing.
set -euo pipefail
cd "$(dirname "$0")"
sloth=${SLOTH:-../bin/sloth}
export PATH=$PATH:/usr/sbin:/sbin

if ! command -v sshd >/dev/null; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "demo: there is no sshd here; install openssh-server" >&2
    exit 1
  fi
  echo "demo: installing openssh-server" >&2
  apt-get update -qq >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server >/dev/null
fi

dir=$(mktemp -d)
cleanup() {
  for f in "$dir"/*/pid; do [ ! -s "$f" ] || kill "$(cat "$f")" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap cleanup EXIT
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd # sshd's own folder for its unprivileged half

free_port() { # the first port from $1 on that nobody listens on
  local p=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; do p=$((p + 1)); done
  echo "$p"
}

ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
printf 'all:\n  vars:\n    ansible_user: %s\n    ansible_host: 127.0.0.1\n    ansible_ssh_private_key_file: %s\n    ansible_ssh_common_args: -o UserKnownHostsFile=%s -o IdentitiesOnly=yes\n  hosts:\n' \
  "$(id -un)" "$dir/key" "$dir/known_hosts" >"$dir/hosts.yaml"
port=22200
for name in web-01 web-02 db-01; do
  h=$dir/$name
  port=$(free_port $((port + 1)))
  mkdir -p "$h/home"
  ssh-keygen -q -t ed25519 -N '' -f "$h/hostkey"
  printf '%s\n' "ListenAddress 127.0.0.1:$port" "HostKey $h/hostkey" "PidFile $h/pid" "AuthorizedKeysFile $dir/key.pub" \
    "UsePAM no" "StrictModes no" "PasswordAuthentication no" "KbdInteractiveAuthentication no" "UseDNS no" \
    "SetEnv HOME=$h/home" "Subsystem sftp internal-sftp" >"$h/sshd_config"
  "$(command -v sshd)" -f "$h/sshd_config" -E "$h/log"
  for _ in $(seq 100); do [ ! -s "$h/pid" ] || break; sleep 0.05; done
  echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$h/hostkey.pub")" >>"$dir/known_hosts"
  printf '    %s:\n      ansible_port: %s\n      site_root: %s\n' "$name" "$port" "$h/site" >>"$dir/hosts.yaml"
done

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
export XDG_STATE_HOME=$dir/state
unset SSH_AUTH_SOCK SLOTH_INVENTORY

say sloth exec all uptime
"$sloth" exec -i "$dir/hosts.yaml" all uptime
say sloth plan -i hosts.yaml site.sloth
"$sloth" plan -i "$dir/hosts.yaml" site.sloth
say sloth apply -i hosts.yaml site.sloth
"$sloth" apply -i "$dir/hosts.yaml" site.sloth
say sloth apply -i hosts.yaml site.sloth '   # again'
"$sloth" apply -i "$dir/hosts.yaml" --output json site.sloth >"$dir/second.json" 2>"$dir/second.err"
"$sloth" apply -i "$dir/hosts.yaml" site.sloth

if ! grep -q '"changed": *false' "$dir/second.json"; then
  echo "demo: the second run changed something" >&2
  exit 1
fi
printf '\ndemo: three hosts configured, and the second run changed nothing\n'
