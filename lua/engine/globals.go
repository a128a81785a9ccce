package engine

import (
	"slices"
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// lazyGlobal is a global that is made at its first use.
type lazyGlobal struct {
	load   func(L *lua.LState) lua.LValue
	value  lua.LValue
	loaded bool
}

// Lazy registers a global that load makes at its first use; require(name)
// returns the very same value. Register before any code runs; a later
// registration of the same name replaces the first.
func (vm *VM) Lazy(name string, load func(L *lua.LState) lua.LValue) {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	vm.lazy[name] = &lazyGlobal{load: load}
}

// Alias makes a second name of a lazy global.
func (vm *VM) Alias(alias, name string) {
	vm.Lazy(alias, func(L *lua.LState) lua.LValue {
		v, _ := vm.lazyValue(L, name)
		return v
	})
}

// lazyValue returns the value of a lazy global, making it where needed. L's
// thread holds the lock.
func (vm *VM) lazyValue(L *lua.LState, name string) (lua.LValue, bool) {
	vm.mu.Lock()
	g := vm.lazy[name]
	vm.mu.Unlock()
	if g == nil {
		return lua.LNil, false
	}
	if !g.loaded {
		v := g.load(L)
		if v == nil {
			v = lua.LNil
		}
		if g.loaded { // load asked for itself through another name
			return g.value, true
		}
		g.value, g.loaded = v, true
		vm.pristine.remember(name, v)
		if vm.globals.RawGetString(name) == lua.LNil {
			vm.globals.RawSetString(name, v)
		}
	}
	return g.value, true
}

// Global returns a global, making it where it is lazy.
func (vm *VM) Global(L *lua.LState, name string) lua.LValue {
	if v := vm.globals.RawGetString(name); v != lua.LNil {
		return v
	}
	v, _ := vm.lazyValue(L, name)
	return v
}

// Names returns the names of all globals, lazy ones too, sorted.
func (vm *VM) Names() []string {
	seen := map[string]bool{}
	vm.mu.Lock()
	for name := range vm.lazy {
		seen[name] = true
	}
	vm.mu.Unlock()
	vm.globals.ForEach(func(k, _ lua.LValue) {
		if s, ok := k.(lua.LString); ok {
			seen[string(s)] = true
		}
	})
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// loadAll makes every lazy global, before something looks at all of them.
func (vm *VM) loadAll(L *lua.LState) {
	for _, name := range vm.Names() {
		vm.lazyValue(L, name)
	}
}

// indexGlobal is the __index of the globals table.
func (vm *VM) indexGlobal(L *lua.LState) int {
	name, ok := L.Get(2).(lua.LString)
	if !ok {
		return 0
	}
	v, ok := vm.lazyValue(L, string(name))
	if !ok {
		return 0
	}
	L.Push(v)
	return 1
}

// pristine is what the globals were before any script ran.
type pristine struct {
	globals map[string]lua.LValue
	// tables holds the contents of library tables as they were.
	tables map[*lua.LTable]map[string]lua.LValue
	// paths names what can be reached from the globals: "string.format". It is
	// made when somebody asks, and again when a lazy global was made since.
	paths map[lua.LValue]string
}

// maxLibraryDepth is how many tables deep a library value can lie.
const maxLibraryDepth = 4

// Pristine records the globals as those of every machine: they travel by name,
// and only what a script changes since travels by value. New calls it; call it
// again under no lock after installing more, and before any script runs.
func (vm *VM) Pristine() {
	vm.Do(func(*lua.LState) { vm.recordPristine() })
}

func (vm *VM) recordPristine() {
	p := &pristine{globals: map[string]lua.LValue{}, tables: map[*lua.LTable]map[string]lua.LValue{}}
	vm.globals.ForEach(func(k, v lua.LValue) {
		if name, ok := k.(lua.LString); ok && v != vm.globals && v != vm.loaded {
			p.remember(string(name), v)
		}
	})
	vm.mu.Lock()
	defer vm.mu.Unlock()
	for name, g := range vm.lazy {
		if g.loaded {
			p.remember(name, g.value)
		}
	}
	vm.pristine = p
}

func (p *pristine) remember(name string, v lua.LValue) {
	p.globals[name] = v
	p.paths = nil
	p.snapshot(v, maxLibraryDepth)
}

func (p *pristine) snapshot(v lua.LValue, depth int) {
	t, ok := v.(*lua.LTable)
	if !ok || depth == 0 || p.tables[t] != nil {
		return
	}
	content := map[string]lua.LValue{}
	p.tables[t] = content
	t.ForEach(func(k, v lua.LValue) {
		if name, ok := k.(lua.LString); ok {
			content[string(name)] = v
			p.snapshot(v, depth-1)
		}
	})
}

// LibraryPath returns the name under which every machine has the value, such as
// "string.format": a function, a userdata or a table with functions that could
// be reached from the globals when Pristine recorded them.
func (vm *VM) LibraryPath(v lua.LValue) (string, bool) {
	p := vm.pristine
	if p.paths == nil {
		p.paths = map[lua.LValue]string{}
		for _, name := range sortedKeys(p.globals) {
			p.name(name, p.globals[name], maxLibraryDepth)
		}
	}
	path, ok := p.paths[v]
	return path, ok
}

func (p *pristine) name(path string, v lua.LValue, depth int) {
	switch v := v.(type) {
	case *lua.LFunction, *lua.LUserData:
		if _, known := p.paths[v]; !known {
			p.paths[v] = path
		}
	case *lua.LTable:
		if _, known := p.paths[v]; known || !p.code(v, depth) {
			return
		}
		p.paths[v] = path
		content := p.tables[v]
		for _, key := range sortedKeys(content) {
			p.name(path+"."+key, content[key], depth-1)
		}
	}
}

// code reports whether a table is a library: it holds functions or objects, or
// has a metatable. A table of plain data travels by value.
func (p *pristine) code(t *lua.LTable, depth int) bool {
	if depth == 0 {
		return false
	}
	if t.Metatable != lua.LNil {
		return true
	}
	for _, v := range p.tables[t] {
		switch v := v.(type) {
		case *lua.LFunction, *lua.LUserData:
			return true
		case *lua.LTable:
			if v != t && p.code(v, depth-1) {
				return true
			}
		}
	}
	return false
}

// LibraryValue is the inverse of LibraryPath. L's thread holds the lock.
func (vm *VM) LibraryValue(L *lua.LState, path string) (lua.LValue, bool) {
	keys := strings.Split(path, ".")
	if len(keys) > maxLibraryDepth+1 {
		return nil, false
	}
	vm.lazyValue(L, keys[0])
	v, ok := vm.pristine.globals[keys[0]]
	for _, key := range keys[1:] {
		t, isTable := v.(*lua.LTable)
		if !ok || !isTable {
			return nil, false
		}
		v, ok = vm.pristine.tables[t][key]
	}
	return v, ok
}

// IsLibrary reports whether every machine has a global of this name.
func (vm *VM) IsLibrary(name string) bool {
	vm.mu.Lock()
	_, lazy := vm.lazy[name]
	vm.mu.Unlock()
	_, known := vm.pristine.globals[name]
	return lazy || known
}

// ChangedGlobal returns the value of a global that differs from what Pristine
// recorded; LNil for one that was removed.
func (vm *VM) ChangedGlobal(name string) (lua.LValue, bool) {
	v := vm.globals.RawGetString(name)
	old, had := vm.pristine.globals[name]
	if v == lua.LNil {
		vm.mu.Lock()
		_, lazy := vm.lazy[name]
		vm.mu.Unlock()
		return v, had && !lazy && old != lua.LNil
	}
	if v == vm.globals {
		return v, name != "_G"
	}
	return v, !had || old != v
}

// ChangedGlobals names all globals for which ChangedGlobal has a value, sorted.
func (vm *VM) ChangedGlobals() []string {
	candidates := vm.Names()
	for name := range vm.pristine.globals {
		if vm.globals.RawGetString(name) == lua.LNil {
			candidates = append(candidates, name) // perhaps removed
		}
	}
	slices.Sort(candidates)
	var names []string
	for _, name := range slices.Compact(candidates) {
		if _, changed := vm.ChangedGlobal(name); changed {
			names = append(names, name)
		}
	}
	return names
}

// Patch is a field of a library table that a script has set.
type Patch struct {
	Table string // path of the table
	Key   string
	Value lua.LValue // LNil: removed
}

// Patches returns what scripts changed in library tables, such as a helper
// added to string, sorted by path and key.
func (vm *VM) Patches() []Patch {
	var all []Patch
	for t, content := range vm.pristine.tables {
		path, ok := vm.LibraryPath(t)
		if !ok {
			continue
		}
		t.ForEach(func(k, v lua.LValue) {
			if key, ok := k.(lua.LString); ok && content[string(key)] != v {
				all = append(all, Patch{path, string(key), v})
			}
		})
		for key := range content {
			if t.RawGetString(key) == lua.LNil {
				all = append(all, Patch{path, key, lua.LNil})
			}
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].Table != all[j].Table {
			return all[i].Table < all[j].Table
		}
		return all[i].Key < all[j].Key
	})
	return all
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
