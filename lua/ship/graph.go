package ship

import (
	"fmt"
	"math"
	"slices"
	"sort"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

// graph is everything that must travel with a value, found before a byte is
// written.
type graph struct {
	vm    *engine.VM
	kinds *kinds
	opts  Options

	nodes []node
	ids   map[any]int // *LTable, *LFunction, *Upvalue, *LUserData -> position
	done  int         // nodes before it have been looked into

	chunks  []*engine.Chunk
	chunkID map[*engine.Chunk]int
	// protos are those scanned for globals, also in order.
	protos  map[*lua.FunctionProto]bool
	scanned []*lua.FunctionProto
	// constants are the strings in the functions, and where one is.
	constants map[string]bool
	dynamic   bool // a function may reach any global by a computed name

	wanted  []use // globals that functions name, in order of discovery
	asked   map[string]bool
	globals []global
	patches []engine.Patch
	patched map[string]bool
}

// node is a thing with identity.
type node struct {
	kind  int
	value any
	from  edge

	array []lua.LValue // of a table
	pairs []pair

	chunk, index int // of a function

	sort string // kind and content of a userdata
	body lua.LValue
}

type pair struct{ key, value lua.LValue }

// use is where a function names a global.
type use struct {
	name string
	fn   *lua.LFunction
	line int
}

type global struct {
	name  string
	value lua.LValue
}

// edge is how a node was first reached, for the path in messages.
type edge struct {
	parent int // position of a node; -1 for the root, a global or a patch
	step   step
	key    lua.LValue
	name   string // of a variable
	fn     *lua.LFunction
	line   int
}

type step int

const (
	stepRoot step = iota
	stepField
	stepKey
	stepMeta
	stepCaptured
	stepCell
	stepEnv
	stepGlobal
	stepPatch
	stepBody
)

func newGraph(vm *engine.VM, opts Options) *graph {
	return &graph{
		vm: vm, kinds: kindsOf(vm), opts: opts,
		ids: map[any]int{}, chunkID: map[*engine.Chunk]int{},
		protos: map[*lua.FunctionProto]bool{}, constants: map[string]bool{},
		asked: map[string]bool{}, patched: map[string]bool{},
	}
}

// collect finds what v needs: the graph of values first, then the globals that
// its functions name, and what those need, until nothing is new.
func (g *graph) collect(v lua.LValue) error {
	if err := g.reach(v, edge{parent: -1, step: stepRoot}); err != nil {
		return err
	}
	for {
		if err := g.drain(); err != nil {
			return err
		}
		more, err := g.nextGlobals()
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

func (g *graph) drain() error {
	for ; g.done < len(g.nodes); g.done++ {
		if err := g.look(g.done); err != nil {
			return err
		}
	}
	return nil
}

// nextGlobals adds the changed globals and library fields that functions found
// so far use. It reports whether there were new ones.
func (g *graph) nextGlobals() (more bool, err error) {
	for len(g.wanted) > 0 {
		u := g.wanted[0]
		g.wanted = g.wanted[1:]
		v, changed := g.vm.ChangedGlobal(u.name)
		if !changed {
			continue
		}
		g.globals = append(g.globals, global{u.name, v})
		if err := g.reach(v, edge{parent: -1, step: stepGlobal, name: u.name, fn: u.fn, line: u.line}); err != nil {
			return false, err
		}
		more = true
	}
	if len(g.protos) == 0 {
		return more, nil
	}
	if g.dynamic {
		more = g.anyGlobals() || more
	}
	for _, p := range g.vm.Patches() {
		name := p.Table + "." + p.Key
		if g.patched[name] || !g.constants[p.Key] && !g.dynamic {
			continue
		}
		g.patched[name] = true
		if !g.constants[p.Key] {
			if !g.try(p.Value, edge{parent: -1, step: stepPatch, name: name}) {
				continue
			}
		} else if err := g.reach(p.Value, edge{parent: -1, step: stepPatch, name: name}); err != nil {
			return false, err
		}
		g.patches = append(g.patches, p)
		more = true
	}
	return more, nil
}

// anyGlobals adds every changed global that can travel, for functions that may
// reach them by a computed name.
func (g *graph) anyGlobals() (more bool) {
	for _, name := range g.vm.ChangedGlobals() {
		if g.asked[name] {
			continue
		}
		g.asked[name] = true
		v, _ := g.vm.ChangedGlobal(name)
		if g.try(v, edge{parent: -1, step: stepGlobal, name: name}) {
			g.globals = append(g.globals, global{name, v})
			more = true
		}
	}
	return more
}

// try adds v with all it needs, or nothing when some of it cannot travel.
func (g *graph) try(v lua.LValue, from edge) bool {
	before, wanted, chunks, scanned := len(g.nodes), len(g.wanted), len(g.chunks), len(g.scanned)
	err := g.reach(v, from)
	if err == nil {
		err = g.drain()
	}
	if err == nil {
		return true
	}
	for _, n := range g.nodes[before:] {
		delete(g.ids, n.value)
	}
	for _, p := range g.scanned[scanned:] {
		delete(g.protos, p)
	}
	for _, u := range g.wanted[wanted:] {
		delete(g.asked, u.name)
	}
	for _, c := range g.chunks[chunks:] {
		delete(g.chunkID, c)
	}
	g.nodes, g.done = g.nodes[:before], before
	g.wanted, g.chunks, g.scanned = g.wanted[:wanted], g.chunks[:chunks], g.scanned[:scanned]
	return false
}

// reach makes v known; it refuses what cannot travel.
func (g *graph) reach(v lua.LValue, from edge) error {
	switch v := v.(type) {
	case nil, *lua.LNilType, lua.LBool, lua.LNumber, lua.LString:
		return nil
	case *lua.LTable:
		if v == g.vm.Globals() {
			g.dynamic = true
			return g.dataOnly(from, "it is the table of globals")
		}
		if _, ok := g.vm.LibraryPath(v); ok {
			return g.dataOnly(from, "it is a library")
		}
		return g.add(kindTable, v, from)
	case *lua.LFunction:
		if err := g.dataOnly(from, "it is a function"); err != nil {
			return err
		}
		if _, ok := g.vm.LibraryPath(v); ok {
			return nil
		}
		if v.IsG {
			return g.refuse(from, "it is a Go function, which lives on the controller only")
		}
		return g.add(kindFunction, v, from)
	case *lua.LUserData:
		if _, ok := g.vm.LibraryPath(v); ok {
			return g.dataOnly(from, "it is a library")
		}
		if g.kinds != nil && !g.opts.Data {
			for _, name := range g.kinds.names {
				if _, ok := g.kinds.all[name].Encode(v); ok {
					return g.add(kindUserdata, v, from)
				}
			}
		}
		what := "a userdata"
		if named, ok := v.Value.(Named); ok {
			what += " (" + named.LuaName() + ")"
		}
		return g.refuse(from, "it is "+what+", which lives on the controller only")
	case *lua.LState:
		return g.refuse(from, "it is a coroutine, which cannot leave the machine it was made on")
	case lua.LChannel:
		return g.refuse(from, "it is a channel, which cannot leave the machine it was made on")
	default:
		return g.refuse(from, "it is a "+v.Type().String())
	}
}

func (g *graph) dataOnly(from edge, what string) error {
	if g.opts.Data {
		return g.refuse(from, what+", and only plain data can be sent here")
	}
	return nil
}

func (g *graph) add(kind int, v any, from edge) error {
	if _, known := g.ids[v]; known {
		return nil
	}
	if len(g.nodes) == g.opts.MaxNodes {
		return g.refuse(from, fmt.Sprintf("there are more than %d tables and functions in it", g.opts.MaxNodes))
	}
	g.ids[v] = len(g.nodes)
	g.nodes = append(g.nodes, node{kind: kind, value: v, from: from})
	return nil
}

// look reaches what node i refers to.
func (g *graph) look(i int) error {
	switch v := g.nodes[i].value.(type) {
	case *lua.LTable:
		return g.lookTable(i, v)
	case *lua.LFunction:
		return g.lookFunction(i, v)
	case *lua.Upvalue:
		return g.reach(v.Value(), edge{parent: i, step: stepCell})
	case *lua.LUserData:
		for _, name := range g.kinds.names {
			if body, ok := g.kinds.all[name].Encode(v); ok {
				g.nodes[i].sort, g.nodes[i].body = name, body
				return g.reach(body, edge{parent: i, step: stepBody})
			}
		}
	}
	return nil
}

func (g *graph) lookTable(i int, t *lua.LTable) error {
	array, pairs := contents(t)
	g.nodes[i].array, g.nodes[i].pairs = array, pairs
	for k, v := range array {
		if isRef(v) {
			if err := g.reach(v, edge{parent: i, step: stepField, key: lua.LNumber(k + 1)}); err != nil {
				return err
			}
		}
	}
	for _, p := range pairs {
		if isRef(p.key) {
			if err := g.reach(p.key, edge{parent: i, step: stepKey, key: p.key}); err != nil {
				return err
			}
		}
		if isRef(p.value) {
			if err := g.reach(p.value, edge{parent: i, step: stepField, key: p.key}); err != nil {
				return err
			}
		}
	}
	if mt := g.metatable(t); mt != lua.LNil {
		if err := g.dataOnly(g.nodes[i].from, "it is a table with a metatable"); err != nil {
			return err
		}
		return g.reach(mt, edge{parent: i, step: stepMeta})
	}
	return nil
}

// metatable is what travels with t. Where only data may, one that merely lends
// a module's functions as methods stays behind.
func (g *graph) metatable(t *lua.LTable) lua.LValue {
	if t.Metatable == nil {
		return lua.LNil
	}
	if mt, ok := t.Metatable.(*lua.LTable); ok && g.opts.Data && mt.RawGetString(engine.MethodsOnly) == lua.LTrue {
		return lua.LNil
	}
	return t.Metatable
}

func (g *graph) lookFunction(i int, fn *lua.LFunction) error {
	c, index, ok := g.vm.Origin(fn.Proto)
	if !ok {
		return g.refuse(g.nodes[i].from, "it is a function whose source is not known any more (it was made by loadstring)")
	}
	if _, known := g.chunkID[c]; !known {
		g.chunkID[c] = len(g.chunks)
		g.chunks = append(g.chunks, c)
	}
	g.nodes[i].chunk, g.nodes[i].index = g.chunkID[c], index
	if fn.Env != g.vm.Globals() {
		if err := g.reach(fn.Env, edge{parent: i, step: stepEnv, fn: fn}); err != nil {
			return err
		}
	}
	for n, cell := range fn.Upvalues {
		from := edge{parent: i, step: stepCaptured, fn: fn, line: upvalueLine(fn.Proto, n)}
		if n < len(fn.Proto.DbgUpvalues) {
			from.name = fn.Proto.DbgUpvalues[n]
		}
		if err := g.add(kindCell, cell, from); err != nil {
			return err
		}
	}
	g.scan(fn, fn.Proto)
	return nil
}

func isRef(v lua.LValue) bool {
	switch v.(type) {
	case nil, *lua.LNilType, lua.LBool, lua.LNumber, lua.LString:
		return false
	}
	return true
}

// contents returns a table's fields in an order that depends on them alone: the
// array part, then the other keys by type and value. Keys that are objects come
// last, in order of insertion.
func contents(t *lua.LTable) (array []lua.LValue, pairs []pair) {
	n, filled := t.MaxN(), 0
	for i := 1; i <= n; i++ {
		if v := t.RawGetInt(i); v != nil && v != lua.LNil {
			filled++
		}
	}
	if n > 2*filled+16 {
		n = 0 // mostly holes
	}
	if n > 0 {
		array = make([]lua.LValue, n)
		for i := range array {
			array[i] = t.RawGetInt(i + 1)
		}
	}
	objects := false
	t.ForEach(func(k, v lua.LValue) {
		if i, ok := k.(lua.LNumber); ok && i >= 1 && float64(i) <= float64(n) && float64(i) == math.Trunc(float64(i)) {
			return
		}
		if isRef(k) {
			objects = true
			return
		}
		pairs = append(pairs, pair{k, v})
	})
	sort.Slice(pairs, func(i, j int) bool { return keyLess(pairs[i].key, pairs[j].key) })
	if objects {
		for k, v := t.Next(lua.LNil); k != lua.LNil; k, v = t.Next(k) {
			if isRef(k) {
				pairs = append(pairs, pair{k, v})
			}
		}
	}
	return array, pairs
}

func keyLess(a, b lua.LValue) bool {
	if ta, tb := a.Type(), b.Type(); ta != tb {
		return ta < tb
	}
	switch a := a.(type) {
	case lua.LNumber:
		return a < b.(lua.LNumber)
	case lua.LString:
		return a < b.(lua.LString)
	case lua.LBool:
		return !bool(a) && bool(b.(lua.LBool))
	}
	return false
}

func (g *graph) constantList() []string {
	all := make([]string, 0, len(g.constants))
	for s := range g.constants {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}
