package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent"
)

// TestAgentUpgrade goes over the agent itself: a new program stays once it has
// registered, and the host takes back one that does not.
func TestAgentUpgrade(t *testing.T) {
	x := newInstallation(t)
	if err := x.in.run(x.ctx); err != nil {
		t.Fatal(err)
	}
	k, address, err := masterKeep(x.address())
	if err != nil {
		t.Fatal(err)
	}
	route := agent.NewRouter(k.Dialer(address))
	wait := 20 * time.Second
	upgrade := func(binary, master string) error {
		x.out.Reset()
		ctx, cancel := context.WithTimeout(x.ctx, 30*time.Second)
		defer cancel()
		tr := &trial{wait: wait, master: master, connect: func(ctx context.Context) (installer, error) {
			in := x.in
			in.binary = binary
			var err error
			c, err := route.Dial(ctx, in.name)
			if err != nil {
				return in, err
			}
			in.conn = c
			t.Cleanup(func() { c.Close() })
			return in, nil
		}}
		return tr.run(ctx)
	}
	first := x.current()
	// A run's worker is none of the agent's: it lives on.
	c, err := route.Dial(x.ctx, "db-1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := filepath.Join(x.root, "done")
	if err := connection.Run(x.ctx, c, connection.Command{Line: "setsid sh -c 'while ! [ -e " + done + "-go ]; do sleep 0.05; done; touch " + done + "' >/dev/null 2>&1 </dev/null &"}, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	second := x.script("sloth-2", "# another one\nexec "+x.program+" \"$@\"")
	if err := upgrade(second, version); err != nil || !strings.HasPrefix(x.out.String(), "db-1: the agent is sloth "+version+" now") {
		x.fatal("the upgrade", err)
	}
	good := x.current()
	if good == first {
		t.Error("the program is the old one")
	}
	if _, err := os.Stat(filepath.Join(x.root, installLib, first)); err != nil {
		t.Errorf("the old one is not kept: %v", err)
	}
	if err := os.WriteFile(done+"-go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x.await("what ran before the upgrade ends well", func() bool { _, err := os.Stat(done); return err == nil })
	if err := upgrade(second, version); err != nil || !strings.Contains(x.out.String(), "has this program already") {
		x.fatal("the same once more", err)
	}
	wait = time.Second
	for _, c := range []struct{ name, text, master, want string }{
		{"one that never registers", "[ \"$1\" = version ] && exec echo sloth dev\nexec sleep 1000", version,
			"the new agent did not register within 1s and the old one is back: "},
		{"one that does not run", "exit 3", version, "the new program does not run there: exit code 3"},
		{"something else", "echo hello", version, `the new program says "hello" and no version`},
		{"one that is too new", "echo sloth 1.5.0", "1.3.2", "the new program is sloth 1.5.0 and the master sloth 1.3.2: more than one minor release apart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := upgrade(x.script("bad", c.text), c.master)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				x.fatal("got", err)
			}
			if x.current() != good {
				t.Error("another program is the agent's")
			}
			// The old one serves.
			c, err := route.Dial(x.ctx, "db-1")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := connection.Run(x.ctx, c, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(x.root, installTrial)); !os.IsNotExist(err) {
		t.Errorf("the trial's drop-in is left: %v", err)
	}
}

func (x *installation) fatal(what string, err error) {
	x.t.Helper()
	log, _ := os.ReadFile(filepath.Join(x.root, "agent.log"))
	guard, _ := os.ReadFile(filepath.Join(x.root, installLib, "upgrade.log"))
	x.t.Fatalf("%s: %q, %v\nupgrade.log:\n%s\nagent.log:\n%s", what, x.out.String(), err, guard, log)
}

// TestAgentUpgradeRefuses what can be known before anything is touched.
func TestAgentUpgradeRefuses(t *testing.T) {
	m := newMeeting(t, 1, "")
	foreign := filepath.Join(m.dir, "foreign")
	header := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 57)...)
	header[16], header[18], header[20], header[52] = 2, 0xf3, 1, 64 // an executable for RISC-V
	if err := os.WriteFile(foreign, header, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"nobody", []string{"web-*"}, "no agent matches web-*"},
		{"another platform", []string{"nat-1", "--binary", foreign}, "and there is a program for linux/riscv64\n       Give the program for that platform with --binary; nothing was upgraded."},
		{"twice the same", []string{"nat-1", "--binary", foreign, "--binary", foreign}, "are for the same platform"},
		{"one that was started by hand", []string{"nat-1"}, "nat-1: its agent was not put there by sloth agent install"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if code, out := m.sloth(append([]string{"agent", "upgrade", "--master", m.address()}, c.args...)...); code == 0 || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d\n%s", code, out)
			}
		})
	}
}
