set -u
CALLS=${CALLS:-} force=
called() { [ -z "$CALLS" ] || echo "$TOOL $*" >> "$CALLS"; }
unexpected() { echo "unexpected: $TOOL $*" >&2; exit 99; }
