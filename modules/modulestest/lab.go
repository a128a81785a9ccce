package modulestest

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

// labTime is what a script may take on a host of a lab.
const labTime = 3 * time.Minute

// Lab runs Lua for real, on a host that systemd runs and that can be thrown
// away; tests that call it have the build tag lab. In the script once(r) and
// rest(r) assert that a call changed something, or that it did not; changes(f,
// …) that f changes something, and then rests; equal(a, b) what it says; and
// raises(part, f, …) that it fails with these words.
func Lab(t *testing.T, mods []modules.Module, script string) {
	t.Helper()
	if st, err := os.Stat("/run/systemd/system"); os.Geteuid() != 0 || err != nil || !st.IsDir() {
		t.Fatal("the tag lab is for root on a host that systemd runs")
	}
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, mods)
	chunk, err := vm.Load("lab.sloth", []byte(`
local function must(is, why) if not is then error(why, 3) end end
function once(r) must(r.changed, "nothing changed: " .. r.message) end
function rest(r) must(not r.changed, "changed: " .. r.message) end
function changes(f, ...)
    must(f(...).changed, "nothing changed")
    local again = f(...)
    must(not again.changed, "changed again: " .. again.message)
end
function raises(part, f, ...)
    local ok, why = pcall(f, ...)
    must(not ok and string.find(tostring(why), part, 1, true), tostring(why) .. " does not say " .. part)
end
function equal(a, b) must(a == b, tostring(a) .. " is not " .. tostring(b)) end
`+script))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), labTime)
	defer cancel()
	env := &bind.Env{Call: modules.Call{Machine: machine.New(), Host: "local"}}
	if _, err := vm.Run(bind.WithEnv(ctx, env), chunk); err != nil {
		t.Error(err)
	}
}
