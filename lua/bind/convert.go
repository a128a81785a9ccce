package bind

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/modules"
)

// maxDepth is how deep tables may nest when they leave Lua.
const maxDepth = 128

// ToGo turns a Lua value into Go data: nil, bool, int64 for whole numbers up to
// 2^53, float64, string; a table with keys 1..n is []any, one whose keys are all
// text map[string]any (so is an empty one, unless ToLua made it of an empty
// list), any other map[any]any. A secret stays a modules.Secret. Functions,
// threads, other userdata and tables that contain themselves are errors that
// name the path to them. The caller holds the Lua lock.
func ToGo(v lua.LValue) (any, error) {
	c := converter{}
	return c.value(v, "", 0)
}

type converter struct {
	// function turns a function into a Go value; nil makes functions an error.
	function func(*lua.LFunction) any
	// userdata lets Go values behind userdata pass.
	userdata bool
	open     []*lua.LTable // the tables we are inside of
}

func (c *converter) value(v lua.LValue, path string, depth int) (any, error) {
	switch t := v.(type) {
	case nil, *lua.LNilType:
		return nil, nil
	case lua.LBool:
		return bool(t), nil
	case lua.LNumber:
		return number(float64(t)), nil
	case lua.LString:
		return string(t), nil
	case *lua.LTable:
		return c.table(t, path, depth)
	case *lua.LFunction:
		if c.function != nil {
			return c.function(t), nil
		}
	case *lua.LUserData:
		if s, ok := t.Value.(modules.Secret); ok {
			return s, nil
		}
		if c.userdata {
			return t.Value, nil
		}
	}
	if path == "" {
		return nil, fmt.Errorf("a %s is not data", v.Type())
	}
	return nil, fmt.Errorf("%s is a %s, which is not data", path, v.Type())
}

func number(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) <= 1<<53 && !(f == 0 && math.Signbit(f)) {
		return int64(f)
	}
	return f
}

func (c *converter) table(t *lua.LTable, path string, depth int) (any, error) {
	if depth >= maxDepth {
		return nil, fmt.Errorf("%s is nested deeper than %d tables", cmp.Or(path, "the table"), maxDepth)
	}
	if slices.Contains(c.open, t) {
		return nil, fmt.Errorf("%s contains itself", cmp.Or(path, "the table"))
	}
	c.open = append(c.open, t)
	defer func() { c.open = c.open[:len(c.open)-1] }()

	n, text, other := 0, 0, 0
	for k := range each(t) {
		switch k.(type) {
		case lua.LNumber:
			n++
		case lua.LString:
			text++
		default:
			other++
		}
	}
	if n > 0 && text == 0 && other == 0 && n == length(t) {
		out := make([]any, n)
		for i := range out {
			item, err := c.value(t.RawGetInt(i+1), fmt.Sprintf("%s[%d]", path, i+1), depth+1)
			if err != nil {
				return nil, err
			}
			out[i] = item
		}
		return out, nil
	}
	if n == 0 && text == 0 && other == 0 && isEmptyList(t) {
		return []any{}, nil
	}
	if n == 0 && other == 0 {
		out := make(map[string]any, text)
		for k, v := range each(t) {
			item, err := c.value(v, join(path, string(k.(lua.LString))), depth+1)
			if err != nil {
				return nil, err
			}
			out[string(k.(lua.LString))] = item
		}
		return out, nil
	}
	return c.mixed(t, path, depth)
}

func (c *converter) mixed(t *lua.LTable, path string, depth int) (any, error) {
	out := make(map[any]any, t.Len())
	for k, v := range each(t) {
		var key any
		switch k := k.(type) {
		case lua.LString:
			key = string(k)
		case lua.LNumber:
			key = number(float64(k))
		case lua.LBool:
			key = bool(k)
		default:
			return nil, fmt.Errorf("%s has a %s as a key, which is not data", cmp.Or(path, "the table"), k.Type())
		}
		item, err := c.value(v, join(path, fmt.Sprint(key)), depth+1)
		if err != nil {
			return nil, err
		}
		out[key] = item
	}
	return out, nil
}

