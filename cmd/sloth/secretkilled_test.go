package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A controller that is killed leaves what it had in hand: its record, and the
// journals of the hosts. No secret is in them, and the run goes on.
func TestFault43AKilledRunLeavesNoSecret(t *testing.T) {
	r := newLeakRig(t)
	r.put("site.sloth", `
local a = task("a"):command(function()
    local s = secret("db")
    local text = exec.run("cat; echo", { stdin = s }).stdout
    return true, "it is " .. text, { text = text, raw = s }
end):build()
local b = task("b"):depends_on("a"):command(function(_, _, deps)
    exec.run("touch $HOME/begun; until test -e $HOME/go; do sleep 0.02; done")
    print(deps.a.text)
end):build()
workflow.define("w", { tasks = { a, b }, config = { hosts = "web" } })`, 0o600)
	r.put("hosts.yaml", fmt.Sprintf("web:\n  hosts:\n    web-01: {ansible_host: %s, ansible_port: %d, ansible_user: %s}\n", r.server.Host, r.server.Port, r.server.User), 0o600)
	r.put("ssh.conf", fmt.Sprintf("IdentityFile %s\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile %s\nGlobalKnownHostsFile /dev/null\n", r.server.KeyFile, r.server.KnownHosts), 0o600)
	if code, said := r.run(planted["store"]+"\n", "secret", "set", "db"); code != exitOK {
		t.Fatalf("secret set: %d %s", code, said)
	}
	cmd := exec.Command(r.sloth, "apply", "site.sloth", "-i", "hosts.yaml", "-F", "ssh.conf")
	cmd.Dir, cmd.Env = r.dir, r.env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(20 * time.Second); ; {
		if _, err := os.Stat(filepath.Join(r.server.Home, "begun")); err == nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the run does not begin")
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if found, err := filepath.Glob(filepath.Join(r.server.Home, ".local/state/sloth/*/*/journal")); err != nil || len(found) == 0 {
		more, _ := filepath.Glob(filepath.Join(r.server.Home, ".local/state/sloth/*/*"))
		t.Errorf("no journal is there: %v, %v", more, err)
	}
	r.searchFiles(r.dir, r.server.Dir)
	if err := os.WriteFile(filepath.Join(r.server.Home, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, said := r.run("", "runs", "resume", "last")
	if code != exitOK {
		t.Errorf("exit code %d\n%s", code, said)
	}
	r.none("runs resume", []byte(said))
	r.searchFiles(r.dir, r.server.Dir)
}
