package ship

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"

	lua "github.com/yuin/gopher-lua"
)

type writer struct {
	g     *graph
	out   []byte
	known map[string]int
}

// write encodes a graph that was collected.
func (g *graph) write(root lua.LValue) (Parcel, error) {
	w := &writer{g: g, known: map[string]int{}}
	p := Parcel{Constants: g.constantList()}
	w.out = append(w.out, magic...)
	w.count(len(g.chunks))
	for _, c := range g.chunks {
		sum, err := hex.DecodeString(c.Hash)
		if err != nil {
			return Parcel{}, fmt.Errorf("the hash of %s: %w", c.Name, err)
		}
		w.out = append(w.out, sum...)
		p.Chunks = append(p.Chunks, c.Hash)
	}
	w.count(len(g.nodes))
	for _, n := range g.nodes {
		w.out = append(w.out, byte(n.kind))
		if n.kind == kindTable {
			w.count(len(n.array))
			w.count(len(n.pairs))
		}
	}
	w.value(root)
	w.count(len(g.globals))
	for _, gl := range g.globals {
		w.text(gl.name)
		w.value(gl.value)
	}
	w.count(len(g.patches))
	for _, patch := range g.patches {
		w.text(patch.Table)
		w.text(patch.Key)
		w.value(patch.Value)
	}
	for i := range g.nodes {
		w.body(&g.nodes[i])
		if len(w.out) > g.opts.MaxBytes {
			return Parcel{}, g.refuse(g.nodes[i].from, fmt.Sprintf("all of it takes more than %d MB", g.opts.MaxBytes>>20))
		}
	}
	p.Data = w.out
	return p, nil
}

func (w *writer) body(n *node) {
	switch v := n.value.(type) {
	case *lua.LTable:
		for _, e := range n.array {
			w.value(e)
		}
		for _, p := range n.pairs {
			w.value(p.key)
			w.value(p.value)
		}
		w.value(w.g.metatable(v))
	case *lua.LFunction:
		w.count(n.chunk)
		w.count(n.index)
		if v.Env == w.g.vm.Globals() {
			w.value(lua.LNil)
		} else {
			w.value(v.Env)
		}
		w.count(len(v.Upvalues))
		for _, cell := range v.Upvalues {
			w.count(w.g.ids[cell])
		}
	case *lua.Upvalue:
		w.value(v.Value())
	case *lua.LUserData:
		w.text(n.sort)
		w.value(n.body)
	}
}

func (w *writer) count(n int) { w.out = binary.AppendUvarint(w.out, uint64(n)) }

func (w *writer) tag(t byte) { w.out = append(w.out, t) }

func (w *writer) text(s string) {
	if i, ok := w.known[s]; ok {
		w.tag(tagKnown)
		w.count(i)
		return
	}
	w.tag(tagString)
	w.count(len(s))
	w.out = append(w.out, s...)
	if len(s) >= minKnown {
		w.known[s] = len(w.known)
	}
}

func (w *writer) value(v lua.LValue) {
	switch v := v.(type) {
	case nil, *lua.LNilType:
		w.tag(tagNil)
	case lua.LBool:
		if v {
			w.tag(tagTrue)
		} else {
			w.tag(tagFalse)
		}
	case lua.LNumber:
		w.number(float64(v))
	case lua.LString:
		w.text(string(v))
	default:
		if v == w.g.vm.Globals() {
			w.tag(tagGlobals)
			return
		}
		if id, ok := w.g.ids[v]; ok {
			w.tag(tagNode)
			w.count(id)
			return
		}
		path, _ := w.g.vm.LibraryPath(v)
		w.tag(tagLibrary)
		w.text(path)
	}
}

func (w *writer) number(f float64) {
	if i := int64(f); float64(i) == f && i > -1<<53 && i < 1<<53 && (i != 0 || !math.Signbit(f)) {
		w.tag(tagInteger)
		w.out = binary.AppendVarint(w.out, i)
		return
	}
	if math.IsNaN(f) {
		f = math.NaN() // there are many; equal graphs have equal bytes
	}
	w.tag(tagFloat)
	w.out = binary.BigEndian.AppendUint64(w.out, math.Float64bits(f))
}
