package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/master"
	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// upgrade replaces the programs of agents over the agents themselves.
type upgrade struct {
	x        *adhoc
	address  string // of the master; empty: the last login
	binaries []string
	batch    int
	wait     time.Duration // for a new agent to register
	drain    time.Duration // for commands under way
}

func newAgentUpgrade(a *app, address *string) *cobra.Command {
	u := &upgrade{x: &adhoc{app: a, flags: &hostFlags{}}}
	c := &cobra.Command{
		Use: "upgrade PATTERN…", Short: "Replace the program of agents, over their own link", Args: cobra.MinimumNArgs(1),
		Long: `Replace the program of agents, over their own link, a few at a time.

The new program is checked by its hash and platform, and runs on trial: until it has
registered with the master and said its version, the old one is what the host starts.
A new one that does not come back in time is taken back by the host itself. The first
host that fails ends the upgrade; the others stay as they are.

Runs go on meanwhile. Commands of exec would end with the old agent, so it waits for
them. The agents are those that sloth agent install or bootstrap put there.`,
		Example: `  sloth agent upgrade 'web-*' --at-once 3
  sloth agent upgrade '*' --binary sloth-amd64 --binary sloth-arm64`,
		RunE: func(cmd *cobra.Command, args []string) error {
			u.address = *address
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return u.run(ctx, args)
		},
	}
	fs := c.Flags()
	fs.StringArrayVar(&u.binaries, "binary", nil, "a sloth `file` to install (default: this program); once for each platform")
	fs.IntVar(&u.batch, "at-once", 1, "how many hosts at once")
	fs.DurationVar(&u.wait, "wait", 30*time.Second, "how long a new agent may take to register")
	fs.DurationVar(&u.drain, "drain", time.Minute, "how long to wait for commands under way; 0: not at all")
	fs.BoolVarP(&u.x.flags.become, "become", "b", false, "become root, where the agent is not root")
	return c
}

func (u *upgrade) run(ctx context.Context, patterns []string) error {
	if u.batch < 1 || u.wait < time.Second {
		return errors.New("--at-once is at least 1, --wait at least 1s")
	}
	list, err := listMaster[agent.Status](ctx, u.address, agent.MethodList)
	if err != nil {
		return err
	}
	var chosen []agent.Status
	for _, s := range list {
		for _, p := range patterns {
			if ok, _ := path.Match(p, s.Name); ok {
				chosen = append(chosen, s)
				break
			}
		}
	}
	if len(chosen) == 0 {
		return withHint(fmt.Errorf("no agent matches %s", strings.Join(patterns, " ")), "`sloth agent list` shows the agents there are.")
	}
	programs, err := u.programs()
	if err != nil {
		return err
	}
	// All that can be known before anything is touched.
	var names []string
	for _, s := range chosen {
		if s.State != agent.StateActive {
			return withHint(fmt.Errorf("agent %s is %s", s.Name, s.State), "Choose agents that are Active; nothing was upgraded.")
		}
		if _, err := programs.of(s); err != nil {
			return err
		}
		names = append(names, s.Name)
	}
	var me agent.Me
	if err := callMaster(ctx, u.address, agent.MethodWhoami, &agent.Nothing{}, &me); err != nil {
		return err
	}
	u.x.flags.inventory, u.x.flags.kind, u.x.master = []string{strings.Join(names, ",") + ","}, kindAgent, u.address
	if _, err := u.x.hosts(ctx, "all"); err != nil {
		return err
	}
	defer u.x.fleet.close()
	for len(chosen) > 0 {
		n := min(u.batch, len(chosen))
		if err := u.some(ctx, chosen[:n], programs, me.Version); err != nil {
			if rest := chosen[n:]; len(rest) > 0 {
				fmt.Fprintf(u.x.app.stderr, "%d more were not tried, from %s on\n", len(rest), rest[0].Name)
			}
			return err
		}
		chosen = chosen[n:]
	}
	return nil
}

// some upgrades a few agents at once.
func (u *upgrade) some(ctx context.Context, agents []agent.Status, programs programs, masters string) error {
	hosts := make([]string, len(agents))
	for i, s := range agents {
		hosts[i] = s.Name
	}
	failed := make([]bool, len(hosts))
	each(hosts, len(hosts), func(i int, host string) {
		binary, err := programs.of(agents[i])
		if err == nil {
			err = u.idle(ctx, host)
		}
		if err == nil {
			t := &trial{wait: u.wait, master: masters, connect: func(ctx context.Context) (installer, error) { return u.installer(ctx, host, binary) }}
			err = t.run(ctx)
		}
		if err != nil {
			failed[i] = true
			u.x.app.printError(fmt.Errorf("%s: %w", host, err))
		}
	})
	for _, f := range failed {
		if f {
			return exitError{exitFailed}
		}
	}
	return nil
}

