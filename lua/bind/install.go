package bind

import (
	"context"
	"errors"
	"fmt"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
)

// Install makes each module a global of vm, made at its first use. An alias is
// the very same table.
func Install(vm *engine.VM, mods []modules.Module) {
	for i := range mods {
		m := &mods[i]
		// The loaders run under the lock; the first one makes the table.
		var made *lua.LTable
		load := func(L *lua.LState) lua.LValue {
			if made == nil {
				made = table(L, m)
			}
			return made
		}
		vm.Lazy(m.Name, load)
		for _, alias := range m.Aliases {
			vm.Lazy(alias, load)
		}
	}
}

// table is a module as Lua sees it. Reading a function it has not raises an
// error that names the nearest one, instead of "attempt to call nil".
func table(L *lua.LState, m *modules.Module) *lua.LTable {
	t := L.CreateTable(0, len(m.Funcs))
	methods := L.CreateTable(0, 0)
	object := L.CreateTable(0, 2)
	object.RawSetString("__index", methods)
	object.RawSetString(engine.MethodsOnly, lua.LTrue)
	mt := L.CreateTable(0, 2)
	var known []string
	for _, f := range m.Funcs {
		fn := L.NewFunction(function(m.Name+"."+f.Name, f, t, object))
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			t.RawSetString(name, fn)
			methods.RawSetString(name, fn)
			known = append(known, name)
		}
		if f.Name == m.Call {
			mt.RawSetString("__call", fn) // the table comes first, as with a colon
		}
	}
	mt.RawSetString("__index", L.NewFunction(func(L *lua.LState) int {
		key := L.Get(2)
		if name, ok := key.(lua.LString); ok {
			engine.Raise(L, fmt.Errorf("%s has no function %q%s", m.Name, string(name), spec.Hint(string(name), known)))
		}
		return 0
	}))
	t.Metatable = mt
	return t
}

// function is one module function as a Go function of Lua. self is the table
// it is called on with a colon, object the metatable of results with methods.
func function(name string, f modules.Func, self, object *lua.LTable) lua.LGFunction {
	return func(L *lua.LState) int {
		c := call{name: name}
		c.file, c.line = engine.Where(L)
		args, err := arguments(L, self)
		if err != nil {
			engine.Raise(L, fmt.Errorf("%s: %w", name, err))
		}
		filled, err := parse(engine.Context(L), f, args)
		if err != nil {
			engine.Raise(L, fmt.Errorf("%s: %w", name, err))
		}
		var out []any
		if err := engine.Block(L, func(ctx context.Context) error {
			out, err = c.run(ctx, filled)
			return err
		}); err != nil {
			engine.Raise(L, err)
		}
		for _, v := range out {
			made := ToLua(L, v)
			if t, ok := made.(*lua.LTable); ok && f.Methods {
				t.Metatable = object
			}
			L.Push(made)
		}
		return len(out)
	}
}

// arguments turns the arguments of the running Go function into what
// spec.Parse takes.
func arguments(L *lua.LState, self *lua.LTable) ([]any, error) {
	first := 1
	if L.Get(1) == lua.LValue(self) {
		first = 2
	}
	c := converter{function: callback(engine.Of(L)), userdata: true}
	var args []any
	for i := first; i <= L.GetTop(); i++ {
		v, err := c.argument(L.Get(i))
		if err != nil {
			if L.GetTop() > first {
				return nil, fmt.Errorf("argument %d: %w", i-first+1, err)
			}
			return nil, err
		}
		args = append(args, v)
	}
	return args, nil
}

// argument is value with one more reading: a table with both a list and names,
// as in pkg.install({"nginx", state = "latest"}), is a spec.Mixed.
func (c *converter) argument(v lua.LValue) (any, error) {
	out, err := c.value(v, "", 0)
	m, ok := out.(map[any]any)
	if err != nil || !ok {
		return out, err
	}
	mixed := spec.Mixed{Named: map[string]any{}}
	n := length(v.(*lua.LTable))
	for k, item := range m {
		switch k := k.(type) {
		case string:
			mixed.Named[k] = item
		case int64:
			if k < 1 || k > int64(n) {
				return nil, errHole
			}
		default:
			return out, nil
		}
	}
	for i := range n {
		mixed.List = append(mixed.List, m[int64(i+1)])
	}
	return mixed, nil
}

// callback wraps Lua functions for modules that call them.
func callback(vm *engine.VM) func(*lua.LFunction) any {
	return func(fn *lua.LFunction) any {
		return modules.Callback(func(ctx context.Context, args ...any) ([]any, error) {
			in := make([]lua.LValue, len(args))
			var bad error
			vm.Do(func(L *lua.LState) {
				m := maker{L: L}
				for i, a := range args {
					in[i] = m.value(a)
				}
				bad = m.err
			})
			if bad != nil {
				return nil, bad
			}
			rets, err := vm.Call(ctx, fn, in...)
			if err != nil {
				return nil, err
			}
			out := make([]any, len(rets))
			c := converter{userdata: true}
			vm.Do(func(*lua.LState) {
				for i, r := range rets {
					var bad error
					if out[i], bad = c.value(r, "", 0); bad != nil {
						err = errors.Join(err, fmt.Errorf("return value %d: %w", i+1, bad))
					}
				}
			})
			return out, err
		})
	}
}
