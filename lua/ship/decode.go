package ship

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

// maxSlots bounds the holes that sparse arrays of one parcel may have: a table
// {[8000000] = 1} takes 128 MB.
const maxSlots = 4 << 20

type decoder struct {
	L      *lua.LState
	vm     *engine.VM
	limits Limits
	data   []byte

	chunks []*engine.Chunk
	shells []any // *LTable, *LFunction, *Upvalue; nil for userdata
	sizes  []tableSize
	depth  []int // of each node; 0 while nothing refers to it
	known  []string
	slots  int

	objects []object
	// waiting are the places where a userdata goes once it is made.
	waiting map[int][]func(lua.LValue)
}

type tableSize struct{ array, pairs int }

// object is a userdata still to be made.
type object struct {
	node int
	sort string
	body lua.LValue
}

type (
	globalSet struct {
		name  string
		value lua.LValue
	}
	patchSet struct {
		table *lua.LTable
		key   string
		value lua.LValue
	}
)

var errShort = errors.New("it ends too early")

// bad is thrown by the readers and caught by run.
type bad struct{ error }

func (d *decoder) fail(format string, args ...any) { panic(bad{fmt.Errorf(format, args...)}) }

func (d *decoder) run() (root lua.LValue, err error) {
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(bad)
			if !ok {
				panic(r)
			}
			root, err = nil, b.error
		}
	}()
	if string(d.take(len(magic))) != magic {
		d.fail("not a shipped value of this version")
	}
	d.readChunks()
	d.readNodes()
	d.value(1, func(v lua.LValue) { root = v })
	globals := d.readGlobals()
	patches := d.readPatches()
	for i := range d.shells {
		if d.depth[i] == 0 {
			d.fail("part %d is referred to by nothing before it", i)
		}
		d.body(i)
	}
	if len(d.data) > 0 {
		d.fail("%d bytes too many", len(d.data))
	}
	d.makeObjects()
	for _, g := range globals {
		d.vm.Globals().RawSetString(g.name, g.value)
	}
	for _, p := range patches {
		p.table.RawSetString(p.key, p.value)
	}
	return root, nil
}

func (d *decoder) take(n int) []byte {
	if n > len(d.data) {
		panic(bad{errShort})
	}
	b := d.data[:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		panic(bad{errShort})
	}
	d.data = d.data[n:]
	return v
}

// count reads how many things follow, each at least size bytes.
func (d *decoder) count(size int) int {
	n := d.number()
	if n > uint64(len(d.data)/size) {
		panic(bad{errShort})
	}
	return int(n)
}

// below reads a position in a list of n things.
func (d *decoder) below(n int, what string) int {
	i := d.number()
	if i >= uint64(n) {
		d.fail("%s %d of %d", what, i, n)
	}
	return int(i)
}

func (d *decoder) readChunks() {
	for range d.count(32) {
		hash := hex.EncodeToString(d.take(32))
		c, ok := d.vm.Chunk(hash)
		if !ok {
			panic(bad{&MissingChunkError{hash}})
		}
		d.chunks = append(d.chunks, c)
	}
	if d.limits.Data && len(d.chunks) > 0 {
		d.fail("there are functions in what must be plain data")
	}
}

func (d *decoder) readNodes() {
	n := d.count(1)
	if n > d.limits.Nodes {
		d.fail("%d parts: the limit is %d", n, d.limits.Nodes)
	}
	d.shells = make([]any, n)
	d.sizes = make([]tableSize, n)
	d.depth = make([]int, n)
	room := len(d.data) // every value takes a byte at least
	for i := range d.shells {
		kind := d.take(1)[0]
		if d.limits.Data && kind != kindTable {
			d.fail("there are functions or objects in what must be plain data")
		}
		switch kind {
		case kindTable:
			size := tableSize{d.count(1), d.count(2)}
			if room -= size.array + 2*size.pairs; room < 0 {
				panic(bad{errShort})
			}
			d.sizes[i] = size
			d.shells[i] = d.L.CreateTable(size.array, size.pairs)
		case kindFunction:
			d.shells[i] = &lua.LFunction{Env: d.vm.Globals()}
		case kindCell:
			cell := &lua.Upvalue{}
			cell.Close()
			cell.SetValue(lua.LNil)
			d.shells[i] = cell
		case kindUserdata:
		default:
			d.fail("a part of unknown kind %d", kind)
		}
	}
}

