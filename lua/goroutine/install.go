package goroutine

import (
	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

// Install registers the globals goroutine and async.
func Install(vm *engine.VM) {
	lib := &library{vm: vm, pools: map[string]*pool{}}
	vm.Lazy("goroutine", lib.openGoroutine)
	vm.Lazy("async", lib.openAsync)
}

// library is what both tables share. Its fields are guarded by the VM's lock.
type library struct {
	vm    *engine.VM
	meta  *lua.LTable // of handles
	pools map[string]*pool
}

func (lib *library) openGoroutine(L *lua.LState) lua.LValue {
	return functions(L, map[string]lua.LGFunction{
		"async":       lib.async,
		"await":       lib.await,
		"await_all":   lib.awaitAll,
		"create":      lib.async,
		"pool_close":  lib.poolClose,
		"pool_create": lib.poolCreate,
		"pool_stats":  lib.poolStats,
		"pool_submit": lib.poolSubmit,
		"pool_wait":   lib.poolWait,
		"sleep":       sleep,
		"spawn":       lib.spawn,
		"wait_all":    lib.awaitAll,
	})
}

func (lib *library) openAsync(L *lua.LState) lua.LValue {
	t := functions(L, map[string]lua.LGFunction{
		"all":      lib.all,
		"async":    lib.async,
		"await":    lib.await,
		"parallel": lib.parallel,
		"promise":  lib.promise,
		"race":     lib.race,
		"sequence": lib.sequence,
		"sleep":    sleep,
		"timeout":  lib.timeout,
	})
	// async(fn) is async.async(fn).
	meta := L.CreateTable(0, 1)
	meta.RawSetString("__call", L.NewFunction(func(L *lua.LState) int {
		L.Remove(1)
		return lib.async(L)
	}))
	t.Metatable = meta
	return t
}

func functions(L *lua.LState, all map[string]lua.LGFunction) *lua.LTable {
	t := L.CreateTable(0, len(all))
	for name, fn := range all {
		t.RawSetString(name, L.NewFunction(fn))
	}
	return t
}
