package engine

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

func (vm *VM) openString(L *lua.LState) lua.LValue {
	t := L.CreateTable(0, 16)
	for name, fn := range map[string]lua.LGFunction{
		"byte":    strByte,
		"char":    strChar,
		"dump":    strDump,
		"find":    func(L *lua.LState) int { return vm.strFind(L, true) },
		"format":  vm.strFormat,
		"gmatch":  vm.strGmatch,
		"gsub":    vm.strGsub,
		"len":     func(L *lua.LState) int { L.Push(lua.LNumber(len(L.CheckString(1)))); return 1 },
		"lower":   func(L *lua.LState) int { return mapBytes(L, 'A', 'Z') },
		"match":   func(L *lua.LState) int { return vm.strFind(L, false) },
		"rep":     vm.strRep,
		"reverse": strReverse,
		"sub":     strSub,
		"upper":   func(L *lua.LState) int { return mapBytes(L, 'a', 'z') },
	} {
		t.RawSetString(name, L.NewFunction(fn))
	}
	t.RawSetString("gfind", t.RawGetString("gmatch"))
	return t
}

// bounds turns Lua's 1-based, inclusive, possibly negative i and j into a Go
// range of a string of length n.
func bounds(i, j, n int) (from, to int) {
	if i < 0 {
		i = max(n+i+1, 1)
	} else if i == 0 {
		i = 1
	}
	if j < 0 {
		j = n + j + 1
	} else if j > n {
		j = n
	}
	if i > j {
		return 0, 0
	}
	return i - 1, j
}

func strSub(L *lua.LState) int {
	s := L.CheckString(1)
	from, to := bounds(L.OptInt(2, 1), L.OptInt(3, -1), len(s))
	L.Push(lua.LString(s[from:to]))
	return 1
}

func strByte(L *lua.LState) int {
	s := L.CheckString(1)
	i := L.OptInt(2, 1)
	from, to := bounds(i, L.OptInt(3, i), len(s))
	for k := from; k < to; k++ {
		L.Push(lua.LNumber(s[k]))
	}
	return to - from
}

func strChar(L *lua.LState) int {
	b := make([]byte, L.GetTop())
	for i := range b {
		n := L.CheckInt(i + 1)
		if n < 0 || n > 255 {
			L.ArgError(i+1, "invalid value: a byte is 0 to 255")
		}
		b[i] = byte(n)
	}
	L.Push(lua.LString(b))
	return 1
}

func strDump(L *lua.LState) int {
	L.RaiseError("string.dump is not supported: functions travel by their source")
	return 0
}

// mapBytes changes the case of ASCII letters only: the bytes of other texts,
// UTF-8 or binary, stay as they are.
func mapBytes(L *lua.LState, from, to byte) int {
	b := []byte(L.CheckString(1))
	for i, c := range b {
		if from <= c && c <= to {
			b[i] = c ^ 0x20
		}
	}
	L.Push(lua.LString(b))
	return 1
}

func strReverse(L *lua.LState) int {
	s := L.CheckString(1)
	b := make([]byte, len(s))
	for i := range s {
		b[len(s)-1-i] = s[i]
	}
	L.Push(lua.LString(b))
	return 1
}

func (vm *VM) strRep(L *lua.LState) int {
	// As a float: an int has 32 bits on some machines.
	s, times := L.CheckString(1), float64(L.CheckNumber(2))
	sep := L.OptString(3, "")
	n := int(min(max(times, 0), math.MaxInt32))
	if n <= 0 || len(s)+len(sep) == 0 {
		L.Push(lua.LString(""))
		return 1
	}
	if n > vm.opts.MaxString/(len(s)+len(sep))+1 {
		vm.room(L, vm.opts.MaxString+1)
	}
	vm.room(L, n*(len(s)+len(sep)))
	L.Push(lua.LString(strings.Repeat(s+sep, n-1) + s))
	return 1
}

func (vm *VM) matcher(L *lua.LState, src, pat string) *matcher {
	return newMatcher(src, pat, vm.opts.MaxSteps, Context(L).Done(), L.RaiseError)
}

// pushCaptures pushes the captures of a match, the whole match where there are
// none and whole is set.
func pushCaptures(L *lua.LState, m *matcher, s, e int, whole bool) int {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		L.Push(captureValue(m, i, s, e))
	}
	return n
}

func captureValue(m *matcher, i, s, e int) lua.LValue {
	text, place := m.get(i, s, e)
	if place > 0 {
		return lua.LNumber(place)
	}
	return lua.LString(text)
}