func (d *decoder) readGlobals() []globalSet {
	n := d.count(2)
	if n > 0 && (d.limits.Data || d.limits.Allow != nil) {
		d.fail("it sets globals, which is not allowed here")
	}
	all := make([]globalSet, n)
	for i := range all {
		all[i].name = d.text()
		d.value(1, func(v lua.LValue) { all[i].value = v })
	}
	return all
}

func (d *decoder) readPatches() []patchSet {
	n := d.count(3)
	if n > 0 && (d.limits.Data || d.limits.Allow != nil) {
		d.fail("it changes libraries, which is not allowed here")
	}
	all := make([]patchSet, n)
	for i := range all {
		path := d.text()
		v, _ := d.vm.LibraryValue(d.L, path)
		t, ok := v.(*lua.LTable)
		if !ok {
			d.fail("there is no library %q here", clip(path))
		}
		all[i].table, all[i].key = t, d.text()
		d.value(1, func(v lua.LValue) { all[i].value = v })
	}
	return all
}

func (d *decoder) text() string {
	switch tag := d.take(1)[0]; tag {
	case tagString:
		return d.newText()
	case tagKnown:
		return d.known[d.below(len(d.known), "text")]
	default:
		d.fail("a text was expected, not tag %d", tag)
	}
	return ""
}

func (d *decoder) newText() string {
	s := string(d.take(d.count(1)))
	if len(s) >= minKnown {
		d.known = append(d.known, s)
	}
	return s
}

// read reads a value at a depth. Of a userdata, which is made later, it returns
// the position instead; else -1.
func (d *decoder) read(depth int) (v lua.LValue, later int) {
	switch tag := d.take(1)[0]; tag {
	case tagNil:
		v = lua.LNil
	case tagFalse:
		v = lua.LFalse
	case tagTrue:
		v = lua.LTrue
	case tagFloat:
		v = lua.LNumber(math.Float64frombits(binary.BigEndian.Uint64(d.take(8))))
	case tagInteger:
		i, n := binary.Varint(d.data)
		if n <= 0 {
			panic(bad{errShort})
		}
		d.data = d.data[n:]
		v = lua.LNumber(i)
	case tagString:
		v = lua.LString(d.newText())
	case tagKnown:
		v = lua.LString(d.known[d.below(len(d.known), "text")])
	case tagNode:
		return d.node(d.below(len(d.shells), "part"), depth)
	case tagLibrary:
		v = d.library(d.text())
	case tagGlobals:
		if d.limits.Data || d.limits.Allow != nil {
			d.fail("it refers to the table of globals, which is not allowed here")
		}
		v = d.vm.Globals()
	default:
		d.fail("unknown tag %d", tag)
	}
	return v, -1
}

// value reads a value and gives it to put: at once, or when the userdata that it
// is has been made.
func (d *decoder) value(depth int, put func(lua.LValue)) {
	v, later := d.read(depth)
	d.deliver(v, later, put)
}

func (d *decoder) deliver(v lua.LValue, later int, put func(lua.LValue)) {
	if later < 0 {
		put(v)
	} else {
		d.await(later, put)
	}
}

func (d *decoder) await(node int, put func(lua.LValue)) {
	if d.waiting == nil {
		d.waiting = map[int][]func(lua.LValue){}
	}
	d.waiting[node] = append(d.waiting[node], put)
}

func (d *decoder) node(i, depth int) (lua.LValue, int) {
	if d.depth[i] == 0 {
		if depth > d.limits.Depth {
			d.fail("nested more than %d levels deep", d.limits.Depth)
		}
		d.depth[i] = depth
	}
	switch shell := d.shells[i].(type) {
	case lua.LValue:
		return shell, -1
	case *lua.Upvalue:
		d.fail("a captured variable is no value")
	}
	return nil, i
}

func (d *decoder) library(path string) lua.LValue {
	if d.limits.Data {
		d.fail("it refers to %s in what must be plain data", clip(path))
	}
	d.allow(Ref{Library: path})
	v, ok := d.vm.LibraryValue(d.L, path)
	if !ok {
		d.fail("there is no %q here", clip(path))
	}
	return v
}

func (d *decoder) allow(ref Ref) {
	if d.limits.Allow == nil {
		return
	}
	if err := d.limits.Allow(ref); err != nil {
		panic(bad{err})
	}
}

