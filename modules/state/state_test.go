package statemod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/values"
)

// controller serves State alone; anything else it is asked panics.
type controller struct {
	modules.Services
	values *values.Values
	store  state.Store // the one below values, where a test needs it
	// before may refuse an operation.
	before func(op string) error
}

func (c *controller) State(ctx context.Context, op string, args []any) ([]any, error) {
	if c.before != nil {
		if err := c.before(op); err != nil {
			return nil, err
		}
	}
	return c.values.Do(ctx, op, args)
}

func world(t *testing.T) (*engine.VM, *controller, context.Context) {
	vm := engine.New(engine.Options{})
	bind.Install(vm, []modules.Module{Module()})
	c := &controller{values: values.New(mem.New(), "test")}
	t.Cleanup(func() {
		vm.Close()
		if err := c.values.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return vm, c, bind.WithEnv(t.Context(), &bind.Env{Call: modules.Call{Services: c}})
}

func run(t *testing.T, ctx context.Context, vm *engine.VM, src string) []lua.LValue {
	t.Helper()
	chunk, err := vm.Load("test.sloth", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	out, err := vm.Run(ctx, chunk)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLanguage says every form of the module, in Lua.
func TestLanguage(t *testing.T) {
	vm, _, ctx := world(t)
	run(t, ctx, vm, `
local function same(a, b)
	if type(a) ~= "table" or type(b) ~= "table" then return a == b end
	for k, v in pairs(a) do if not same(v, b[k]) then return false end end
	for k in pairs(b) do if a[k] == nil then return false end end
	return true
end
local function is(got, want) if not same(got, want) then error("got " .. tostring(got) .. ", want " .. tostring(want), 2) end end

is(state.get("k"), nil)
is(state.get("k", "or"), "or")
is(state.get("k", { 1, 2 }), { 1, 2 })
is(state.set("k", { a = 1, b = { true, "x" } }, 60), true)
is(state.get("k"), { a = 1, b = { true, "x" } })
is(state.get("k", 7).a, 1)
state.set("mixed", { 1, 2, n = "x" })
is(state.get("mixed"), { 1, 2, n = "x" })
state.set("list", { "a", "b" })
is(#state.get("list"), 2)
state.set("f", false)
is(state.get("f", true), false)
is(state.exists("f"), true)
is(state.get_ttl("f"), -1)
is(state.set_ttl("f", "1m"), true)
assert(state.get_ttl("f") > 59)
is(state.get_ttl("none"), nil)
state.set("f", nil)
is(state.exists("f"), false)
is(state.keys("*"), { "k", "list", "mixed" })
is(state.keys(), { "k", "list", "mixed" })
is(state.clear("m*"), 1)
is(state.delete("k"), true)
is(state.stats().keys, 1)
is(state.increment("n"), 1)
is(state.increment("n", 4), 5)
is(state.decrement("n", 0.5), 4.5)
is(state.append("t", "ab"), 2)
is(state.list_push("q", { host = "a" }), 1)
is(state.list_push("q", "b"), 2)
is(state.list_length("q"), 2)
is(state.list_pop("q"), "b")
is(state.list_pop("q"), { host = "a" })
is(state.list_pop("q"), nil)
is(state.compare_swap("s", nil, "deploying"), true)
is(state.compare_swap("s", "wrong", "deployed"), false)
is(state.compare_swap("s", "deploying", { done = true }), true)
is(state.compare_swap("s", { done = true }, nil), true)
is(state.exists("s"), false)
is(state:increment("n"), 5.5)
is(state.set({ key = "named", value = 1, ttl = 5 }), true)
is(state.get("named"), 1)
is(state.try_lock("l"), true)
is(state.try_lock("l"), false)
is(state.unlock("l"), true)
is(state.lock("l", 1), true)
local a, b, c = state.with_lock("other", function() return 1, nil, { x = true } end, 30)
is(a, 1) is(b, nil) is(c, { x = true })
is(state.try_lock("other"), true)
local ok, err = pcall(state.with_lock, "l", function() end, 0)
is(ok, false)
assert(tostring(err):find('the lock "l" is held'), tostring(err))
ok, err = pcall(state.with_lock, "x", function() error("inside") end)
assert(not ok and tostring(err):find("inside"), tostring(err))
is(state.try_lock("x"), true)
`)
}

// TestFragmentOfTheSpecification runs what people have, as they have it.
func TestFragmentOfTheSpecification(t *testing.T) {
	dir := os.Getenv("SLOTH_SPEC")
	if dir == "" {
		t.Skip("SLOTH_SPEC does not name the specification's folder")
	}
	src, err := os.ReadFile(filepath.Join(dir, "examples", "04-state-fragment.sloth"))
	if err != nil {
		t.Fatal(err)
	}
	vm, _, ctx := world(t)
	out := run(t, ctx, vm, `
state.set("status", "deploying")
function deploy_application() return "deployed" end
`+string(src)+`
return count, state.get("status"), state.get_ttl("deployment_count")`)
	if out[0] != lua.LNumber(2) || out[1] != lua.LString("deployed") || out[2].(lua.LNumber) < 3500 {
		t.Errorf("%v", out)
	}
}

func TestWithoutState(t *testing.T) {
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, []modules.Module{Module()})
	chunk, err := vm.Load("test.sloth", []byte(`state.get("k")`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = vm.Run(bind.WithEnv(t.Context(), &bind.Env{}), chunk)
	if err == nil || !strings.Contains(err.Error(), "state.get: there is no state here") {
		t.Errorf("%v", err)
	}
}

// until is what a callback in Go does: it waits for its end.
func until(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second):
		return errors.New("nobody ended it")
	}
}

func TestALostLockEndsItsFunction(t *testing.T) {
	for name, before := range map[string]func(c *controller) func(op string) error{
		"somebody took it": func(c *controller) func(string) error {
			return func(op string) error {
				if op != "renew" {
					return nil
				}
				// As when the lease ended unnoticed.
				return c.store.Delete(context.Background(), "lock//l", state.Any)
			}
		},
		"nobody answers": func(*controller) func(string) error {
			return func(op string) error {
				if op == "renew" {
					return errors.New("the link is cut")
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := mem.New()
			c := &controller{values: values.New(store, ""), store: store}
			c.before = before(c)
			f := &withLock{Name: "l", lease: 300 * time.Millisecond, Timeout: time.Second}
			start := time.Now()
			f.Fn = func(ctx context.Context, _ ...any) ([]any, error) { return nil, until(ctx) }
			_, err := f.Run(t.Context(), modules.Call{Services: c})
			if err == nil || err.Error() != `the lock "l" was lost: it was not renewed in time, and somebody else may have it now` {
				t.Errorf("%v", err)
			}
			if held := time.Since(start); held > f.lease {
				t.Errorf("ended after %s, the lease was %s", held, f.lease)
			}
		})
	}
}

func TestALockIsRenewedWhileItsFunctionRuns(t *testing.T) {
	v := values.New(mem.New(), "")
	var mu sync.Mutex
	renewals := 0
	c := &controller{values: v, before: func(op string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "renew" {
			renewals++
		}
		return nil
	}}
	f := &withLock{Name: "l", lease: 150 * time.Millisecond, Timeout: time.Second}
	f.Fn = func(ctx context.Context, _ ...any) ([]any, error) {
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			n := renewals
			mu.Unlock()
			if n >= 6 { // twice the lease
				got, err := v.Do(ctx, "try_lock", []any{"l", "another", 5.0})
				if err == nil && got[0] != false {
					err = errors.New("another has the lock too")
				}
				return []any{"done"}, err
			}
		}
		return nil, errors.New("not renewed")
	}
	out, err := f.Run(t.Context(), modules.Call{Services: c})
	if err != nil || len(out) != 1 || out[0] != "done" {
		t.Errorf("%v, %v", out, err)
	}
	if got, err := v.Do(t.Context(), "try_lock", []any{"l", "another", 5.0}); err != nil || got[0] != true {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}

func TestDocumentation(t *testing.T) {
	for _, f := range Module().Funcs {
		for _, a := range spec.Of(f).Args {
			if a.Doc == "" || a.Pos == 0 {
				t.Errorf("state.%s: argument %s has no documentation or no position", f.Name, a.Name)
			}
		}
		if f.Summary == "" || f.Example == "" || f.Returns == "" {
			t.Errorf("state.%s is not described", f.Name)
		}
		vm, _, ctx := world(t)
		run(t, ctx, vm, "log = { info = function() end }\n"+f.Example)
	}
}
