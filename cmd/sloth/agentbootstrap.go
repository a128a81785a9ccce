package main

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// bootstrap makes a script that puts an agent on the host it runs on.
type bootstrap struct {
	name   string
	at     string // the master, as the host reaches it
	binary string
	url    string // where the host gets the program; empty: the script carries it
	root   string // of the host's file system; empty but in tests
}

func newAgentBootstrap(a *app, address *string) *cobra.Command {
	b := &bootstrap{}
	c := &cobra.Command{
		Use: "bootstrap --name N", Short: "Print a script that puts an agent on the host it runs on", Args: cobra.NoArgs,
		Long: `Print a script that puts an agent on the host it runs on, as a systemd service.

For hosts that nobody can log in to from here. The script carries this program, or
downloads it from --url, and checks its hash; run again it changes nothing. It holds no
secret: the join token goes to its standard input, or into a file that is closed to
others (sh bootstrap.sh --token-file FILE).`,
		Example: `  sloth agent bootstrap --name db-1 --advertise master.example:50053 > bootstrap.sh
  sloth agent token db-1 > token          then, as root on db-1:  sh bootstrap.sh < token`,
		RunE: func(*cobra.Command, []string) error {
			if b.at == "" {
				_, master, err := masterKeep(*address)
				if err != nil {
					return withHint(err, "Log in, or give the master's address as the host reaches it with --advertise.")
				}
				b.at = master
			}
			b.at = masterAddress(b.at)
			if b.binary == "" {
				var err error
				if b.binary, err = os.Executable(); err != nil {
					return err
				}
			}
			w := bufio.NewWriter(a.stdout)
			if err := b.write(w); err != nil {
				return err
			}
			return w.Flush()
		},
	}
	fs := c.Flags()
	fs.StringVar(&b.name, "name", "", "the agent's `name`")
	fs.StringVar(&b.at, "advertise", "", "the master's `address` as the host reaches it (default --master)")
	fs.StringVar(&b.binary, "binary", "", "the sloth `file` to install (default: this program)")
	fs.StringVar(&b.url, "url", "", "where the host downloads that file, instead of a script that carries it")
	return c
}

// bootstrapScript is POSIX sh. What stands in capitals is put in quoted.
const bootstrapScript = `#!/bin/sh
# Puts the sloth agent of this host in place, as a systemd service. Again: no change.
#   sh bootstrap.sh < TOKEN        or --token-file FILE (mode 600), or --no-token to wait for approval
set -eu
name=NAME master=MASTER hash=HASH machines=MACHINES url=URL
lib=LIB keep=KEEP unit=UNIT
fail() { echo "bootstrap: $*" >&2; exit 1; }
place() ( PLACE
)
switch() ( SWITCH
)
service() ( SERVICE
)
token=-
while [ $# -gt 0 ]; do
  case $1 in
  --token-file) [ $# -gt 1 ] || fail "--token-file needs a file"; token=$2; shift ;;
  --no-token) token= ;;
  *) fail "there is no option $1; there are --token-file FILE and --no-token" ;;
  esac
  shift
done
[ -n "ROOT" ] || [ "$(id -u)" = 0 ] || fail "run this as root: it installs a service"
[ "$(uname -s)" = Linux ] && command -v systemctl >/dev/null || fail "this host has no systemd; start the agent from its own init: sloth agent start --name $name --master $master --daemon"
case " $machines " in "  "|*" $(uname -m) "*) ;; *) fail "the program is for $machines and this host is $(uname -m): make the script with --binary" ;; esac
if [ -n "$token" ] && [ "$token" != - ]; then
  [ -f "$token" ] || fail "there is no file $token"
  [ -z "$(find "$token" -prune \( -perm -040 -o -perm -004 \))" ] || fail "$token is open to others: chmod 600 $token, and take the token for known to them"
fi
changed=
if [ "$([ -f "$lib/sloth-$hash" ] && sha256sum "$lib/sloth-$hash" | cut -d' ' -f1)" != "$hash" ]; then
  tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
  if [ -z "$url" ]; then sed '1,/^#PROGRAM$/d' "$0" | base64 -d | gzip -dc > "$tmp/sloth" || fail "this script is not whole"
  elif command -v curl >/dev/null; then curl -fsSL --proto '=http,https' -o "$tmp/sloth" -- "$url" || fail "$url can't be downloaded"
  elif command -v wget >/dev/null; then wget -q -O "$tmp/sloth" -- "$url" || fail "$url can't be downloaded"
  else fail "neither curl nor wget is here; make the script without --url"
  fi
  place "$lib" "$tmp/sloth" "$hash" || fail "the program is not the one that was meant, nothing was installed"
  changed=yes
fi
if [ ! -f "$keep/own.crt" ] && [ -n "$token" ]; then
  "$lib/sloth-$hash" agent start --enrol-only --token-file "$token" --name "$name" --master "$master" --dir "$keep" || fail "the master did not let this host in"
fi
old=$(switch "$lib" "sloth-$hash")
[ "$old" = "sloth-$hash" ] || changed=yes
[ "$(service "$unit" <<'END'
SERVICETEXT
END
)" = same ] || changed=yes
systemctl enable sloth-agent.service
if [ -z "$changed" ]; then systemctl start sloth-agent.service; echo "the agent $name was installed already"; exit 0; fi
rm -f "$keep/registered"
systemctl restart sloth-agent.service
if [ ! -f "$keep/own.crt" ]; then
  echo "the agent $name is installed and waits for approval; its fingerprint: journalctl -u sloth-agent"; exit 0
fi
until=$(($(date +%s) + 30))
while [ ! -s "$keep/registered" ]; do
  if [ "$(date +%s)" -gt "$until" ]; then
    if [ -n "$old" ] && [ "$old" != "sloth-$hash" ]; then
      switch "$lib" "$old" >/dev/null; systemctl restart sloth-agent.service
      fail "the new agent did not register with $master within 30 s; the old one was put back"
    fi
    fail "the agent did not register with $master within 30 s; see journalctl -u sloth-agent"
  fi
  sleep 0.2 2>/dev/null || sleep 1
done
echo "the agent $name is installed and registered with $master"
exit 0
#PROGRAM
`

