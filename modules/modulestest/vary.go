package modulestest

import (
	"context"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

// group is one call and the changes to its arguments that must matter.
type group struct {
	base    map[string]any
	changes []map[string]any
}

// groups reads vary.lua.
func groups(t *testing.T, a archive) []group {
	t.Helper()
	vm := engine.New(engine.Options{})
	defer vm.Close()
	chunk, err := vm.Load(a.name, []byte(a.sections["vary.lua"]))
	if err != nil {
		t.Fatal(err)
	}
	rets, err := vm.Run(context.Background(), chunk)
	if err != nil || len(rets) != 1 {
		t.Fatalf("%s: %v", a.name, err)
	}
	var data any
	vm.Do(func(*lua.LState) { data, err = bind.ToGo(rets[0]) })
	if err != nil {
		t.Fatal(err)
	}
	list, ok := data.([]any)
	if !ok {
		t.Fatalf("%s: vary.lua returns no list", a.name)
	}
	var out []group
	for _, item := range list {
		tables, ok := item.([]any)
		if !ok || len(tables) < 2 {
			t.Fatalf("%s: %v is not {base, change, …}", a.name, item)
		}
		var g group
		for i, entry := range tables {
			args, ok := entry.(map[string]any)
			if !ok {
				t.Fatalf("%s: %v is no table of arguments", a.name, entry)
			}
			if i == 0 {
				g.base = args
			} else {
				g.changes = append(g.changes, args)
			}
		}
		out = append(out, g)
	}
	return out
}

// outcomeOf is all that comes of one call: what the plan says, how it ends and
// what is there afterwards.
func outcomeOf(t *testing.T, mods []modules.Module, a archive, programs *Programs, full string, args map[string]any) string {
	t.Helper()
	root := a.build(t)
	r := a.run(mods, programs, root)
	planned := r.byName(full, args)
	r.plan = false
	done := r.byName(full, args)
	return r.diff(planned) + planned.err + "\n" + r.diff(done) + done.err + "\n" + look(t, root).text() + r.clean(r.controller.kept())
}

// byName makes one call without Lua.
func (r run) byName(full string, args map[string]any) outcome {
	var out outcome
	env := &bind.Env{
		Call:   modules.Call{Machine: r.machine, Services: r.controller, Workdir: r.root},
		Called: func(rec bind.Record) { out.records = append(out.records, rec) },
	}
	if r.plan {
		o := machine.NewOverlay(r.machine)
		env.Check, env.Viewer, env.Overlay = true, o, o
	}
	if _, err := bind.CallByName(bind.WithEnv(context.Background(), env), r.mods, full, args); err != nil {
		out.err = r.clean(err.Error())
	}
	return out
}
