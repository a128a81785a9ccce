package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// installer puts an agent on a host over another connection to it.
type installer struct {
	app    *app
	conn   connection.Conn
	root   string // of the host's file system; empty but in tests
	name   string
	at     string // the master, as the host reaches it
	master string // as we do
	binary string
	sudo   func(line string) (string, error)
	wait   time.Duration // for the new agent to register
}

func newAgentInstall(a *app, address *string) *cobra.Command {
	x := &adhoc{app: a, flags: &hostFlags{}}
	var at, binary string
	c := &cobra.Command{
		Use: "install HOST…", Short: "Put an agent on hosts, over SSH, as a systemd service", Args: cobra.MinimumNArgs(1),
		Long: `Put an agent on hosts, over SSH, as a systemd service.

What is there already stays as it is; a newer program replaces an older one, which
stays on the host and is put back should the new one not register with the master.
The agent has the host's name in the inventory. It needs root there: log in as root
or give -b.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			hosts, err := x.hosts(cmd.Context(), strings.Join(args, ","))
			if err != nil {
				return err
			}
			defer x.fleet.close()
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if binary == "" {
				if binary, err = os.Executable(); err != nil {
					return err
				}
			}
			_, master, err := masterKeep(*address)
			if err != nil {
				return err
			}
			if at == "" {
				at = master
			}
			return x.install(ctx, hosts, installer{app: a, at: at, master: master, binary: binary, wait: 30 * time.Second})
		},
	}
	x.flags.add(c.Flags(), "")
	c.Flags().StringVar(&at, "advertise", "", "the master's `address` as these hosts reach it (default --master)")
	c.Flags().StringVar(&binary, "binary", "", "the sloth `file` to install (default: this program)")
	return c
}

func (x *adhoc) install(ctx context.Context, hosts []string, with installer) error {
	failed := make([]bool, len(hosts))
	each(hosts, x.flags.forks, func(i int, host string) {
		in := with
		in.name = host
		c, l, err := x.fleet.conn(ctx, host)
		if err == nil {
			who, how := x.fleet.becomeOf(l)
			in.conn = c
			in.sudo = func(line string) (string, error) {
				if who == "" {
					return line, nil
				}
				return becomeLine(how.Method, who, line, "sh", false)
			}
			err = in.run(ctx)
		}
		if err != nil {
			failed[i] = true
			x.app.printError(fmt.Errorf("%s: %w", host, err))
		}
	})
	for _, f := range failed {
		if f {
			return exitError{exitFailed}
		}
	}
	return nil
}

// Where things are on a host.
const (
	installLib  = "/usr/local/lib/sloth"
	installKeep = "/var/lib/sloth/agent"
	installUnit = "/etc/systemd/system/sloth-agent.service"
)

// unit is the service. KillMode=process: what was started over the agent goes
// on while the agent is restarted or replaced.
const unit = `[Unit]
Description=sloth agent NAME
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=LIB/agent agent start --name NAME --master MASTER --dir KEEP
Environment=HOME=/root
Restart=always
RestartSec=5
KillMode=process

[Install]
WantedBy=multi-user.target
`

// placeScript makes a checked copy of what was uploaded, under the name of its
// content; nothing that runs is touched.
const placeScript = `set -eu; umask 022; mkdir -p "$1"; chmod 755 "$1"
x=$(sha256sum "$2" | cut -d" " -f1)
if [ "$x" != "$3" ]; then echo "the checksum is $x, not $3" >&2; exit 1; fi
cp "$2" "$1/.new-$$"; chmod 755 "$1/.new-$$"; mv -f "$1/.new-$$" "$1/sloth-$3"`

// switchScript makes a program the agent's, in one step, and says which one was.
const switchScript = `set -eu; old=$(readlink "$1/agent" || true)
ln -s "$2" "$1/.agent-$$"; mv -f "$1/.agent-$$" "$1/agent"; echo "$old"`

// unitScript writes the service where it is another one, from standard input.
const unitScript = `set -eu; umask 022; mkdir -p "$(dirname "$1")"; cat > "$1.new"
if cmp -s "$1.new" "$1"; then rm -f "$1.new"; echo same; else mv -f "$1.new" "$1"; systemctl daemon-reload; echo new; fi`

func (in *installer) run(ctx context.Context) error {
	if err := pki.CheckName(in.name); err != nil {
		return err
	}
	if err := in.suits(ctx); err != nil {
		return err
	}
	hash, err := hashFile(in.binary)
	if err != nil {
		return err
	}
	lib := in.root + installLib
	changed, err := in.place(ctx, lib, hash)
	if err != nil {
		return err
	}
	old, err := in.sh(ctx, nil, switchScript, lib, "sloth-"+hash)
	if err != nil {
		return err
	}
	old = strings.TrimSpace(old)
	if err := in.enrol(ctx, lib); err != nil {
		return errors.Join(err, in.back(ctx, lib, old, hash))
	}
	text := strings.NewReplacer("NAME", in.name, "LIB", lib, "MASTER", in.at, "KEEP", in.root+installKeep).Replace(unit)
	said, err := in.sh(ctx, strings.NewReader(text), unitScript, in.root+installUnit)
	if err != nil {
		return err
	}
	changed = changed || strings.TrimSpace(said) == "new" || old != "sloth-"+hash
	what := "start"
	if changed {
		what = "restart"
	}
	began := time.Now()
	if _, err := in.sh(ctx, nil, `set -eu; systemctl enable sloth-agent.service; systemctl "$1" sloth-agent.service`, what); err != nil {
		return errors.Join(err, in.back(ctx, lib, old, hash))
	}
	if err := in.registered(ctx, began, changed); err != nil {
		return errors.Join(err, in.back(ctx, lib, old, hash))
	}
	state := "was installed already"
	if changed {
		state = "is installed"
	}
	fmt.Fprintf(in.app.stdout, "%s: the agent %s and registered with %s\n", in.name, state, in.at)
	return nil
}

// suits refuses a host that our program does not run on.
func (in *installer) suits(ctx context.Context) error {
	out, err := in.sh(ctx, nil, `uname -s; uname -m; command -v systemctl >/dev/null && echo systemd; true`)
	if err != nil {
		return err
	}
	f := strings.Fields(out)
	if len(f) < 3 || f[0] != "Linux" {
		return withHint(errors.New("the host has no systemd"), "Start the agent there by hand, or from the host's own init: sloth agent start --name N --master A:P --daemon.")
	}
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv64"}[runtime.GOARCH]
	if self, _ := os.Executable(); in.binary == self && f[1] != machine {
		return withHint(fmt.Errorf("the host is %s and this program is for %s", render.Sanitize(f[1]), runtime.GOARCH), "Give the program for that host with --binary.")
	}
	return nil
}

func hashFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// place puts the program on the host, unless it is there already.
func (in *installer) place(ctx context.Context, lib, hash string) (changed bool, err error) {
	there, err := in.sh(ctx, nil, `if [ -f "$1/sloth-$2" ]; then sha256sum "$1/sloth-$2" | cut -d" " -f1; fi`, lib, hash)
	if err != nil || strings.TrimSpace(there) == hash {
		return false, err
	}
	// As whoever logs in, into a folder of its own: Upload does not become root.
	var tmp bytes.Buffer
	if err := connection.Run(ctx, in.conn, connection.Command{Argv: []string{"mktemp", "-d"}}, nil, &tmp, nil); err != nil {
		return false, fmt.Errorf("make a temporary folder: %w", err)
	}
	dir := strings.TrimSpace(tmp.String())
	if !path.IsAbs(dir) {
		return false, fmt.Errorf("mktemp -d printed %q", render.Sanitize(dir))
	}
	defer func() {
		err = errors.Join(err, connection.Run(ctx, in.conn, connection.Command{Argv: []string{"rm", "-rf", "--", dir}}, nil, nil, nil))
	}()
	f, err := os.Open(in.binary)
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	staged := path.Join(dir, "sloth")
	if err := in.conn.Upload(ctx, staged, 0o700, st.Size(), f); err != nil {
		return false, err
	}
	_, err = in.sh(ctx, nil, placeScript, lib, staged, hash)
	return true, err
}

// enrol lets the agent in, with a token that is good for a minute and travels
// over standard input.
func (in *installer) enrol(ctx context.Context, lib string) error {
	there, err := in.sh(ctx, nil, `if [ -f "$1/own.crt" ]; then echo yes; fi`, in.root+installKeep)
	if err != nil || strings.TrimSpace(there) == "yes" {
		return err
	}
	var t agent.TokenInfo
	if err := callMaster(ctx, in.master, agent.MethodToken, &agent.TokenRequest{Kind: pki.KindAgent, Pattern: in.name, Life: time.Minute}, &t); err != nil {
		return err
	}
	_, err = in.sh(ctx, strings.NewReader(t.Text+"\n"), `exec "$1/agent" agent start --enrol-only --token-file - --name "$2" --master "$3" --dir "$4"`, lib, in.name, in.at, in.root+installKeep)
	return err
}

// registered waits until the master has the agent, a new one where it was
// started anew.
func (in *installer) registered(ctx context.Context, since time.Time, anew bool) error {
	ctx, cancel := context.WithTimeout(ctx, in.wait)
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := listMaster[agent.Status](ctx, in.master, agent.MethodList)
		for _, s := range list {
			// The clocks of two machines may differ a little.
			if s.Name == in.name && s.State == agent.StateActive && (!anew || s.Since.After(since.Add(-5*time.Second))) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("the agent did not register within %s", in.wait)
			}
			return withHint(err, "Look at its log on the host: journalctl -u sloth-agent. Does the host reach the master at "+in.at+" (--advertise)?")
		}
	}
}

// back puts the program of before in its place again.
func (in *installer) back(ctx context.Context, lib, old, hash string) error {
	if old == "" || old == "sloth-"+hash {
		return nil
	}
	if _, err := in.sh(ctx, nil, switchScript, lib, old); err != nil {
		return fmt.Errorf("put the old agent back: %w", err)
	}
	_, err := in.sh(ctx, nil, `systemctl restart sloth-agent.service`)
	if err == nil {
		err = errors.New("the old agent was put back")
	}
	return err
}

// sh runs a script as root.
func (in *installer) sh(ctx context.Context, stdin io.Reader, script string, args ...string) (string, error) {
	line := "/bin/sh -c " + quote(script) + " sh"
	for _, a := range args {
		line += " " + quote(a)
	}
	line, err := in.sudo(line)
	if err != nil {
		return "", err
	}
	out, errOut := &kept{limit: 64 << 10}, &kept{limit: 64 << 10}
	err = connection.Run(ctx, in.conn, connection.Command{Line: line}, stdin, out, errOut)
	var exit *connection.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, render.Sanitize(strings.TrimSpace(string(errOut.data))))
	}
	return string(out.data), err
}
