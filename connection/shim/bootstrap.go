package shim

import "strings"

// The line that every host gets: one exec that starts the shim where it lies,
// or says that it is missing. It has no quote of its own between the two outer
// ones, no backslash, no exclamation mark and no newline, so that sh, bash,
// zsh, fish and csh all hand it to /bin/sh unchanged.
//
// A folder vouches for what is in it when it is ours, no link, and closed to
// others; then a file of ours in it is what we put there.
const bootstrap = `exec /bin/sh -c 'n=shim-HASH; ` +
	`t() { if [ -L "$1" ] || [ -L "$1/$n" ]; then return; fi; ` +
	`if [ -O "$1" ] && [ -f "$1/$n" ] && [ -O "$1/$n" ] && [ -x "$1/$n" ]; then ` +
	`case "$(ls -ld "$1" "$1/$n")" in drwx--?---*-rwx------*) VERIFY exec "$1/$n" ROLE;; esac; fi; }; ` +
	`if [ -n "$HOME" ]; then t "$HOME/.cache/sloth"; fi; u=$(id -u); ` +
	`for d in DIRS; do t "$d"; done; ` +
	// Not there: find a folder that may hold it. The probe is a script without
	// a first line; a file system mounted noexec refuses to start it.
	`umask 077; w() { if [ -L "$1" ]; then why="$why $1 is a link;"; return 1; fi; mkdir -p "$1" 2>/dev/null; ` +
	`if [ -d "$1" ]; then :; else why="$why $1 cannot be made;"; return 1; fi; ` +
	`if [ -O "$1" ]; then :; else why="$why $1 belongs to somebody else;"; return 1; fi; ` +
	`case "$(ls -ld "$1")" in d????w*|d???????w*) why="$why $1 can be written by others (chmod go-w it after a look into it);"; return 1;; esac; chmod 700 "$1"; ` +
	`p="$1/.probe-$$"; rm -f "$p"; if (echo exit 7 > "$p") 2>/dev/null; then :; else rm -f "$p"; why="$why $1 cannot be written (full or read-only);"; return 1; fi; ` +
	`chmod 700 "$p"; "$p" 2>/dev/null; s=$?; rm -f "$p"; if [ $s -eq 7 ]; then return 0; fi; why="$why $1 is mounted noexec;"; return 1; }; ` +
	`m="$(uname -s) $(uname -m) $u"; for d in "$HOME/.cache/sloth" DIRS; do ` +
	`case "$d" in SKIP) continue;; /.cache/sloth) continue;; esac; ` +
	`if w "$d"; then echo "SLOTH/1 MISSING $m $d"; exit 0; fi; done; echo "SLOTH/1 NOWHERE $m $why"; exit 0'`

// folders are where a shim may lie, beside ~/.cache/sloth; those in memory come
// last, they are for hosts whose disk cannot be written.
const folders = `"/var/tmp/sloth-$u" "/tmp/sloth-$u" "/run/user/$u/sloth" "/dev/shm/sloth-$u"`

// verifyShell hashes the file before it is started; the result is compared in
// the shell because nothing of ours runs yet.
const verifyShell = `x=$( (sha256sum "$1/$n" || shasum -a 256 "$1/$n") 2>/dev/null ); ` +
	`case "$x" in HASH*) :;; "") echo "SLOTH/1 UNVERIFIED $1/$n"; exit 0;; *) echo "SLOTH/1 TAMPERED $1/$n"; exit 0;; esac;`

// bootstrapLine fills in the shim's hash. skip are folders that did not do. run
// names the run whose worker is to be attached to; empty: a new one is started.
func bootstrapLine(hash string, verify bool, skip []string, run string) string {
	check := ""
	if verify {
		check = verifyShell
	}
	if len(skip) == 0 {
		skip = []string{"-"}
	}
	role := "front"
	if run != "" {
		role = "front attach " + run
	}
	line := strings.Replace(bootstrap, "VERIFY ", check, 1)
	return strings.NewReplacer("ROLE", role, "SKIP", `"`+strings.Join(skip, `"|"`)+`"`, "DIRS", folders, "HASH", hash).Replace(line)
}

// startLine runs the shim that was just put into dir, once its hash is right:
// by a tool of the host if it has one, and by the shim itself.
func startLine(dir, hash string) string {
	return strings.NewReplacer("DIR", dir, "HASH", hash).Replace(
		`exec /bin/sh -c 'n=shim-HASH; set -- "DIR"; ` +
			`x=$( (sha256sum "$1/$n" || shasum -a 256 "$1/$n") 2>/dev/null ); ` +
			`case "$x" in ""|HASH*) :;; *) echo "SLOTH/1 TAMPERED $1/$n"; exit 0;; esac; ` +
			`exec "$1/$n" front verify'`)
}

// receiveLine takes size bytes from standard input into a file of the folder
// and names it only when all of them came: for hosts without SFTP. A sum is
// compared where the host can compute one.
func receiveLine(dir, temporary, hash, size string) string {
	r := strings.NewReplacer("DIR", dir, "TMP", temporary, "SUM", hash, "SIZE", size)
	return r.Replace(`exec /bin/sh -c 'umask 077; set -C; f="DIR/TMP"; cat > "$f" || { rm -f "$f"; exit 1; }; ` +
		`n=$(wc -c < "$f"); if [ $n -eq SIZE ]; then :; else rm -f "$f"; echo "got $n of SIZE bytes" >&2; exit 1; fi; ` +
		`x=$( (sha256sum "$f" || shasum -a 256 "$f") 2>/dev/null ); ` +
		`case "$x" in ""|SUM*) :;; *) rm -f "$f"; echo "the content changed on its way" >&2; exit 1;; esac; ` +
		`chmod 700 "$f" && mv -f "$f" "DIR/shim-SUM"'`)
}
