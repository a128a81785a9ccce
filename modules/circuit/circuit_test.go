package circuit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/values"
)

// controller serves State alone; anything else it is asked panics.
type controller struct {
	modules.Services
	values *values.Values
	asked  int
}

func (c *controller) State(ctx context.Context, op string, args []any) ([]any, error) {
	c.asked++
	return c.values.Do(ctx, op, args)
}

func newController(t *testing.T) *controller {
	c := &controller{values: values.New(mem.New(), "test")}
	t.Cleanup(func() {
		if err := c.values.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestBothStores runs one circuit through its life in memory and in the state.
func TestBothStores(t *testing.T) {
	for _, kind := range []string{"memory", "state"} {
		t.Run(kind, func(t *testing.T) {
			now := time.Now()
			b := NewBook(func() time.Time { return now })
			call := modules.CallOf(t.Context())
			rule := Rule{Failures: 2, Timeout: time.Minute}
			// pass lets the time of an open circuit go by.
			pass := func() { now = now.Add(rule.Timeout) }
			if kind == "state" {
				c := newController(t)
				call.Services = c
				pass = func() {
					if _, err := c.values.Do(t.Context(), "delete", []any{openOf + "api"}); err != nil {
						t.Fatal(err)
					}
				}
			}
			enter := func() func(bool) {
				t.Helper()
				leave, err := b.Enter(t.Context(), call, "api", rule)
				if err != nil {
					t.Fatal(err)
				}
				return leave
			}
			refused := func(want string) {
				t.Helper()
				if _, err := b.Enter(t.Context(), call, "api", rule); err == nil || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
			}
			is := func(state string, failures int) {
				t.Helper()
				got, err := b.describe(t.Context(), call, "api")
				if err != nil || got["state"] != state || got["failures"] != int64(failures) {
					t.Errorf("got %v, %v, want %s, %d", got, err, state, failures)
				}
			}
			is("closed", 0)
			enter()(false)
			is("closed", 1)
			enter()(true)
			is("closed", 0)
			enter()(false)
			enter()(false)
			is("open", 2)
			refused(`circuit "api" is open after 2 failures in a row; it tries again in 1m0s`)
			pass()
			is("half_open", 2)
			trial := enter()
			refused(`circuit "api" is open after 2 failures in a row; it tries again in 0s`)
			trial(false)
			is("open", 3)
			pass()
			enter()(true)
			is("closed", 0)
			if names, err := b.store(call).names(t.Context()); err != nil || len(names) != 0 {
				t.Errorf("names %v, %v", names, err)
			}
		})
	}
}

func TestAHealthyCircuitCostsOneQuestion(t *testing.T) {
	c := newController(t)
	call := modules.Call{Services: c}
	leave, err := NewBook(time.Now).Enter(t.Context(), call, "api", DefaultRule())
	if err != nil {
		t.Fatal(err)
	}
	leave(true)
	if c.asked != 1 {
		t.Errorf("asked %d times", c.asked)
	}
}

func TestPlanIsLetThrough(t *testing.T) {
	b := NewBook(time.Now)
	rule := Rule{Failures: 1, Timeout: time.Minute}
	leave, err := b.Enter(t.Context(), modules.Call{}, "api", rule)
	if err != nil {
		t.Fatal(err)
	}
	leave(false)
	if leave, err = b.Enter(t.Context(), modules.Call{Plan: true}, "api", rule); err != nil {
		t.Fatalf("a plan: %v", err)
	}
	leave(true)
	if _, err = b.Enter(t.Context(), modules.Call{}, "api", rule); !errors.As(err, new(*Open)) {
		t.Errorf("after a plan: %v", err)
	}
}

func run(t *testing.T, c *controller, src string) ([]lua.LValue, error) {
	t.Helper()
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, []modules.Module{Module()})
	chunk, err := vm.Load("site.sloth", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return vm.Run(bind.WithEnv(ctx, &bind.Env{Call: modules.Call{Services: c}}), chunk)
}

func TestFromLua(t *testing.T) {
	c := newController(t)
	rets, err := run(t, c, `
local calls = 0
local function bad() calls = calls + 1; return false, "no" end
local o = { failures = 2, timeout = 60 }
local a, b = circuit.protect("api", bad, o)
pcall(circuit.protect, "api", function() error("broken") end, o)
local ok, message = pcall(circuit.protect, "api", bad, o)
local fallback = circuit.protect("api", bad, { failures = 2, fallback = function(why) return "cached" end })
local s = circuit.status("api")
local names = #circuit.list()
return a, b, ok, message, fallback, s.state, s.failures, names, circuit.reset(), circuit.status("api").state, calls, circuit.protect("x", function() return 1, 2 end)`)
	want := `[false no false circuit.protect: circuit "api" is open after 2 failures in a row; it tries again in 1m0s cached open 2 1 1 closed 1 1 2]`
	if err != nil || fmt.Sprint(rets) != want {
		t.Errorf("got %v, %v\nwant %s", rets, err, want)
	}
	// Another world of the same stack sees it.
	if _, err := run(t, c, `circuit.protect("db", function() return { success = false } end, { failures = 1 })`); err != nil {
		t.Fatal(err)
	}
	if rets, err = run(t, c, `return circuit.status("db").state`); err != nil || rets[0].String() != "open" {
		t.Errorf("got %v, %v", rets, err)
	}
	for src, want := range map[string]string{
		`circuit.protect("api")`:                               "circuit.protect: fn is missing: what to call",
		`circuit.protect("", print)`:                           "circuit.protect: name: it must be text of one line, up to 200 bytes",
		`circuit.protect("api", print, { failures = 0 })`:      "circuit.protect: failures = 0: it must be 1 or more",
		`circuit.protect("api", print, { timeout = 0 })`:       "circuit.protect: timeout: it must be above 0",
		`circuit.protect("api", print, { failure = 1 })`:       `circuit.protect: unknown argument "failure"; did you mean "failures"?`,
		`circuit.protect("api", function() error("mine") end)`: "circuit.protect: site.sloth:1: mine",
	} {
		var e *engine.Error
		if _, err := run(t, c, src); !errors.As(err, &e) || e.Message != want {
			t.Errorf("%s: got %v, want %s", src, err, want)
		}
	}
}
