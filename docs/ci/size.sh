#!/usr/bin/env bash
# size.sh EMBEDDED RAW: the shim's budget. 12 MB as it is, 5 MB compressed, and
# none of the packages that would make it a second controller.
# What the shim sorts it sorts with sort.Slice: each type given to slices.SortFunc
# adds some ten kB.
set -euo pipefail
fail=0
for f in "$2"/sloth-shim-*; do
  p=${f##*/sloth-shim-}; raw=$(stat -c %s "$f"); packed=$(stat -c %s "$1/shim-$p.zst")
  printf '%-14s %5.2f MB, compressed %5.2f MB\n' "$p" "$(awk "BEGIN{print $raw/1e6}")" "$(awk "BEGIN{print $packed/1e6}")"
  [ "$raw" -le 12000000 ] || { echo "  over 12 MB" >&2; fail=1; }
  [ "$packed" -le 5000000 ] || { echo "  over 5 MB compressed" >&2; fail=1; }
done
bad=$(go list -deps ./cmd/sloth-shim | grep -E 'dgraph-io/badger|spf13/cobra|google.golang.org/grpc|golang.org/x/crypto/ssh|^text/template$' || true)
[ -z "$bad" ] || { echo "the shim links $bad" >&2; fail=1; }
exit $fail