func (d *decoder) body(i int) {
	depth := d.depth[i] + 1
	switch shell := d.shells[i].(type) {
	case *lua.LTable:
		d.table(shell, d.sizes[i], depth)
	case *lua.LFunction:
		d.function(shell, depth)
	case *lua.Upvalue:
		d.value(depth, shell.SetValue)
	default:
		n := len(d.objects)
		d.objects = append(d.objects, object{node: i, sort: d.text(), body: lua.LNil})
		d.value(depth, func(v lua.LValue) { d.objects[n].body = v })
	}
}

func (d *decoder) table(t *lua.LTable, size tableSize, depth int) {
	for i := range size.array {
		v, later := d.read(depth)
		if later < 0 {
			t.RawSetInt(i+1, v)
			continue
		}
		t.RawSetInt(i+1, lua.LNil)
		d.await(later, func(v lua.LValue) { t.RawSetInt(i+1, v) })
	}
	for range size.pairs {
		k, laterKey := d.read(depth)
		v, later := d.read(depth)
		if laterKey < 0 && later < 0 {
			d.setField(t, k, v)
			continue
		}
		var key, value lua.LValue
		set := func() {
			if key != nil && value != nil {
				d.setField(t, key, value)
			}
		}
		d.deliver(k, laterKey, func(k lua.LValue) { key = k; set() })
		d.deliver(v, later, func(v lua.LValue) { value = v; set() })
	}
	d.value(depth, func(v lua.LValue) {
		if v == lua.LNil {
			return
		}
		if _, ok := v.(*lua.LTable); !ok {
			d.fail("a metatable that is a %s", v.Type())
		}
		if d.limits.Data {
			d.fail("there is a metatable in what must be plain data")
		}
		t.Metatable = v
	})
}

func (d *decoder) setField(t *lua.LTable, key, value lua.LValue) {
	if key == lua.LNil {
		d.fail("a key that is nil")
	}
	if value == lua.LNil {
		return
	}
	if n, ok := key.(lua.LNumber); ok {
		if math.IsNaN(float64(n)) {
			d.fail("a key that is not a number")
		}
		if n > 1 && float64(n) < float64(lua.MaxArrayIndex) && float64(n) == math.Trunc(float64(n)) {
			if holes := int(n) - t.MaxN() - 1; holes > 0 {
				if d.slots += holes; d.slots > maxSlots {
					d.fail("arrays with more than %d holes", maxSlots)
				}
			}
		}
	}
	t.RawSet(key, value)
}

func (d *decoder) function(fn *lua.LFunction, depth int) {
	c := d.chunks[d.below(len(d.chunks), "source")]
	index := d.below(len(c.Protos()), "function")
	d.allow(Ref{Chunk: c.Hash, Index: index})
	fn.Proto = c.Protos()[index]
	d.value(depth, func(v lua.LValue) {
		switch env := v.(type) {
		case *lua.LNilType:
		case *lua.LTable:
			fn.Env = env
		default:
			d.fail("an environment that is a %s", v.Type())
		}
	})
	n := d.count(1)
	if n != int(fn.Proto.NumUpvalues) {
		d.fail("%d captured variables where the source has %d", n, fn.Proto.NumUpvalues)
	}
	fn.Upvalues = make([]*lua.Upvalue, n)
	for k := range fn.Upvalues {
		i := d.below(len(d.shells), "part")
		cell, ok := d.shells[i].(*lua.Upvalue)
		if !ok {
			d.fail("part %d is no captured variable", i)
		}
		if d.depth[i] == 0 {
			d.depth[i] = depth
		}
		fn.Upvalues[k] = cell
	}
}

// makeObjects makes the userdata, the last found first: what an object is made
// of was found after it.
func (d *decoder) makeObjects() {
	kinds := kindsOf(d.vm)
	for n := len(d.objects) - 1; n >= 0; n-- {
		o := d.objects[n]
		if kinds == nil || kinds.all[o.sort].Decode == nil {
			d.fail("objects of kind %q are not known here", clip(o.sort))
		}
		v, err := kinds.all[o.sort].Decode(d.L, o.body)
		if err != nil {
			panic(bad{fmt.Errorf("%s: %w", o.sort, err)})
		}
		for _, put := range d.waiting[o.node] {
			put(v)
		}
	}
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
