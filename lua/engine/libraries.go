package engine

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// openLibraries registers the standard libraries; each is made at first use.
func (vm *VM) openLibraries() {
	for name, open := range map[string]func(L *lua.LState) lua.LValue{
		"string":    vm.openString,
		"table":     vm.openTable,
		"math":      func(L *lua.LState) lua.LValue { return vm.foreign(L, "math", lua.OpenMath) },
		"debug":     vm.openDebug,
		"os":        vm.openOS,
		"io":        vm.openIO,
		"coroutine": vm.openCoroutine,
		"package":   vm.openPackage,
	} {
		vm.Lazy(name, open)
	}
	// Methods of strings, s:upper(), find the library through this metatable.
	meta := vm.main.CreateTable(0, 1)
	meta.RawSetString("__index", vm.main.NewFunction(func(L *lua.LState) int {
		lib, _ := vm.lazyValue(L, "string")
		if t, ok := lib.(*lua.LTable); ok {
			meta.RawSetString("__index", t)
			L.Push(t.RawGet(L.Get(2)))
			return 1
		}
		return 0
	}))
	vm.main.SetMetatable(lua.LString(""), meta)
}

// foreign opens a library of gopher-lua without leaving it among the globals,
// where a script may have put something else under the name.
func (vm *VM) foreign(L *lua.LState, name string, open lua.LGFunction) *lua.LTable {
	hidden := L.CreateTable(0, 1)
	globals := L.G.Global
	L.G.Global = hidden
	before := vm.loaded.RawGetString(name)
	vm.loaded.RawSetString(name, lua.LNil)
	L.Push(L.NewFunction(open))
	L.Push(lua.LString(name))
	L.Call(1, 1)
	t, _ := L.Get(-1).(*lua.LTable)
	L.Pop(1)
	vm.loaded.RawSetString(name, before)
	L.G.Global = globals
	return t
}

func (vm *VM) openTable(L *lua.LState) lua.LValue {
	t := vm.foreign(L, "table", lua.OpenTable)
	t.RawSetString("concat", L.NewFunction(vm.tableConcat))
	t.RawSetString("insert", L.NewFunction(tableInsert))
	t.RawSetString("remove", L.NewFunction(tableRemove))
	t.RawSetString("unpack", vm.globals.RawGetString("unpack")) // as later Luas have it
	t.RawSetString("pack", L.NewFunction(func(L *lua.LState) int {
		packed := L.CreateTable(L.GetTop(), 1)
		for i, v := range arguments(L, 1) {
			packed.RawSetInt(i+1, v)
		}
		packed.RawSetString("n", lua.LNumber(L.GetTop()))
		L.Push(packed)
		return 1
	}))
	return t
}

// tableConcat builds its result outside Lua's stack and within MaxString.
func (vm *VM) tableConcat(L *lua.LState) int {
	t := L.CheckTable(1)
	sep := L.OptString(2, "")
	from, to := L.OptInt(3, 1), L.OptInt(4, t.Len())
	var b strings.Builder
	for i := from; i <= to; i++ {
		v := t.RawGetInt(i)
		if v == lua.LNil {
			v = t.RawGet(lua.LNumber(i))
		}
		if !lua.LVCanConvToString(v) {
			L.RaiseError("invalid value (a %s) at index %d in table for concat", v.Type().String(), i)
		}
		text := lua.LVAsString(v)
		vm.room(L, b.Len()+len(text)+len(sep))
		b.WriteString(text)
		if i < to {
			b.WriteString(sep)
		}
	}
	L.Push(lua.LString(b.String()))
	return 1
}

// room raises when a string of n bytes would be larger than MaxString.
func (vm *VM) room(L *lua.LState, n int) {
	if n > vm.opts.MaxString {
		L.RaiseError("resulting string too large: the limit is %d MB", vm.opts.MaxString>>20)
	}
}

func tableInsert(L *lua.LState) int {
	t := L.CheckTable(1)
	switch L.GetTop() {
	case 2:
		t.Append(L.Get(2))
	case 3:
		t.Insert(L.CheckInt(2), L.Get(3))
	default:
		L.RaiseError("wrong number of arguments to 'insert'")
	}
	return 0
}

// tableRemove differs from gopher-lua's at both ends: position 0 removes
// nothing from a filled table, and trailing nils do not count.
func tableRemove(L *lua.LState) int {
	t := L.CheckTable(1)
	n := t.Len()
	pos := L.OptInt(2, n)
	if pos < 1 || pos > n {
		return 0
	}
	for last := t.MaxN(); last > n; last-- {
		t.Remove(last)
	}
	L.Push(t.Remove(pos))
	return 1
}

func (vm *VM) openDebug(L *lua.LState) lua.LValue {
	t := vm.foreign(L, "debug", lua.OpenDebug)
	t.RawSetString("traceback", L.NewFunction(vm.debugTraceback))
	info, _ := t.RawGetString("getinfo").(*lua.LFunction)
	t.RawSetString("getinfo", L.NewFunction(func(L *lua.LState) int {
		n := info.GFunction(L)
		if d, ok := L.Get(-1).(*lua.LTable); ok {
			if src, ok := d.RawGetString("source").(lua.LString); ok {
				d.RawSetString("short_src", src)
				d.RawSetString("source", "@"+src)
			}
		}
		return n
	}))
	return t
}

// debugTraceback is debug.traceback([thread,] [message [, level]]). In a handler
// of xpcall it shows the stack of the error.
func (vm *VM) debugTraceback(L *lua.LState) int {
	th, level, arg := L, 1, 1
	if other, ok := L.Get(1).(*lua.LState); ok {
		th, level, arg = other, 0, 2
	} else if tc := threadContextOf(L); tc != nil && tc.s != nil && tc.s.trace != nil {
		th, level = tc.s.trace, 0
	}
	message := L.Get(arg)
	if message != lua.LNil && !lua.LVCanConvToString(message) {
		L.Push(message)
		return 1
	}
	if th == L {
		level = L.OptInt(arg+1, level)
	}
	text := traceback(th, level)
	if message != lua.LNil {
		text = message.String() + "\n" + text
	}
	L.Push(lua.LString(text))
	return 1
}