// installer works on a host over a connection that lives.
func (u *upgrade) installer(ctx context.Context, host, binary string) (installer, error) {
	c, l, err := u.x.fleet.conn(ctx, host)
	if err != nil {
		return installer{}, err
	}
	who, how := u.x.fleet.becomeOf(l)
	return installer{app: u.x.app, conn: c, name: host, binary: binary, sudo: func(line string) (string, error) {
		if who == "" {
			return line, nil
		}
		return becomeLine(how.Method, who, line, "sh", false)
	}}, nil
}

// idle waits until an agent has no commands under way.
func (u *upgrade) idle(ctx context.Context, host string) error {
	if u.drain <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, u.drain)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := listMaster[agent.Status](ctx, u.address, agent.MethodList)
		works := 0
		for _, s := range list {
			if s.Name == host {
				works = s.Works
			}
		}
		if err == nil && works == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("%d of its commands are still under way after %s", works, u.drain)
			}
			return withHint(err, "Come again later, give more time with --drain, or --drain 0 not to wait: runs go on, commands of exec would end.")
		}
	}
}

// programs are files by the platform they are for; the key of one that does not
// say is empty.
type programs map[string]string

func (u *upgrade) programs() (programs, error) {
	files := u.binaries
	if len(files) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		files = []string{self}
	}
	all := programs{}
	for _, f := range files {
		platform, err := platformOf(f)
		if err != nil {
			return nil, err
		}
		if other, twice := all[platform]; twice {
			return nil, fmt.Errorf("--binary: %s and %s are for the same platform", other, f)
		}
		all[platform] = f
	}
	return all, nil
}

// of chooses the program of an agent.
func (p programs) of(s agent.Status) (string, error) {
	if f, ok := p[s.Platform]; ok {
		return f, nil
	}
	if f, ok := p[""]; ok {
		return f, nil // it is tried there
	}
	var have []string
	for platform := range p {
		have = append(have, platform)
	}
	return "", withHint(fmt.Errorf("agent %s is %s and there is a program for %s", s.Name, render.Sanitize(s.Platform), strings.Join(have, ", ")),
		"Give the program for that platform with --binary; nothing was upgraded.")
}

// platformOf is the platform of a Linux program, as agents call it.
func platformOf(file string) (string, error) {
	f, err := elf.Open(file)
	var format *elf.FormatError
	if errors.As(err, &format) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	switch f.Machine {
	case elf.EM_X86_64:
		return "linux/amd64", nil
	case elf.EM_AARCH64:
		return "linux/arm64", nil
	case elf.EM_ARM:
		return "linux/arm", nil
	case elf.EM_386:
		return "linux/386", nil
	case elf.EM_RISCV:
		return "linux/riscv64", nil
	}
	return "", fmt.Errorf("%s is a program for %s, for which there is no sloth", file, f.Machine)
}

// trial is the upgrade of one host.
type trial struct {
	connect func(ctx context.Context) (installer, error) // anew after each loss
	wait    time.Duration
	master  string // its version
}

// installTrial is a drop-in of the service that a restart of the host forgets.
const installTrial = "/run/systemd/system/sloth-agent.service.d"

// trialScript runs apart from the agent, which it restarts, and says in the end
// which program is the host's. A drop-in below /run names the new one: whatever
// happens before the verdict, the host boots with the old one.
const trialScript = `set -u; umask 022; lib=$1 run=$2 keep=$3 new=$4 version=$5 unit=$7
end() { rm -rf "$run"; systemctl daemon-reload; }
nap() { sleep 0.2 2>/dev/null || sleep 1; }
log() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"; }
line=$(sed -n "s|^ExecStart=$lib/agent |ExecStart=$lib/$new |p" "$unit")
rm -f "$keep/registered"
printf '[Service]\nExecStart=\n%s\nEnvironment=SLOTH_TRIAL=%s\n' "$line" "$new" > "$run/trial.conf"
nap; log "trying $new"; until=$(($(date +%s) + $6)); good=
if systemctl daemon-reload && systemctl restart sloth-agent.service; then
  while [ "$(date +%s)" -le "$until" ] && [ -z "$good" ]; do
    if [ "$(cat "$keep/registered" 2>/dev/null)" = "$new $version" ]; then good=1; else nap; fi
  done
fi
if [ -n "$good" ]; then
  old=$(readlink "$lib/agent"); ln -s "$new" "$lib/.agent-$$" && mv -f "$lib/.agent-$$" "$lib/agent"
  log "$new has registered, $old stays beside it"
  for f in "$lib"/sloth-*; do case ${f##*/} in "$old"|"$new") ;; *) rm -f "$f" ;; esac; done
  end
else
  log "$new did not register within $6 s: back to $(readlink "$lib/agent")"
  end; systemctl restart sloth-agent.service
fi
`

