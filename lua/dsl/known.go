package dsl

import (
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/modules"
)

// known is what a script may rely on.
type known struct {
	globals map[string]bool
	libs    map[string]*library
}

// library is one table of functions.
type library struct {
	name      string
	functions map[string]*modules.Func // nil: the arguments are not known
	module    bool                     // calls of it are calls of a module
	call      string                   // the function that calling the table means
}

func (l *library) names() []string {
	out := make([]string, 0, len(l.functions))
	for name := range l.functions {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// standard are the tables of the VM whose functions are known once installed.
// Calls of those that are true act on something outside of the script.
var standard = map[string]bool{
	"string": false, "table": false, "math": false, "coroutine": false,
	"os": true, "io": true, "goroutine": true, "async": true,
}

// knowledge collects what the VM and the modules have. L's thread holds the
// lock.
func (w *world) knowledge(L *lua.LState) *known {
	k := &known{globals: map[string]bool{}, libs: map[string]*library{}}
	for _, name := range w.vm.Names() {
		k.globals[name] = true
	}
	for name, module := range standard {
		if !k.globals[name] {
			continue
		}
		t, ok := w.vm.Global(L, name).(*lua.LTable)
		if !ok {
			continue
		}
		lib := &library{name: name, functions: map[string]*modules.Func{}, module: module}
		t.ForEach(func(key, _ lua.LValue) {
			if s, ok := key.(lua.LString); ok && !strings.HasPrefix(string(s), "__") {
				lib.functions[string(s)] = nil
			}
		})
		k.libs[name] = lib
	}
	for _, m := range w.setup.modules {
		lib := libraryOf(m)
		for _, name := range append([]string{m.Name}, m.Aliases...) {
			k.libs[name] = lib
			k.globals[name] = true
		}
	}
	return k
}

func libraryOf(m modules.Module) *library {
	lib := &library{name: m.Name, functions: map[string]*modules.Func{}, module: true, call: m.Call}
	for _, f := range m.Funcs {
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			lib.functions[name] = &f
		}
	}
	return lib
}