func (vm *VM) strFind(L *lua.LState, find bool) int {
	s, pat := L.CheckString(1), L.CheckString(2)
	init := L.OptInt(3, 1)
	if init < 0 {
		init = max(len(s)+init+1, 1)
	}
	init = min(max(init-1, 0), len(s))
	if find && (lua.LVAsBool(L.Get(4)) || !strings.ContainsAny(pat, "^$*+?.([%-")) {
		i := strings.Index(s[init:], pat)
		if i < 0 {
			L.Push(lua.LNil)
			return 1
		}
		L.Push(lua.LNumber(init + i + 1))
		L.Push(lua.LNumber(init + i + len(pat)))
		return 2
	}
	m := vm.matcher(L, s, pat)
	start, end := m.next(init, strings.HasPrefix(pat, "^"))
	switch {
	case start < 0:
		L.Push(lua.LNil)
		return 1
	case find:
		L.Push(lua.LNumber(start + 1))
		L.Push(lua.LNumber(end))
		return 2 + pushCaptures(L, m, start, end, false)
	default:
		return pushCaptures(L, m, start, end, true)
	}
}

func (vm *VM) strGmatch(L *lua.LState) int {
	s, pat := L.CheckString(1), L.CheckString(2)
	pos := 0
	L.Push(L.NewFunction(func(L *lua.LState) int {
		if pos > len(s) {
			return 0
		}
		// The context may be another one at each step.
		m := vm.matcher(L, s, pat)
		start, end := m.next(pos, false)
		if start < 0 {
			pos = len(s) + 1
			return 0
		}
		pos = end
		if end == start {
			pos++
		}
		return pushCaptures(L, m, start, end, true)
	}))
	return 1
}

func (vm *VM) strGsub(L *lua.LState) int {
	s, pat := L.CheckString(1), L.CheckString(2)
	L.CheckTypes(3, lua.LTString, lua.LTNumber, lua.LTTable, lua.LTFunction)
	repl := L.Get(3)
	limit := L.OptInt(4, len(s)+1)
	anchored := strings.HasPrefix(pat, "^")
	var b strings.Builder
	count, pos := 0, 0
	m := vm.matcher(L, s, pat)
	p := 0
	if anchored {
		p = 1
	}
	for count < limit {
		m.level = 0
		end := m.at(pos, p)
		if end >= 0 {
			count++
			b.WriteString(vm.replacement(L, m, repl, pos, end))
			vm.room(L, b.Len())
		}
		switch {
		case end > pos:
			pos = end
		case pos < len(s):
			b.WriteByte(s[pos])
			pos++
		default:
			pos++
		}
		if pos > len(s) || anchored {
			break
		}
	}
	if pos < len(s) {
		vm.room(L, b.Len()+len(s)-pos)
		b.WriteString(s[pos:])
	}
	L.Push(lua.LString(b.String()))
	L.Push(lua.LNumber(count))
	return 2
}

// replacement is what takes the place of a match from start to end.
func (vm *VM) replacement(L *lua.LState, m *matcher, repl lua.LValue, start, end int) string {
	var v lua.LValue
	switch r := repl.(type) {
	case *lua.LTable:
		v = L.GetTable(r, captureValue(m, 0, start, end))
	case *lua.LFunction:
		// The function may match with patterns itself, but not with m.
		top := L.GetTop()
		L.Push(r)
		n := pushCaptures(L, m, start, end, true)
		L.Call(n, 1)
		v = L.Get(-1)
		L.SetTop(top)
	default:
		return expand(m, lua.LVAsString(repl), start, end)
	}
	if !lua.LVAsBool(v) {
		return m.src[start:end]
	}
	if !lua.LVCanConvToString(v) {
		L.RaiseError("invalid replacement value (a %s)", v.Type().String())
	}
	return lua.LVAsString(v)
}

// expand fills %0 to %9 in a replacement string.
func expand(m *matcher, repl string, start, end int) string {
	if !strings.Contains(repl, "%") {
		return repl
	}
	var b strings.Builder
	for i := 0; i < len(repl); i++ {
		c := repl[i]
		if c != '%' || i+1 == len(repl) {
			b.WriteByte(c)
			continue
		}
		i++
		switch d := repl[i]; {
		case d == '0':
			b.WriteString(m.src[start:end])
		case isDigit(d):
			b.WriteString(lua.LVAsString(captureValue(m, int(d-'1'), start, end)))
		default:
			b.WriteByte(d)
		}
	}
	return b.String()
}
