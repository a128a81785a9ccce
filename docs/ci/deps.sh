#!/usr/bin/env bash
# Installs what the tests and the demo need and this machine lacks. Only root on
# a Debian-like system can; elsewhere it names what is missing and fails.
set -euo pipefail
declare -A want=([sshd]=openssh-server [ssh]=openssh-client [sudo]=sudo [git]=git [gcc]=gcc [fish]=fish [zsh]=zsh [tcsh]=tcsh [doas]=doas [tmux]=tmux [etcd]=etcd-server [strace]=strace [xz]=xz-utils [zstd]=zstd [unzip]=unzip)
export PATH=$PATH:/usr/sbin:/sbin
missing=()
for tool in "${!want[@]}"; do command -v "$tool" >/dev/null || missing+=("${want[$tool]}"); done
[ -n "$(ls /usr/include/stdlib.h 2>/dev/null)" ] || missing+=(libc6-dev)
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "missing: ${missing[*]}. Install them, or run this as root on Debian." >&2
  exit 1
fi
echo "installing ${missing[*]}" >&2
apt-get update -qq >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
