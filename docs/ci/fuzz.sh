#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target of the repository, one after the other. Little
# of the time goes into making inputs smaller: some seeds are large.
set -euo pipefail
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
  for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed 's/func //'); do
    echo "== $dir $target"
    go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x </dev/null
  done
done
