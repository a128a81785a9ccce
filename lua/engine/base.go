package engine

import (
	"context"
	"math"
	"runtime"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// openBase installs the global functions.
func (vm *VM) openBase() {
	L := vm.main
	L.Push(L.NewFunction(lua.OpenBase))
	L.Call(0, 0)
	g := vm.globals
	g.RawSetString("_printregs", lua.LNil) // prints the process's registers
	vm.loaded, _ = L.G.Registry.RawGetString("_LOADED").(*lua.LTable)
	for name, fn := range map[string]lua.LGFunction{
		"assert":         baseAssert,
		"collectgarbage": baseCollectGarbage,
		"dofile":         vm.baseDoFile,
		"error":          baseError,
		"getmetatable":   vm.baseGetMetatable,
		"load":           vm.baseLoad,
		"loadfile":       vm.baseLoadFile,
		"loadstring":     vm.baseLoad,
		"next":           vm.baseNext,
		"pcall":          vm.basePCall,
		"print":          vm.basePrint,
		"rawget":         vm.baseRawGet,
		"require":        vm.baseRequire,
		"tonumber":       baseToNumber,
		"unpack":         baseUnpack,
		"xpcall":         vm.baseXPCall,
	} {
		g.RawSetString(name, L.NewFunction(fn))
	}
	next := L.NewFunction(pairsNext)
	g.RawSetString("pairs", L.NewFunction(func(L *lua.LState) int {
		t := L.CheckTable(1)
		vm.whole(L, t)
		L.Push(next)
		L.Push(t)
		L.Push(lua.LNil)
		return 3
	}))
	setMeta, _ := g.RawGetString("setmetatable").(*lua.LFunction)
	g.RawSetString("setmetatable", L.NewFunction(func(L *lua.LState) int {
		if t, ok := L.Get(1).(*lua.LTable); ok && t == vm.globals {
			// The script takes the place of our __index.
			vm.loadAll(L)
		}
		return setMeta.GFunction(L)
	}))
	meta := L.CreateTable(0, 1)
	meta.RawSetString("__index", L.NewFunction(vm.indexGlobal))
	g.Metatable = meta
	vm.recordPristine()
}

// whole makes all lazy globals when t is the table of globals.
func (vm *VM) whole(L *lua.LState, t *lua.LTable) {
	if t == vm.globals {
		vm.loadAll(L)
	}
}

func baseAssert(L *lua.LState) int {
	if lua.LVAsBool(L.CheckAny(1)) {
		return L.GetTop()
	}
	if L.GetTop() < 2 {
		L.Error(lua.LString("assertion failed!"), 0)
	}
	L.Error(L.Get(2), 0)
	return 0
}

func baseCollectGarbage(L *lua.LState) int {
	switch opt := L.OptString(1, "collect"); opt {
	case "count":
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		L.Push(lua.LNumber(float64(m.HeapAlloc) / 1024))
	case "collect", "stop", "restart", "step", "setpause", "setstepmul":
		// Go collects when it needs to; a forced collection stops all tasks.
		L.Push(lua.LNumber(0))
	default:
		L.ArgError(1, "invalid option '"+opt+"'")
	}
	return 1
}

func baseError(L *lua.LState) int {
	v := L.Get(1)
	level := L.OptInt(2, 1)
	text, ok := v.(lua.LString)
	if !ok || level <= 0 {
		L.Error(v, 0)
		return 0
	}
	prefix := ""
	if dbg, ok := frame(L, level); ok && dbg.CurrentLine > 0 {
		prefix = dbg.Source + ":" + itoa(dbg.CurrentLine) + ": "
	}
	L.Error(lua.LString(prefix)+text, 0)
	return 0
}

func (vm *VM) baseGetMetatable(L *lua.LState) int {
	v := L.CheckAny(1)
	if v == vm.globals {
		if mt, ok := vm.globals.Metatable.(*lua.LTable); ok && vm.isOurs(mt) {
			L.Push(lua.LNil)
			return 1
		}
	}
	L.Push(L.GetMetatable(v))
	return 1
}

// isOurs reports whether mt is the metatable that makes lazy globals.
func (vm *VM) isOurs(mt *lua.LTable) bool {
	fn, ok := mt.RawGetString("__index").(*lua.LFunction)
	return ok && fn.IsG && mt == vm.globals.Metatable
}

func (vm *VM) baseNext(L *lua.LState) int {
	t := L.CheckTable(1)
	if L.Get(2) == lua.LNil {
		vm.whole(L, t)
	}
	k, v := t.Next(L.Get(2))
	L.Push(k)
	if k == lua.LNil {
		return 1
	}
	L.Push(v)
	return 2
}

func pairsNext(L *lua.LState) int {
	k, v := L.CheckTable(1).Next(L.Get(2))
	if k == lua.LNil {
		return 0
	}
	L.Push(k)
	L.Push(v)
	return 2
}

func (vm *VM) baseRawGet(L *lua.LState) int {
	t := L.CheckTable(1)
	k := L.CheckAny(2)
	v := t.RawGet(k)
	if name, ok := k.(lua.LString); ok && v == lua.LNil && t == vm.globals {
		v, _ = vm.lazyValue(L, string(name))
	}
	L.Push(v)
	return 1
}

func baseUnpack(L *lua.LState) int {
	t := L.CheckTable(1)
	from, to := L.OptInt(2, 1), L.OptInt(3, t.Len())
	if from > to {
		return 0
	}
	if n := to - from; n < 0 || n >= maxRegistry/2 {
		L.RaiseError("too many results to unpack")
	}
	for i := from; ; i++ {
		L.Push(t.RawGet(lua.LNumber(i)))
		if i == to {
			return to - from + 1
		}
	}
}

func arguments(L *lua.LState, from int) []lua.LValue {
	var args []lua.LValue
	for i := from; i <= L.GetTop(); i++ {
		args = append(args, L.Get(i))
	}
	return args
}

func pushAll(L *lua.LState, values []lua.LValue) int {
	for _, v := range values {
		L.Push(v)
	}
	return len(values)
}

// contextsOf returns the thread context of L and the context its new threads get.
func (vm *VM) contextsOf(L *lua.LState) (*threadContext, context.Context) {
	tc := threadContextOf(L)
	if tc == nil || tc.s == nil {
		tc = vm.newThreadContext(vm.base, nil)
	}
	return tc, contextFor(L, tc)
}

func callable(L *lua.LState, v lua.LValue) bool {
	return v.Type() == lua.LTFunction || L.GetMetaField(v, "__call").Type() == lua.LTFunction
}

func (vm *VM) basePCall(L *lua.LState) int {
	fn := L.CheckAny(1)
	if !callable(L, fn) {
		L.Push(lua.LFalse)
		L.Push(lua.LString("attempt to call a " + fn.Type().String() + " value"))
		return 2
	}
	tc, ctx := vm.contextsOf(L)
	rets, failed := vm.protect(tc, ctx, fn, arguments(L, 2))
	if failed != nil {
		if tc.s.exit != nil {
			panic(rethrown{failed})
		}
		L.Push(lua.LFalse)
		L.Push(failed.value)
		return 2
	}
	L.Push(lua.LTrue)
	return 1 + pushAll(L, rets)
}

func (vm *VM) baseXPCall(L *lua.LState) int {
	fn, handler := L.CheckAny(1), L.CheckFunction(2)
	tc, ctx := vm.contextsOf(L)
	rets, failed := vm.protect(tc, ctx, fn, arguments(L, 3))
	if failed == nil {
		L.Push(lua.LTrue)
		return 1 + pushAll(L, rets)
	}
	if tc.s.exit != nil {
		panic(rethrown{failed})
	}
	// The handler sees the stack of the error: debug.traceback looks there.
	before := tc.s.trace
	tc.s.trace = failed.thread
	handled, again := vm.protect(tc, ctx, handler, []lua.LValue{failed.value})
	tc.s.trace = before
	L.Push(lua.LFalse)
	if again != nil {
		if tc.s.exit != nil {
			panic(rethrown{again})
		}
		L.Push(again.value)
		return 2
	}
	return 1 + pushAll(L, handled)
}

func (vm *VM) basePrint(L *lua.LState) int {
	var b strings.Builder
	for i := 1; i <= L.GetTop(); i++ {
		if i > 1 {
			b.WriteByte('\t')
		}
		b.WriteString(L.ToStringMeta(L.Get(i)).String())
	}
	_ = Block(L, func(ctx context.Context) error {
		vm.print(ctx, b.String())
		return nil
	})
	return 0
}

func baseToNumber(L *lua.LState) int {
	v := L.CheckAny(1)
	base := L.OptInt(2, 10)
	if base < 2 || base > 36 {
		L.ArgError(2, "base out of range")
	}
	switch v := v.(type) {
	case lua.LNumber:
		if base == 10 {
			L.Push(v)
			return 1
		}
		return pushNumber(L, v.String(), base)
	case lua.LString:
		return pushNumber(L, string(v), base)
	}
	L.Push(lua.LNil)
	return 1
}

func pushNumber(L *lua.LState, text string, base int) int {
	n, ok := parseNumber(text, base)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(n))
	return 1
}

// parseNumber reads a number as Lua 5.1 on a Unix does: decimal with fraction
// and exponent, or hexadecimal with 0x.
func parseNumber(text string, base int) (float64, bool) {
	text = strings.Trim(text, " \t\n\v\f\r")
	if text == "" || strings.ContainsRune(text, '_') {
		return 0, false
	}
	sign, digits := 1.0, text
	if c := text[0]; c == '-' || c == '+' {
		digits = text[1:]
		if c == '-' {
			sign = -1
		}
	}
	lower := strings.ToLower(digits)
	if base == 16 || base == 10 {
		if rest, ok := strings.CutPrefix(lower, "0x"); ok {
			n, err := strconv.ParseUint(rest, 16, 64)
			return sign * float64(n), err == nil
		}
	}
	if base != 10 {
		if digits == "" || strings.ContainsAny(digits, "+-") {
			return 0, false
		}
		n, err := strconv.ParseUint(lower, base, 64)
		return sign * float64(n), err == nil
	}
	if lower == "" || !isDigit(lower[0]) && lower[0] != '.' {
		return 0, false // strconv would take inf and nan
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil && !math.IsInf(n, 0) {
		return 0, false
	}
	return sign * n, true
}
