package ship

import (
	"fmt"
	"sort"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

// Options say how to encode.
type Options struct {
	// To names the receiver in messages: "web-01".
	To string
	// Name is what messages call the value itself; "the value" where it is empty.
	Name string
	// Data allows plain data only: a function is an error.
	Data bool
	// MaxBytes and MaxNodes bound the parcel; 64 MB and 2 million where they are 0.
	MaxBytes int
	MaxNodes int
}

// Parcel is an encoded value.
type Parcel struct {
	Data []byte
	// Chunks are the hashes of the sources that the receiver must have loaded,
	// in order of first use. VM.Chunk finds their text.
	Chunks []string
	// Constants are the texts that appear literally in the functions sent,
	// sorted: candidates for names of files, templates, secrets and libraries.
	Constants []string
}

// Kind is how Go objects of one sort travel. Encode is asked about each
// userdata; it returns a Lua value that stands for it, or false when the object
// is of another sort. Decode makes the object of that value in the receiving VM.
// When Decode runs, functions in the value may still lack captured objects.
type Kind struct {
	Encode func(ud *lua.LUserData) (lua.LValue, bool)
	Decode func(L *lua.LState, v lua.LValue) (lua.LValue, error)
}

type kinds struct {
	names []string
	all   map[string]Kind
}

type kindsKey struct{}

// Register makes a sort of userdata able to travel from and to this VM. Call it
// while setting the VM up.
func Register(vm *engine.VM, name string, enc func(ud *lua.LUserData) (lua.LValue, bool), dec func(L *lua.LState, v lua.LValue) (lua.LValue, error)) {
	next := &kinds{all: map[string]Kind{}}
	if k := kindsOf(vm); k != nil {
		for n, kind := range k.all {
			next.all[n] = kind
		}
	}
	next.all[name] = Kind{Encode: enc, Decode: dec}
	for n := range next.all {
		next.names = append(next.names, n)
	}
	sort.Strings(next.names)
	vm.Attach(kindsKey{}, next)
}

func kindsOf(vm *engine.VM) *kinds {
	k, _ := vm.Attached(kindsKey{}).(*kinds)
	return k
}

// Named is implemented by the Go value of a userdata that wants to be named in
// the message that it cannot travel.
type Named interface{ LuaName() string }

// Encode encodes v and everything it needs, under the lock of the VM. From a Go
// function that Lua called, use EncodeIn. The error of what cannot travel names
// the captured variable: "deploy.lua:3: cannot send the local 'cfg'.db.conn to
// web-01: it is …".
func Encode(vm *engine.VM, v lua.LValue, opts Options) (p Parcel, err error) {
	vm.Do(func(L *lua.LState) { p, err = EncodeIn(L, v, opts) })
	return p, err
}

// EncodeIn is Encode for a thread that holds the lock.
func EncodeIn(L *lua.LState, v lua.LValue, opts Options) (Parcel, error) {
	if opts.MaxBytes == 0 {
		opts.MaxBytes = 64 << 20
	}
	if opts.MaxNodes == 0 {
		opts.MaxNodes = 2_000_000
	}
	if opts.Name == "" {
		opts.Name = "the value"
	}
	g := newGraph(engine.Of(L), opts)
	if err := g.collect(v); err != nil {
		return Parcel{}, err
	}
	return g.write(v)
}

// Limits bound what Decode accepts. The zero value is right for parcels of the
// controller; what a host sends is hostile and wants Data, or Allow.
type Limits struct {
	Bytes int // 64 MB where it is 0
	Nodes int // tables, functions and captured variables; 2 million where it is 0
	Depth int // of nesting; 10,000 where it is 0
	// Data accepts plain data only: no functions, library values, metatables,
	// globals and objects.
	Data bool
	// Allow, unless it is nil, is asked about each function and library value; its
	// error refuses the parcel. Globals are refused where it is set.
	Allow func(ref Ref) error
}

// Ref is a reference in a parcel: a function by the hash of its source and its
// position there, or a library value by its path.
type Ref struct {
	Chunk   string
	Index   int
	Library string
}

// MissingChunkError says which source the receiver has not loaded.
type MissingChunkError struct{ Hash string }

func (e *MissingChunkError) Error() string {
	return fmt.Sprintf("the source with hash %.12s was not loaded here", e.Hash)
}

// Decode rebuilds a value in a VM, under its lock. Globals in the parcel are
// set. From a Go function that Lua called, use DecodeIn.
func Decode(vm *engine.VM, data []byte, limits Limits) (v lua.LValue, err error) {
	vm.Do(func(L *lua.LState) { v, err = DecodeIn(L, data, limits) })
	return v, err
}

// DecodeIn is Decode for a thread that holds the lock.
func DecodeIn(L *lua.LState, data []byte, limits Limits) (lua.LValue, error) {
	if limits.Bytes == 0 {
		limits.Bytes = 64 << 20
	}
	if limits.Nodes == 0 {
		limits.Nodes = 2_000_000
	}
	if limits.Depth == 0 {
		limits.Depth = 10_000
	}
	if len(data) > limits.Bytes {
		return nil, fmt.Errorf("parcel of %d bytes: the limit is %d", len(data), limits.Bytes)
	}
	d := &decoder{L: L, vm: engine.Of(L), limits: limits, data: data}
	v, err := d.run()
	if err != nil {
		return nil, fmt.Errorf("decode a shipped value: %w", err)
	}
	return v, nil
}