// beginScript starts that one, in a session of its own.
const beginScript = `set -eu
mkdir -p "$(dirname "$2")"; mkdir "$2" 2>/dev/null || { echo "another upgrade is under way; if it is not, remove $2" >&2; exit 1; }
setsid /bin/sh -c "$8" sh "$@" </dev/null >"$1/upgrade.log" 2>&1 &`

func (t *trial) run(ctx context.Context) error {
	in, err := t.connect(ctx)
	if err != nil {
		return err
	}
	if err := in.suits(ctx); err != nil {
		return err
	}
	hash, err := hashFile(in.binary)
	if err != nil {
		return err
	}
	lib, dropin, fresh := in.root+installLib, in.root+installTrial, "sloth-"+hash
	now, err := in.sh(ctx, nil, `if [ -L "$1/agent" ] && grep -q "^ExecStart=$1/agent " "$2"; then readlink "$1/agent"; fi`, lib, in.root+installUnit)
	if err != nil {
		return err
	}
	if strings.TrimSpace(now) == "" {
		return withHint(errors.New("its agent was not put there by sloth agent install"), "Replace its program, and start it again; or let sloth agent install take its place.")
	}
	if strings.TrimSpace(now) == fresh {
		fmt.Fprintf(in.app.stdout, "%s: the agent has this program already\n", in.name)
		return nil
	}
	if _, err := in.place(ctx, lib, hash); err != nil {
		return err
	}
	said, err := in.sh(ctx, nil, `exec "$1" version`, lib+"/"+fresh)
	version, ok := strings.CutPrefix(strings.TrimSpace(said), "sloth ")
	switch {
	case err != nil:
		return fmt.Errorf("the new program does not run there: %w", err)
	case !ok || len(strings.Fields(version)) != 1:
		return fmt.Errorf("the new program says %q and no version", render.Sanitize(version))
	case master.Apart(t.master, version):
		return withHint(fmt.Errorf("the new program is sloth %s and the master sloth %s: more than one minor release apart", version, t.master), "The master would refuse it; upgrade the master first.")
	}
	if _, err := in.sh(ctx, nil, beginScript, lib, dropin, in.root+installKeep, fresh, version, fmt.Sprint(int(t.wait.Seconds())), in.root+installUnit, trialScript); err != nil {
		return err
	}
	return t.verdict(ctx, in, fresh, version)
}

// verdict asks the host until its trial is over. Meanwhile its agent comes and
// goes.
func (t *trial) verdict(ctx context.Context, in installer, fresh, version string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*t.wait+time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	lib := in.root + installLib
	for {
		again, err := t.connect(ctx)
		var said string
		if err == nil {
			said, err = again.sh(ctx, nil, `if [ -d "$2" ]; then echo trying; else readlink "$1/agent"; tail -n 1 "$1/upgrade.log"; fi`, lib, in.root+installTrial)
		}
		now, log, _ := strings.Cut(strings.TrimSpace(said), "\n")
		switch {
		case err != nil || now == "trying":
		case now == fresh:
			fmt.Fprintf(in.app.stdout, "%s: the agent is sloth %s now\n", in.name, version)
			return nil
		default:
			return withHint(fmt.Errorf("the new agent did not register within %s and the old one is back: %s", t.wait, render.Sanitize(log)),
				"Look at its log on the host: journalctl -u sloth-agent.")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err == nil {
				err = errors.New("the trial of the new agent does not end")
			}
			return withHint(fmt.Errorf("nobody knows how the upgrade ended: %w", err), "The host goes back by itself where the new agent does not register; see upgrade.log in "+installLib+" there.")
		}
	}
}

// envTrial says that this agent runs on trial, and as what.
const envTrial = "SLOTH_TRIAL"

// noteRegistered returns what notes in the agent's folder that it has
// registered, as what and in which version: scripts on the host wait for that.
func noteRegistered(dir string) (func() error, error) {
	name := os.Getenv(envTrial)
	if name == "" {
		name = "agent"
	}
	// Commands that we start are on no trial.
	return func() error {
		return wholefile.Write(filepath.Join(dir, "registered"), []byte(name+" "+version+"\n"))
	}, os.Unsetenv(envTrial)
}
