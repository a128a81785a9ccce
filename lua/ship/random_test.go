package ship

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

// template is a source with functions of several shapes; random graphs are
// closures over them with random cells.
const template = `
local a, b, c
local function f0() return 0 end
local function f1() return a end
local function f2() a = b return b end
local function f3() return a, b, c, function() return c end end
return {f0, f1, f2, f3}`

// randomGraph makes a value with cycles, sharing, closures and metatables.
func randomGraph(r *rand.Rand, vm *engine.VM, protos []*lua.FunctionProto) lua.LValue {
	tables := make([]*lua.LTable, 1+r.IntN(8))
	for i := range tables {
		tables[i] = &lua.LTable{Metatable: lua.LNil}
	}
	cells := make([]*lua.Upvalue, 1+r.IntN(6))
	for i := range cells {
		cells[i] = &lua.Upvalue{}
		cells[i].Close()
	}
	functions := make([]*lua.LFunction, r.IntN(6))
	for i := range functions {
		p := protos[r.IntN(len(protos))]
		functions[i] = &lua.LFunction{Env: vm.Globals(), Proto: p}
		for range p.NumUpvalues {
			functions[i].Upvalues = append(functions[i].Upvalues, cells[r.IntN(len(cells))])
		}
	}
	value := func() lua.LValue {
		switch n := r.IntN(10); {
		case n < 3:
			return tables[r.IntN(len(tables))]
		case n < 5 && len(functions) > 0:
			return functions[r.IntN(len(functions))]
		case n == 5:
			return lua.LNumber(r.NormFloat64())
		case n == 6:
			return lua.LNumber(r.IntN(1000) - 500)
		case n == 7:
			return lua.LBool(r.IntN(2) == 0)
		case n == 8:
			return lua.LNil
		default:
			b := make([]byte, r.IntN(12))
			for i := range b {
				b[i] = byte(r.IntN(256))
			}
			return lua.LString(b)
		}
	}
	for _, t := range tables {
		for range r.IntN(6) {
			t.RawSetInt(1+r.IntN(5), value())
		}
		for range r.IntN(6) {
			key := value()
			if key != lua.LNil {
				t.RawSet(key, value())
			}
		}
		if r.IntN(5) == 0 {
			t.Metatable = tables[r.IntN(len(tables))]
		}
	}
	for _, c := range cells {
		c.SetValue(value())
	}
	return value()
}

// same walks two graphs side by side and reports the first difference.
func same(a, b lua.LValue, pairs map[any]any, path string) error {
	if a == nil {
		a = lua.LNil
	}
	if a.Type() != b.Type() {
		return fmt.Errorf("%s: %s and %s", path, a.Type(), b.Type())
	}
	switch x := a.(type) {
	case *lua.LTable:
		y := b.(*lua.LTable)
		if known, ok := pairs[x]; ok {
			if known != any(y) {
				return fmt.Errorf("%s: another table", path)
			}
			return nil
		}
		pairs[x] = y
		if x.Len() != y.Len() {
			return fmt.Errorf("%s: lengths %d and %d", path, x.Len(), y.Len())
		}
		xa, xp := contents(x)
		ya, yp := contents(y)
		if len(xa) != len(ya) || len(xp) != len(yp) {
			return fmt.Errorf("%s: sizes %d,%d and %d,%d", path, len(xa), len(xp), len(ya), len(yp))
		}
		for i := range xa {
			if err := same(xa[i], ya[i], pairs, fmt.Sprintf("%s[%d]", path, i+1)); err != nil {
				return err
			}
		}
		for i := range xp {
			if err := same(xp[i].key, yp[i].key, pairs, path+"(key)"); err != nil {
				return err
			}
			if err := same(xp[i].value, yp[i].value, pairs, path+field(xp[i].key)); err != nil {
				return err
			}
		}
		return same(x.Metatable, y.Metatable, pairs, path+"(meta)")
	case *lua.LFunction:
		y := b.(*lua.LFunction)
		if known, ok := pairs[x]; ok {
			if known != any(y) {
				return fmt.Errorf("%s: another function", path)
			}
			return nil
		}
		pairs[x] = y
		if x.Proto.LineDefined != y.Proto.LineDefined || len(x.Upvalues) != len(y.Upvalues) {
			return fmt.Errorf("%s: other code", path)
		}
		for i, cx := range x.Upvalues {
			cy := y.Upvalues[i]
			if known, ok := pairs[cx]; ok {
				if known != any(cy) {
					return fmt.Errorf("%s: captures another cell", path)
				}
				continue
			}
			pairs[cx] = cy
			if err := same(cx.Value(), cy.Value(), pairs, path+"^"); err != nil {
				return err
			}
		}
		return nil
	default:
		if a != b {
			return fmt.Errorf("%s: %v and %v", path, a, b)
		}
		return nil
	}
}

func TestRandomGraphsArriveWhole(t *testing.T) {
	from, to := world(t, engine.Options{}), world(t, engine.Options{})
	load(t, to, template)
	load(t, from, template)
	protos := from.Chunks()[0].Protos()[1:]
	n := 3000
	if testing.Short() {
		n = 300
	}
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		v := randomGraph(r, from, protos)
		p, err := Encode(from, v, Options{})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := Decode(to, p.Data, Limits{})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := same(v, got, map[any]any{}, ""); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		again, err := Encode(to, got, Options{})
		if err != nil || !bytes.Equal(again.Data, p.Data) {
			t.Fatalf("seed %d: other bytes the second time (%v)", seed, err)
		}
	}
}

// FuzzDecode feeds damaged parcels; what is accepted must be whole: it encodes
// again, and arrives again.
func FuzzDecode(f *testing.F) {
	vm := engine.New(engine.Options{})
	f.Cleanup(func() { vm.Close() })
	load(f, vm, template)
	protos := vm.Chunks()[0].Protos()[1:]
	for seed := range uint64(40) {
		p, err := Encode(vm, randomGraph(rand.New(rand.NewPCG(seed, 2)), vm, protos), Options{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := Limits{Bytes: 1 << 16, Nodes: 1000, Depth: 100, Allow: func(Ref) error { return nil }}
		v, err := Decode(vm, data, limits)
		if err != nil {
			return
		}
		p, err := Encode(vm, v, Options{})
		if err != nil {
			t.Fatalf("accepted, but cannot be sent again: %v", err)
		}
		if _, err := Decode(vm, p.Data, Limits{}); err != nil {
			t.Fatalf("cannot be received again: %v", err)
		}
	})
}

func benchmarkValue(b *testing.B) (*engine.VM, lua.LValue) {
	vm := world(b, engine.Options{})
	return vm, load(b, vm, `
		local cfg = {name = "app", hosts = {}, opts = {debug = false, level = 3}}
		for i = 1, 50 do cfg.hosts[i] = {name = "web-" .. i, port = 8000 + i} end
		local function render(x) return cfg.name .. x end
		local n = 0
		return {command = function() n = n + 1 return render(n), #cfg.hosts end, run_if = function() return cfg.opts.level > n end}`)
}

func BenchmarkEncode(b *testing.B) {
	vm, v := benchmarkValue(b)
	for b.Loop() {
		if _, err := Encode(vm, v, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	vm, v := benchmarkValue(b)
	p, err := Encode(vm, v, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(p.Data)))
	for b.Loop() {
		if _, err := Decode(vm, p.Data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
