package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The stack of a folder has one run at a time, and the next one waits for it,
// unless it is part of it. A selected stack takes its place.
func TestTheStackOfAFolderHasOneRunAtATime(t *testing.T) {
	c := newController(t, 0, `
local a = task("a"):command(function()
    exec.run("touch begun; until test -e go; do sleep 0.02; done")
    local inner = exec.run("sloth run -f inner.sloth", { env = { PATH = params.bin .. ":/usr/bin:/bin" } })
    assert(inner.success, inner.stdout .. inner.stderr)
end):build()
workflow.define("w", { tasks = { a } })`)
	inner := `local b = task("b"):command(function() state.increment("n") end):build()
workflow.define("w", { tasks = { b } })`
	if err := os.WriteFile(filepath.Join(c.dir, "inner.sloth"), []byte(inner), 0o600); err != nil {
		t.Fatal(err)
	}
	first, out1 := c.start("run", "-f", "site.sloth", "--param", "bin="+c.dir)
	c.await("the first to begin", func() bool { _, err := os.Stat(filepath.Join(c.dir, "begun")); return err == nil })
	code, out := c.sloth("run", "-f", "inner.sloth", "--wait-lock", "1ms")
	if code != exitLocked || !strings.Contains(out, "the stack of this folder is in use by run site.sloth, pid ") || !strings.Contains(out, ", since ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	// A plan waits for nobody, and one that was selected is another stack.
	for _, args := range [][]string{{"run", "-f", "inner.sloth", "--check"}, {"stack", "new", "mine", "--select"}, {"run", "-f", "inner.sloth"}, {"stack", "select", "--none"}} {
		if code, out := c.sloth(args...); code != exitOK || strings.Contains(out, "waiting") {
			t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
	}
	said := filepath.Join(c.dir, "said")
	second := exec.Command("/bin/sh", "-c", "exec ./sloth run -f inner.sloth 2>said")
	second.Dir, second.Env = c.dir, c.env
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	c.await("the second to wait", func() bool {
		text, _ := os.ReadFile(said)
		return strings.Contains(string(text), "in use by run site.sloth, pid ")
	})
	if err := os.WriteFile(filepath.Join(c.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := c.ended(first, 20*time.Second); code != 0 {
		t.Errorf("the first: exit code %d\n%s", code, out1)
	}
	if code := c.ended(second, 20*time.Second); code != 0 {
		t.Errorf("the second: exit code %d", code)
	}
	if _, out := c.sloth("state", "get", "n"); strings.TrimSpace(out) != "2" {
		t.Errorf("n is %s", out)
	}
}
