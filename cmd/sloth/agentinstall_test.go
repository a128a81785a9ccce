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
	$(sed -n 's/^ExecStart=//p' "$ROOT/etc/systemd/system/sloth-agent.service") >> "$ROOT/agent.log" 2>&1 </dev/null & echo $! > "$ROOT/pid" ;;
"start sloth-agent.service") kill -0 "$(cat "$ROOT/pid")" ;;
"stop") end ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
`

// TestFault60AgentInstall: twice is as good as once, and an upgrade that does not work
// leaves the agent of before.
func TestFault60AgentInstall(t *testing.T) {
	m := newMeeting(t, 0, "")
	root := t.TempDir()
	bin := filepath.Join(root, "standin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(systemctl), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	// The installed program is started by another name, which the test binary
	// does not know: a script in front of it.
	program := filepath.Join(root, "sloth-1")
	script := "#!/bin/sh\nexec " + m.program + " \"$@\"\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	for _, kv := range append(m.env, "ROOT="+root, "PATH="+bin+":"+os.Getenv("PATH")) {
		k, v, _ := strings.Cut(kv, "=")
		if k == "HOME" || k == "XDG_STATE_HOME" || k == "ROOT" || k == "PATH" {
			t.Setenv(k, v)
		}
	}
	m.await("the master is logged in to", func() bool { code, _ := m.sloth("agent", "list", "--master", m.address()); return code == 0 })
	conn := local.New()
	defer conn.Close()
	var out bytes.Buffer
	in := installer{app: &app{stdout: &out, stderr: &out}, conn: conn, root: root, name: "db-1", at: m.address(), master: m.address(), binary: program,
		sudo: func(line string) (string, error) { return line, nil }, wait: 10 * time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	defer func() {
		if _, err := in.sh(ctx, nil, "systemctl stop"); err != nil {
			t.Errorf("end the agent: %v", err)
		}
	}()
	for i, want := range []string{"db-1: the agent is installed and registered", "db-1: the agent was installed already and registered"} {
		out.Reset()
		if err := in.run(ctx); err != nil || !strings.HasPrefix(out.String(), want) {
			log, _ := os.ReadFile(filepath.Join(root, "agent.log"))
			t.Fatalf("installation %d: %q, %v\n%s", i+1, out.String(), err, log)
		}
	}
	current := func() string {
		s, err := os.Readlink(filepath.Join(root, installLib, "agent"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := current()
	// One that was cut on its way never gets its name.
	in.binary = filepath.Join(root, "sloth-2")
	if err := os.WriteFile(in.binary, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	lib := root + installLib
	if _, err := in.sh(ctx, nil, placeScript, lib, in.binary, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "the checksum is ") {
		t.Errorf("a program with another checksum: %v", err)
	}
	if current() != good {
		t.Error("it replaced the good one")
	}
	// One that does not run is taken back.
	in.wait = time.Second
	err := in.run(ctx)
	if err == nil || !strings.Contains(err.Error(), "the agent did not register within 1s") || !strings.Contains(err.Error(), "the old agent was put back") {
		t.Errorf("got %v", err)
	}
	if current() != good {
		t.Error("the old one is not back")
	}
	in.binary, in.wait = program, 10*time.Second
	if err := in.registered(ctx, time.Now(), false); err != nil {
		t.Errorf("the old one does not run: %v", err)
	}
}
