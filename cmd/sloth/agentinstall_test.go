package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/local"
)

// systemctl stands in for the real one: it starts what the unit says, and fails
// on anything that an installation does not need.
const systemctl = `#!/bin/sh
set -eu
echo "$*" >> "$ROOT/systemctl.log"
end() { if [ -f "$ROOT/pid" ]; then kill "$(cat "$ROOT/pid")" 2>/dev/null || true; while kill -0 "$(cat "$ROOT/pid")" 2>/dev/null; do sleep 0.02; done; rm -f "$ROOT/pid"; fi; }
case "$*" in
daemon-reload|"enable sloth-agent.service") ;;
"restart sloth-agent.service") end
	cat "$ROOT/etc/systemd/system/sloth-agent.service" "$ROOT/run/systemd/system/sloth-agent.service.d/"*.conf > "$ROOT/whole" 2>/dev/null || true
	env $(sed -n 's/^Environment=SLOTH/SLOTH/p' "$ROOT/whole") $(sed -n 's/^ExecStart=\(..*\)/\1/p' "$ROOT/whole" | tail -n 1) >> "$ROOT/agent.log" 2>&1 </dev/null & echo $! > "$ROOT/pid" ;;
"start sloth-agent.service") kill -0 "$(cat "$ROOT/pid")" ;;
"stop") end ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
`

// installation is a file system of its own, with a service manager that stands
// in, on which agents are installed.
type installation struct {
	*meeting
	ctx     context.Context
	root    string
	program string
	in      installer
	out     bytes.Buffer
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	m := newMeeting(t, 0, "")
	x := &installation{meeting: m, root: t.TempDir()}
	bin := filepath.Join(x.root, "standin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(systemctl), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	// The installed program is started by another name, which the test binary
	// does not know: a script in front of it.
	x.program = x.script("sloth-1", "exec "+m.program+" \"$@\"")
	for _, kv := range append(m.env, "ROOT="+x.root, "PATH="+bin+":"+os.Getenv("PATH")) {
		k, v, _ := strings.Cut(kv, "=")
		if k == "HOME" || k == "XDG_STATE_HOME" || k == "ROOT" || k == "PATH" {
			t.Setenv(k, v)
		}
	}
	m.await("the master is logged in to", func() bool { code, _ := m.sloth("agent", "list", "--master", m.address()); return code == 0 })
	conn := local.New()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	x.ctx = ctx
	x.in = installer{app: &app{stdout: &x.out, stderr: &x.out}, conn: conn, root: x.root, name: "db-1", at: m.address(), master: m.address(), binary: x.program,
		sudo: func(line string) (string, error) { return line, nil }, wait: 10 * time.Second}
	t.Cleanup(func() {
		defer cancel()
		defer conn.Close()
		if _, err := x.in.sh(ctx, nil, "systemctl stop"); err != nil {
			t.Errorf("end the agent: %v", err)
		}
	})
	return x
}

// script writes a program.
func (x *installation) script(name, text string) string {
	x.t.Helper()
	file := filepath.Join(x.root, name)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil { //nolint:gosec // a program
		x.t.Fatal(err)
	}
	return file
}

// current is the name of the agent's program.
func (x *installation) current() string {
	x.t.Helper()
	s, err := os.Readlink(filepath.Join(x.root, installLib, "agent"))
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// TestFault60AgentInstall: twice is as good as once, and an upgrade that does not work
// leaves the agent of before.
func TestFault60AgentInstall(t *testing.T) {
	x := newInstallation(t)
	for i, want := range []string{"db-1: the agent is installed and registered", "db-1: the agent was installed already and registered"} {
		x.out.Reset()
		if err := x.in.run(x.ctx); err != nil || !strings.HasPrefix(x.out.String(), want) {
			log, _ := os.ReadFile(filepath.Join(x.root, "agent.log"))
			t.Fatalf("installation %d: %q, %v\n%s", i+1, x.out.String(), err, log)
		}
	}
	good := x.current()
	// One that was cut on its way never gets its name.
	x.in.binary = x.script("sloth-2", "exit 1")
	lib := x.root + installLib
	if _, err := x.in.sh(x.ctx, nil, placeScript, lib, x.in.binary, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "the checksum is ") {
		t.Errorf("a program with another checksum: %v", err)
	}
	if x.current() != good {
		t.Error("it replaced the good one")
	}
	// One that does not run is taken back.
	x.in.wait = time.Second
	err := x.in.run(x.ctx)
	if err == nil || !strings.Contains(err.Error(), "the agent did not register within 1s") || !strings.Contains(err.Error(), "the old agent was put back") {
		t.Errorf("got %v", err)
	}
	if x.current() != good {
		t.Error("the old one is not back")
	}
	x.in.binary, x.in.wait = x.program, 10*time.Second
	if err := x.in.registered(x.ctx, time.Now(), false); err != nil {
		t.Errorf("the old one does not run: %v", err)
	}
}
