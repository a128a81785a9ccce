package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// All that is remembered is this user's alone, whatever the umask; what others
// could get at is refused, with what to type.
func TestFault46NobodyElseGetsAtWhatIsRemembered(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	c := newController(t, 1, `
local a = task("a"):workdir("w"):artifacts({ "out" }):command(function()
    state.set("k", 1)
    return exec.run("echo x > out").success
end):build()
workflow.define("w", { tasks = { a }, config = { hosts = "all" } })`)
	if code, out := c.sloth(c.apply("--stack", "shop")...); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	if code, out := c.sloth(c.apply()...); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	if code, out := c.sloth("stack", "select", "shop"); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	home := filepath.Join(c.dir, "state", "sloth")
	seen := map[string]bool{}
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		rest, _ := filepath.Rel(home, path)
		seen[strings.SplitN(rest, "/", 2)[0]] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"db", "runs", "artifacts", "held", "selected", "audit.log"} {
		if !seen[what] {
			t.Errorf("there is no %s", what)
		}
	}
	if code, out := c.sloth("stack", "select", "--none"); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	for _, e := range []struct {
		what string
		args []string
	}{
		{"db", []string{"state", "list"}}, {"db", c.apply()}, {"runs", c.apply()}, {"artifacts", []string{"artifact", "list"}}, {"held", c.apply()}, {"audit.log", c.apply()},
	} {
		what, args := e.what, e.args
		path := filepath.Join(home, what)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, info.Mode().Perm()|0o044); err != nil {
			t.Fatal(err)
		}
		code, out := c.sloth(args...)
		if code == exitOK && what != "audit.log" || !strings.Contains(out, path+" is open to other users (mode 0") || !strings.Contains(out, "close it: chmod ") {
			t.Errorf("%s open, %v: exit code %d\n%s", what, args[:2], code, out)
		}
		if err := os.Chmod(path, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}
