package saga

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	lua "github.com/yuin/gopher-lua"
)

// remembering are services with nothing but state.
type remembering struct {
	modules.Services
	state map[string]any
	down  bool
	sets  int
}

func (r *remembering) State(_ context.Context, op string, args []any) ([]any, error) {
	if r.down {
		return nil, errors.New("the store is down")
	}
	key, _ := args[0].(string)
	switch op {
	case "get":
		return []any{r.state[key]}, nil
	case "set":
		r.sets++
		r.state[key] = args[1]
	case "delete":
		delete(r.state, key)
	default:
		return nil, fmt.Errorf("unexpected %s", op)
	}
	return []any{true}, nil
}

// told runs a saga and gives what its steps said.
func told(t *testing.T, s *remembering, plan bool, src string) string {
	t.Helper()
	vm := engine.New(engine.Options{})
	defer vm.Close()
	bind.Install(vm, []modules.Module{Module()})
	chunk, err := vm.Load("site.sloth", []byte(steps+src))
	if err != nil {
		t.Fatal(err)
	}
	env := &bind.Env{Check: plan, Call: modules.Call{Services: s, Host: "web", Plan: plan, Log: func(string, string, map[string]any) {}}}
	rets, err := vm.Run(bind.WithEnv(t.Context(), env), chunk)
	if err != nil {
		t.Fatal(err)
	}
	return rets[0].String()
}

// cutAt is the state that a run leaves that is killed while step runs.
func cutAt(t *testing.T, killed string) map[string]any {
	t.Helper()
	s := &remembering{state: map[string]any{}}
	var at map[string]any
	vm := engine.New(engine.Options{})
	defer vm.Close()
	mod := Module()
	bind.Install(vm, []modules.Module{mod})
	chunk, err := vm.Load("site.sloth", []byte(steps+`
local function watched(name)
  local st = step(name)
  local run = st.run
  st.run = function(r) if name == "`+killed+`" then snapshot() end return run(r) end
  return st
end
saga.run({ watched("a"), watched("b"), watched("c"), name = "move" })`))
	if err != nil {
		t.Fatal(err)
	}
	vm.Lazy("snapshot", snapshotter(func() { at = maps.Clone(s.state) }))
	env := &bind.Env{Call: modules.Call{Services: s, Host: "web", Log: func(string, string, map[string]any) {}}}
	if _, err := vm.Run(bind.WithEnv(t.Context(), env), chunk); err != nil {
		t.Fatal(err)
	}
	if len(s.state) > 0 {
		t.Fatalf("a saga that is over left %v", s.state)
	}
	if at == nil {
		t.Fatalf("there is no step %s", killed)
	}
	return at
}

// A saga whose run was killed in the middle is undone by the next, or gone on
// with.
func TestASagaThatWasCutOff(t *testing.T) {
	const again = `
local ok, e = pcall(saga.run, { step("a"), step("b"), step("c"), name = "move", cut = "CUT" })
return told() .. (ok and "" or " " .. tostring(e))`
	for _, c := range []struct{ killed, cut, want string }{
		{"a", "undo", "-a(nil, the run was cut off) +a +b +c"},
		{"b", "undo", "-b(nil, the run was cut off) -a(a done, the run was cut off) +a +b +c"},
		{"c", "undo", "-c(nil, the run was cut off) -b(b done, the run was cut off) -a(a done, the run was cut off) +a +b +c"},
		{"a", "resume", "+a +b +c"},
		{"b", "resume", "+b +c"},
		{"c", "resume", "+c"},
	} {
		t.Run(c.killed+" "+c.cut, func(t *testing.T) {
			s := &remembering{state: cutAt(t, c.killed)}
			if got := told(t, s, false, strings.ReplaceAll(again, "CUT", c.cut)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if len(s.state) > 0 {
				t.Errorf("left: %v", s.state)
			}
		})
	}
	t.Run("a plan", func(t *testing.T) {
		s := &remembering{state: cutAt(t, "b")}
		if got := told(t, s, true, strings.ReplaceAll(again, "CUT", "undo")); got != "+a +b +c" || len(s.state) != 1 {
			t.Errorf("%s %v", got, s.state)
		}
	})
	t.Run("a step is gone", func(t *testing.T) {
		s := &remembering{state: cutAt(t, "b")}
		got := told(t, s, false, `local ok, e = pcall(saga.run, { step("b"), name = "move" }) return told() .. tostring(e)`)
		if !strings.Contains(got, `cut off after the step "a" of this saga, and there is no such step any more; undo it by hand, then forget it: sloth state delete "saga/web/move"`) {
			t.Error(got)
		}
	})
	t.Run("its undo fails", func(t *testing.T) {
		s := &remembering{state: cutAt(t, "c")}
		got := told(t, s, false, `local ok, e = pcall(saga.run, { step("a", nil, "stuck"), step("b"), step("c"), name = "move" }) return tostring(e)`)
		if !strings.Contains(got, "could not be undone: undo of a: ") || !strings.Contains(got, "stuck") {
			t.Error(got)
		}
		// Only what is still done is undone by the next.
		if got := told(t, s, false, strings.ReplaceAll(again, "CUT", "undo")); got != "-a(a done, the run was cut off) +a +b +c" {
			t.Error(got)
		}
	})
}

// A step does not begin that cannot be written down, and one write a step is
// enough.
func TestTheJournalOfASaga(t *testing.T) {
	s := &remembering{state: map[string]any{}, down: true}
	got := told(t, s, false, `local ok, e = pcall(saga.run, { step("a"), name = "move" }) return told() .. tostring(e)`)
	if !strings.Contains(got, "the store is down") || strings.Contains(got, "+a") {
		t.Error(got)
	}
	s = &remembering{state: map[string]any{}}
	if got := told(t, s, false, `local r = saga.run({ step("a"), step("b"), step("c", "no space"), name = "move", raise = false }) return told()`); !strings.HasPrefix(got, "+a +b +c -b(b done, ") || strings.Count(got, "no space") != 2 {
		t.Error(got)
	}
	if s.sets != 3 || len(s.state) > 0 {
		t.Errorf("%d writes, left %v", s.sets, s.state)
	}
	// Without a name nothing is written.
	s = &remembering{state: map[string]any{}}
	told(t, s, false, `saga.run({ step("a") }) return told()`)
	if s.sets > 0 {
		t.Errorf("%d writes", s.sets)
	}
}

func snapshotter(f func()) func(*lua.LState) lua.LValue {
	return func(L *lua.LState) lua.LValue { return L.NewFunction(func(*lua.LState) int { f(); return 0 }) }
}