func (b *bootstrap) write(w io.Writer) error {
	if b.name == "" {
		return errors.New("give the agent's name with --name")
	}
	if err := pki.CheckName(b.name); err != nil {
		return err
	}
	if strings.ContainsAny(b.at, " \t\n'\"\\%$") {
		return fmt.Errorf("the address %q can't stand in a service", b.at)
	}
	if b.url != "" && !strings.HasPrefix(b.url, "https://") && !strings.HasPrefix(b.url, "http://") {
		return fmt.Errorf("--url %q begins with neither https:// nor http://", b.url)
	}
	platform, err := platformOf(b.binary)
	if err != nil {
		return err
	}
	hash, err := hashFile(b.binary)
	if err != nil {
		return err
	}
	machines := map[string]string{"linux/amd64": "x86_64 amd64", "linux/arm64": "aarch64 arm64", "linux/arm": "armv6l armv7l armv8l", "linux/386": "i386 i486 i586 i686 x86_64", "linux/riscv64": "riscv64"}[platform]
	lib, keep := b.root+installLib, b.root+installKeep
	text := strings.NewReplacer("NAME", b.name, "LIB", lib, "MASTER", b.at, "KEEP", keep).Replace(unit)
	script := strings.NewReplacer("PLACE\n", placeScript+"\n", "SWITCH\n", switchScript+"\n", "SERVICE\n", unitScript+"\n", "SERVICETEXT", strings.TrimSuffix(text, "\n"),
		"=NAME ", "="+quote(b.name)+" ", "=MASTER ", "="+quote(b.at)+" ", "=HASH ", "="+hash+" ", "=MACHINES ", "="+quote(machines)+" ", "=URL\n", "="+quote(b.url)+"\n",
		"=LIB ", "="+quote(lib)+" ", "=KEEP ", "="+quote(keep)+" ", "=UNIT\n", "="+quote(b.root+installUnit)+"\n", `"ROOT"`, quote(b.root)).Replace(bootstrapScript)
	if b.url != "" {
		script = strings.TrimSuffix(script, "#PROGRAM\n")
	}
	if _, err := io.WriteString(w, script); err != nil || b.url != "" {
		return err
	}
	return carryProgram(w, b.binary)
}

// carryProgram writes a program as lines that a shell script may end with.
func carryProgram(w io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	wrap := &wrapped{w: w}
	enc := base64.NewEncoder(base64.StdEncoding, wrap)
	z := gzip.NewWriter(enc)
	if _, err := io.Copy(z, f); err != nil {
		return err
	}
	return errors.Join(z.Close(), enc.Close(), wrap.end())
}

// wrapped breaks what is written into lines.
type wrapped struct {
	w  io.Writer
	at int // of this line
}

const wrapAt = 76

func (l *wrapped) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), wrapAt-l.at)
		if _, err := l.w.Write(rest[:n]); err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
		if l.at += n; l.at == wrapAt {
			if err := l.end(); err != nil {
				return len(p) - len(rest), err
			}
		}
	}
	return len(p), nil
}

func (l *wrapped) end() error {
	l.at = 0
	_, err := io.WriteString(l.w, "\n")
	return err
}
