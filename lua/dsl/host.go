package dsl

import (
	"context"
	"errors"
	"fmt"
	"maps"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
)

// HostOptions are what a shipped closure sees around it.
type HostOptions struct {
	Name    string // inventory name; "local" on the controller
	Address string
	Groups  []string
	Vars    map[string]any // merged inventory variables
	Values  any
	Params  map[string]any
	Modules []modules.Module
}

// InstallHost puts the language into the VM of a host: what a shipped closure
// may use there. Call it before vm.Pristine.
func InstallHost(vm *engine.VM, o HostOptions) {
	install(vm, setup{host: o, modules: o.Modules, include: includeOnHost})
}

// includeOnHost asks the controller for the source.
func includeOnHost(w *world, L *lua.LState) int {
	name := L.CheckString(1)
	s := services(L, "include")
	var src []byte
	var path string
	err := engine.Block(L, func(ctx context.Context) (err error) {
		src, path, err = s.Require(ctx, name)
		return err
	})
	if err != nil {
		engine.Raise(L, fmt.Errorf("include(%q): %w", name, err))
	}
	chunk, err := w.vm.Load(path, src)
	if err != nil {
		raiseLoad(L, err)
	}
	var args []lua.LValue
	for i := 2; i <= L.GetTop(); i++ {
		args = append(args, L.Get(i))
	}
	rets, err := engine.Try(L, w.vm.Function(chunk), args...)
	if err != nil {
		raiseLoad(L, err)
	}
	for _, v := range rets {
		L.Push(v)
	}
	return len(rets)
}

// hostGlobals registers host, vars, facts, inventory, params and values.
func (w *world) hostGlobals() {
	o := w.setup.host
	values := func(L *lua.LState) lua.LValue {
		v := bind.ToLua(L, o.Values)
		if _, ok := v.(*lua.LTable); !ok {
			v = L.NewTable()
		}
		return v
	}
	w.vm.Lazy("values", values)
	w.vm.Alias("Values", "values")
	w.vm.Lazy("params", func(L *lua.LState) lua.LValue { return dataTable(L, o.Params) })
	w.vm.Lazy("host", w.openHost)
	w.vm.Lazy("vars", w.openVars)
	w.vm.Lazy("inventory", w.openInventory)
	w.vm.Lazy("facts", func(L *lua.LState) lua.LValue {
		var all map[string]any
		// A dead mount takes its collector's deadline; others run meanwhile.
		_ = engine.Block(L, func(ctx context.Context) error {
			all = facts.Collect(ctx)
			return nil
		})
		return dataTable(L, all)
	})
}

func dataTable(L *lua.LState, m map[string]any) *lua.LTable {
	t, _ := bind.ToLua(L, m).(*lua.LTable)
	if t == nil {
		t = L.NewTable()
	}
	return t
}

func (w *world) openHost(L *lua.LState) lua.LValue {
	o := w.setup.host
	t := L.CreateTable(0, 4)
	t.RawSetString("name", lua.LString(o.Name))
	t.RawSetString("address", lua.LString(o.Address))
	groups := L.CreateTable(len(o.Groups), 0)
	for i, g := range o.Groups {
		groups.RawSetInt(i+1, lua.LString(g))
	}
	t.RawSetString("groups", groups)
	t.RawSetString("set", L.NewFunction(func(L *lua.LState) int {
		if L.Get(1) == t { // host:set(…)
			L.Remove(1)
		}
		return w.hostSet(L)
	}))
	return t
}

// hostSet is host.set(key, value): kept for the run, and seen in vars at once.
func (w *world) hostSet(L *lua.LState) int {
	key, err := readName(L.Get(1), 0)
	if err != nil {
		engine.Raise(L, fmt.Errorf("host.set %w", err))
	}
	value, err := bind.ToGo(L.Get(2))
	if err != nil {
		engine.Raise(L, fmt.Errorf("host.set: %s: %w", key, err))
	}
	if vars, ok := w.vm.Global(L, "vars").(*lua.LTable); ok {
		vars.RawSetString(key, L.Get(2))
	}
	if checking(engine.Context(L)) {
		return 0
	}
	s := services(L, "host.set")
	if err := engine.Block(L, func(ctx context.Context) error { return s.SetHostVar(ctx, key, value) }); err != nil {
		engine.Raise(L, err)
	}
	return 0
}

// openVars makes vars: the host's variables, under those of the running task.
func (w *world) openVars(L *lua.LState) lua.LValue {
	t := dataTable(L, maps.Clone(w.setup.host.Vars))
	mt := L.CreateTable(0, 1)
	mt.RawSetString("__index", L.NewFunction(func(L *lua.LState) int {
		r := runOf(engine.Context(L))
		if r == nil || r.Vars == nil {
			return 0
		}
		L.Push(r.Vars.RawGet(L.Get(2)))
		return 1
	}))
	t.Metatable = mt
	return t
}

// Begin prepares the VM of one attempt on a host, when the snapshot is decoded:
// the task's variables go over those of the host, and the globals that came with
// the snapshot count as known to everybody, so that a nested task does not send
// them back. On a controller, whose VM all tasks share, it does nothing: vars
// looks at the running task there.
func Begin(vm *engine.VM, vars *lua.LTable) {
	w := worldOf(vm)
	if w == nil || w.setup.workflow {
		return
	}
	vm.Do(func(L *lua.LState) {
		if t, ok := vm.Global(L, "vars").(*lua.LTable); ok && vars != nil {
			vars.ForEach(t.RawSet)
		}
	})
	vm.Pristine()
}

// openInventory makes inventory.hosts, .vars and .facts, which the controller
// answers.
func (w *world) openInventory(L *lua.LState) lua.LValue {
	t := L.CreateTable(0, 3)
	for _, what := range []string{"hosts", "vars", "facts"} {
		t.RawSetString(what, L.NewFunction(func(L *lua.LState) int {
			if L.Get(1) == t { // inventory:hosts(…)
				L.Remove(1)
			}
			if what == "hosts" && L.Get(1) == lua.LNil {
				L.SetTop(0)
				L.Push(lua.LString("all"))
			}
			arg, err := readText(L.Get(1), 0)
			if err != nil {
				engine.Raise(L, fmt.Errorf("inventory.%s %w", what, err))
			}
			s := services(L, "inventory."+what)
			var answer any
			err = engine.Block(L, func(ctx context.Context) (err error) {
				answer, err = s.Inventory(ctx, what, arg)
				return err
			})
			if err != nil {
				engine.Raise(L, err)
			}
			if answer == nil {
				engine.Raise(L, errors.New("inventory."+what+": no answer"))
			}
			L.Push(bind.ToLua(L, answer))
			return 1
		}))
	}
	return t
}

func newSecret(value string) modules.Secret { return modules.NewSecret(value) }
