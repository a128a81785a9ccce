//go:build lab

package standin

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

// Lab is Real on a host that can be thrown away.
func Lab(t *testing.T, source string, mods ...modules.Module) {
	t.Helper()
	if st, err := os.Stat("/run/systemd/system"); os.Geteuid() != 0 || err != nil || !st.IsDir() {
		t.Fatal("the tag lab is for root on a host that systemd runs")
	}
	Real(t, source, mods...)
}

// Real runs Lua with mods on the host itself. once(r) and rest(r) assert that a
// call changed something, or that it did not; both(f, args) that it did once;
// raises(part, f, …) how it fails.
func Real(t *testing.T, source string, mods ...modules.Module) {
	t.Helper()
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, mods)
	chunk, err := vm.Load("lab.sloth", []byte(`
function once(r) assert(r.changed, "nothing changed: " .. r.message) end
function rest(r) assert(not r.changed, "changed: " .. r.message) end
function both(f, ...) once(f(...)) rest(f(...)) end
function raises(part, f, ...)
    local ok, why = pcall(f, ...)
    assert(not ok and string.find(tostring(why), part, 1, true), tostring(why) .. " does not say " .. part)
end
`+source))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	env := &bind.Env{Call: modules.Call{Machine: machine.New(), Host: "local"}}
	if _, err := vm.Run(bind.WithEnv(ctx, env), chunk); err != nil {
		t.Error(err)
	}
}

// Shell runs a command line of the host, whose failure fails the test.
func Shell(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, err := machine.New().Run(ctx, modules.Cmd{Argv: []string{"/bin/sh", "-c", line}})
	if err != nil || a.ExitCode != 0 {
		t.Fatalf("%s: %v, %d: %s%s", line, err, a.ExitCode, a.Stdout, a.Stderr)
	}
	return string(a.Stdout)
}
