package bind

import (
	"runtime"
	"sync"
	"weak"

	lua "github.com/yuin/gopher-lua"
)

// emptyLists holds the tables that were made from empty lists, which Lua cannot
// tell from other empty tables: so what was read as [] is written as [] again.
// A metatable would tell too, but then the table would no longer be plain data.
// It forgets a table when nobody else has it, and knows nothing of copies.
var emptyLists sync.Map // weak.Pointer[lua.LTable] -> struct{}

func markEmptyList(t *lua.LTable) {
	p := weak.Make(t)
	emptyLists.Store(p, struct{}{})
	runtime.AddCleanup(t, func(p weak.Pointer[lua.LTable]) { emptyLists.Delete(p) }, p)
}

func isEmptyList(t *lua.LTable) bool {
	_, ok := emptyLists.Load(weak.Make(t))
	return ok
}
