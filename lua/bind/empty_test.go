package bind

import (
	"reflect"
	"runtime"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

func TestEmptyListsStayLists(t *testing.T) {
	L := lua.NewState()
	defer L.Close()
	in := map[string]any{"list": []any{}, "table": map[string]any{}, "deep": []any{[]any{}}}
	out, err := ToGo(ToLua(L, in))
	if err != nil || !reflect.DeepEqual(out, in) {
		t.Errorf("got %#v, %v", out, err)
	}
	list := ToLua(L, []any{}).(*lua.LTable)
	list.RawSetString("k", lua.LString("v"))
	if out, err := ToGo(list); err != nil || !reflect.DeepEqual(out, map[string]any{"k": "v"}) {
		t.Errorf("with a key it is %#v, %v", out, err)
	}
	if out, err := ToGo(L.NewTable()); err != nil || !reflect.DeepEqual(out, map[string]any{}) {
		t.Errorf("another empty table is %#v, %v", out, err)
	}
}

func TestEmptyListsAreForgotten(t *testing.T) {
	L := lua.NewState()
	defer L.Close()
	for range 1000 {
		ToLua(L, []any{})
	}
	left := func() (n int) {
		emptyLists.Range(func(any, any) bool { n++; return true })
		return n
	}
	for end := time.Now().Add(10 * time.Second); left() > 100; runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("%d are still known", left())
		}
	}
}
