package saga

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
)

func exec(ctx context.Context, t *testing.T, src string) ([]lua.LValue, error) {
	t.Helper()
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, []modules.Module{Module()})
	chunk, err := vm.Load("site.sloth", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return vm.Run(bind.WithEnv(ctx, &bind.Env{}), chunk)
}

// steps is Lua that keeps a journal of what was done and undone.
const steps = `
journal = {}
local function say(text) journal[#journal + 1] = text end
function step(name, fails, undo_fails)
  return {
    name = name,
    run = function(results)
      say("+" .. name)
      if fails then error(fails, 0) end
      return name .. " done"
    end,
    undo = function(value, why)
      say("-" .. name .. "(" .. tostring(value) .. ", " .. tostring(why) .. ")")
      if undo_fails then error(undo_fails, 0) end
    end,
  }
end
local function told() return table.concat(journal, " ") end
`

func TestSaga(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"all is well", `local r = saga.run({ step("a"), step("b") })
return told(), r.success, r.results.a, r.results[2], r.steps[2].status`, "[+a +b true a done b done done]"},
		{"the second fails", `local ok, e = pcall(saga.run, { step("a"), step("b", "no space"), step("c") })
return told(), ok, e`, "[+a +b -a(a done, site.sloth:9: no space) false saga.run: b failed, and what was done before it is undone: site.sloth:9: no space]"},
		{"undone in reverse, whatever fails", `local r = saga.run({ step("a"), step("b", nil, "stuck"), step("c"), step("d", "no") }, { raise = false })
return told(), r.success, r.failed, r.error, #r.undo_errors, r.steps[1].status, r.steps[2].status, r.steps[2].undo_error, r.steps[4].status`,
			"[+a +b +c +d -c(c done, site.sloth:9: no) -b(b done, site.sloth:9: no) -a(a done, site.sloth:9: no) false d d failed: site.sloth:9: no; and not everything before it could be undone: undo of b: site.sloth:14: stuck 1 undone undo failed undo of b: site.sloth:14: stuck failed]"},
		{"the first fails", `local r = saga.run({ step("a", "no") }, { raise = false })
return told(), r.success, #r.undo_errors, r.results.a`, "[+a false 0 nil]"},
		{"false and tables are failures", `local r = saga.run({ step("a"), { run = function() return false, "refused" end } }, { raise = false })
local s = saga.run({ step("b"), { run = function() return { success = false, error = "exit code 1" } end } }, { raise = false })
return r.error, s.error, r.failed`,
			"[step 2 failed, and what was done before it is undone: refused step 2 failed, and what was done before it is undone: exit code 1 step 2]"},
		{"other names", `local n = 0
saga({ { ["do"] = function() n = n + 1 end, compensate = function() n = n - 1 end }, { action = function() n = n + 1 end } })
return n`, "[2]"},
		{"results reach later steps", `local r = saga.run({ step("a"), { name = "b", run = function(results) return results.a .. results[1] end } })
return r.results.b`, "[a donea done]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			rets, err := exec(ctx, t, steps+c.src)
			if got := fmt.Sprint(rets); err != nil || got != c.want {
				t.Errorf("got %s, %v\nwant %s", got, err, c.want)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	for src, want := range map[string]string{
		`saga.run({})`:                                                           `saga.run: steps is missing: list of {name=, run=, undo=}; run gets the results so far, by name and position, undo gets what its own run returned and the message of the failure. Other names: action, execute and ["do"]; compensate and rollback`,
		`saga.run({ { undo = print } })`:                                         `saga.run: steps[1]: it has nothing to do: give run = function() … end (or ["do"]: do alone is a keyword)`,
		`saga.run({ { run = "x" } })`:                                            `saga.run: steps[1]: run must be a function`,
		`saga.run({ { run = print, name = 3 } })`:                                `saga.run: steps[1]: name must be text`,
		`saga.run({ { run = print, rnu = print } })`:                             `saga.run: steps[1]: unknown key "rnu"; known are name, run, do, action, execute, undo, compensate, rollback`,
		`saga.run({ { run = print, ["do"] = print } })`:                          ``,
		`saga.run({ { run = print, name = "a" }, { run = print, name = "a" } })`: `saga.run: steps[2]: there is another step "a"`,
		`saga.run({ { run = print } }, { undo_timeout = 0 })`:                    `saga.run: undo_timeout: it must be above 0`,
	} {
		var e *engine.Error
		_, err := exec(t.Context(), t, src)
		if !errors.As(err, &e) || want != "" && e.Message != want {
			t.Errorf("%s:\n got %v\nwant %s", src, err, want)
		}
	}
}

// TestUndoAfterTheTasksEnd cancels the task inside a step: what was done is
// undone all the same, and the task ends with its own cause.
func TestUndoAfterTheTasksEnd(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("its time was over")
	undone := false
	ok := modules.Callback(func(context.Context, ...any) ([]any, error) { return nil, nil })
	r := &run{Raise: false, UndoTimeout: time.Minute, steps: []step{
		{name: "a", run: ok, undo: func(inside context.Context, _ ...any) ([]any, error) {
			undone = inside.Err() == nil
			return nil, nil
		}},
		{name: "b", run: func(inside context.Context, _ ...any) ([]any, error) { cancel(gone); return nil, context.Cause(inside) }},
	}}
	_, err := r.Run(ctx, modules.CallOf(ctx))
	if !errors.Is(err, gone) || !undone {
		t.Errorf("undone %t, %v", undone, err)
	}

	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, []modules.Module{Module()})
	chunk, err := vm.Load("site.sloth", []byte(`saga.run({ { run = function() end, undo = function() undone = true end }, { run = function() while true do end end } })`))
	if err != nil {
		t.Fatal(err)
	}
	limited, stop := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, gone)
	defer stop()
	if _, err := vm.Run(bind.WithEnv(limited, &bind.Env{}), chunk); !errors.Is(err, gone) {
		t.Errorf("from Lua: %v", err)
	}
	vm.Do(func(L *lua.LState) {
		if L.GetGlobal("undone") != lua.LTrue {
			t.Error("from Lua: it was not undone")
		}
	})
}