// each ranges over a table as it is, without metamethods.
func each(t *lua.LTable) func(func(lua.LValue, lua.LValue) bool) {
	return func(yield func(lua.LValue, lua.LValue) bool) {
		for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
			if !yield(k, v) {
				return
			}
		}
	}
}

// length is the n of 1..n, however the table stores them.
func length(t *lua.LTable) int {
	n := 0
	for t.RawGetInt(n+1) != lua.LNil {
		n++
	}
	return n
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// ToLua turns Go data into a Lua value: what ToGo gives, any kind of number,
// []byte as text, time.Duration as seconds, errors as their text, other slices
// and maps as tables. A modules.Secret becomes a userdata that prints as
// hidden. Lua values pass as they are. What is no data raises an error in L.
func ToLua(L *lua.LState, v any) lua.LValue {
	m := maker{L: L}
	out := m.value(v)
	if m.err != nil {
		L.RaiseError("%s", m.err.Error())
	}
	return out
}

// maker makes Lua values. err is the first thing that could not be made.
type maker struct {
	L   *lua.LState
	err error
}

func (m *maker) value(v any) lua.LValue {
	switch t := v.(type) {
	case nil:
		return lua.LNil
	case lua.LValue:
		return t
	case bool:
		return lua.LBool(t)
	case string:
		return lua.LString(t)
	case []byte:
		return lua.LString(t)
	case int:
		return lua.LNumber(t)
	case int64:
		return lua.LNumber(t)
	case float64:
		return lua.LNumber(t)
	case time.Duration:
		return lua.LNumber(t.Seconds())
	case error:
		return lua.LString(t.Error())
	case modules.Secret:
		return secret(m.L, t)
	case []any:
		out := m.L.CreateTable(len(t), 0)
		for i, item := range t {
			out.RawSetInt(i+1, m.value(item))
		}
		if len(t) == 0 {
			markEmptyList(out)
		}
		return out
	case map[string]any:
		out := m.L.CreateTable(0, len(t))
		for _, k := range slices.Sorted(maps.Keys(t)) {
			out.RawSetString(k, m.value(t[k]))
		}
		return out
	}
	return m.reflected(reflect.ValueOf(v))
}

// reflected makes what value has no case for. Keys are sorted to give pairs
// one order, whatever Go's is.
func (m *maker) reflected(v reflect.Value) lua.LValue {
	switch v.Kind() {
	case reflect.Bool:
		return lua.LBool(v.Bool())
	case reflect.String:
		return lua.LString(v.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return lua.LNumber(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return lua.LNumber(v.Uint())
	case reflect.Float32, reflect.Float64:
		return lua.LNumber(v.Float())
	case reflect.Slice, reflect.Array:
		out := m.L.CreateTable(v.Len(), 0)
		for i := range v.Len() {
			out.RawSetInt(i+1, m.value(v.Index(i).Interface()))
		}
		return out
	case reflect.Map:
		out := m.L.CreateTable(0, v.Len())
		keys := v.MapKeys()
		sort.Slice(keys, func(a, b int) bool {
			return compareText(fmt.Sprint(keys[a].Interface()), fmt.Sprint(keys[b].Interface())) < 0
		})
		for _, k := range keys {
			if key := m.value(k.Interface()); key != lua.LNil {
				out.RawSet(key, m.value(v.MapIndex(k).Interface()))
			}
		}
		return out
	}
	if m.err == nil {
		m.err = fmt.Errorf("internal error: a Go %s cannot become a Lua value", v.Type())
	}
	return lua.LNil
}

// compareText orders numbers by value, so that lists in maps keep their order.
func compareText(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX == nil && errY == nil && x != y {
		if x < y {
			return -1
		}
		return 1
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func secret(L *lua.LState, s modules.Secret) lua.LValue {
	ud := L.NewUserData()
	ud.Value = s
	mt := L.NewTypeMetatable("sloth.secret")
	if mt.RawGetString("__tostring") == lua.LNil {
		mt.RawSetString("__tostring", L.NewFunction(func(L *lua.LState) int {
			L.Push(lua.LString(modules.Hidden))
			return 1
		}))
	}
	ud.Metatable = mt
	return ud
}

var errHole = errors.New("the list has a hole: is one of the variables in it undefined?")
