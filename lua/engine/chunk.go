package engine

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	lua "github.com/yuin/gopher-lua"
)

// Chunk is one compiled source text. Chunks are shared between the VMs of a
// process and never change.
type Chunk struct {
	Name   string // what messages show: a file name
	Hash   string // hex SHA-256 of Source
	Source []byte // as it was given
	Proto  *lua.FunctionProto

	once    sync.Once
	protos  []*lua.FunctionProto
	parents []int
	index   map[*lua.FunctionProto]int
}

// Protos returns every function of the chunk: the main one, then each nested
// one before those nested in it. The position is the function's name on other
// machines, where the same source gives the same order.
func (c *Chunk) Protos() []*lua.FunctionProto {
	c.once.Do(c.walk)
	return c.protos
}

// Index returns the position of p in Protos.
func (c *Chunk) Index(p *lua.FunctionProto) (int, bool) {
	c.once.Do(c.walk)
	i, ok := c.index[p]
	return i, ok
}

// Parent returns the position of the function around the one at position i, -1
// for the main one.
func (c *Chunk) Parent(i int) int {
	c.once.Do(c.walk)
	return c.parents[i]
}

func (c *Chunk) walk() {
	c.index = map[*lua.FunctionProto]int{}
	var visit func(p *lua.FunctionProto, parent int)
	visit = func(p *lua.FunctionProto, parent int) {
		i := len(c.protos)
		c.index[p] = i
		c.protos = append(c.protos, p)
		c.parents = append(c.parents, parent)
		for _, inner := range p.FunctionPrototypes {
			visit(inner, i)
		}
	}
	visit(c.Proto, -1)
}

// HashOf returns the name that a source text has as a chunk.
func HashOf(source []byte) string {
	sum := sha256.Sum256(source)
	return hex.EncodeToString(sum[:])
}

// Load compiles src, or finds it compiled, and makes it known to the VM, so
// that functions of it can be sent and received. name is what messages show. A
// syntax error comes back as *Error with line, column and an excerpt.
func (vm *VM) Load(name string, src []byte) (*Chunk, error) {
	return vm.load(name, src, false)
}

func (vm *VM) load(name string, src []byte, dynamic bool) (*Chunk, error) {
	if len(src) > vm.opts.MaxSource {
		return nil, &Error{File: name, Message: fmt.Sprintf("the source is too large: %d bytes, the limit is %d", len(src), vm.opts.MaxSource)}
	}
	hash := HashOf(src)
	if c := compiled.get(name, hash); c != nil {
		vm.chunks.add(c, dynamic)
		return c, nil
	}
	c, err := compileChunk(name, hash, bytes.Clone(src))
	if err != nil {
		return nil, err
	}
	compiled.put(c)
	vm.chunks.add(c, dynamic)
	return c, nil
}

// Run runs a chunk as Call runs a function.
func (vm *VM) Run(ctx context.Context, c *Chunk, args ...lua.LValue) ([]lua.LValue, error) {
	return vm.Call(ctx, vm.Function(c), args...)
}

// Function returns the main function of a chunk, in this VM's globals.
func (vm *VM) Function(c *Chunk) *lua.LFunction {
	return &lua.LFunction{Env: vm.globals, Proto: c.Proto, Upvalues: []*lua.Upvalue{}}
}

// Chunk returns the chunk with the given hash that this VM has loaded.
func (vm *VM) Chunk(hash string) (*Chunk, bool) { return vm.chunks.find(hash) }

// Chunks returns the chunks this VM has loaded, oldest first.
func (vm *VM) Chunks() []*Chunk { return vm.chunks.list() }

// Origin tells where a function was written: its chunk, and its position in the
// chunk's Protos. It fails for a function of another VM, and for one made by
// loadstring when thousands of others were made since.
func (vm *VM) Origin(p *lua.FunctionProto) (c *Chunk, index int, ok bool) {
	return vm.chunks.origin(p)
}

func compileChunk(name, hash string, src []byte) (c *Chunk, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &Error{File: name, Message: fmt.Sprintf("cannot compile: %v", r)}
		}
	}()
	tree, err := Parse(name, src)
	if err != nil {
		return nil, err
	}
	proto, err := lua.Compile(tree, name)
	if err != nil {
		return nil, syntaxError(name, src, nil, err)
	}
	return &Chunk{Name: name, Hash: hash, Source: src, Proto: proto}, nil
}

// chunkSet is what one VM has loaded.
type chunkSet struct {
	mu      sync.Mutex
	byHash  map[string]*Chunk
	order   []*Chunk
	names   map[string]bool
	dynamic []*Chunk // of loadstring, oldest first
}

// maxDynamic bounds what a loop around loadstring can pile up.
const maxDynamic = 4096

func (s *chunkSet) add(c *Chunk, dynamic bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byHash == nil {
		s.byHash = map[string]*Chunk{}
		s.names = map[string]bool{}
	}
	for _, known := range s.order {
		if known == c {
			return
		}
	}
	if dynamic {
		for _, known := range s.dynamic {
			if known == c {
				return
			}
		}
		if len(s.dynamic) == maxDynamic {
			old := s.dynamic[0]
			s.dynamic = s.dynamic[1:]
			if s.byHash[old.Hash] == old {
				delete(s.byHash, old.Hash)
			}
		}
		s.dynamic = append(s.dynamic, c)
	} else {
		s.order = append(s.order, c)
		s.names[c.Name] = true
	}
	// A file is a better name for a text than the string it was once loaded from.
	if known := s.byHash[c.Hash]; known == nil || !dynamic && !s.names[known.Name] {
		s.byHash[c.Hash] = c
	}
}

func (s *chunkSet) find(hash string) (*Chunk, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.byHash[hash]
	return c, ok
}

func (s *chunkSet) list() []*Chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Chunk, 0, len(s.order)+len(s.dynamic))
	return append(append(all, s.order...), s.dynamic...)
}

func (s *chunkSet) named(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

func (s *chunkSet) origin(p *lua.FunctionProto) (*Chunk, int, bool) {
	for _, c := range s.list() {
		if i, ok := c.Index(p); ok {
			return c, i, true
		}
	}
	return nil, 0, false
}

// compileCache keeps compiled chunks for all VMs of the process, the least
// recently used thrown out first.
type compileCache struct {
	mu    sync.Mutex
	size  int
	used  *list.List // of *Chunk, most recent first
	where map[cacheKey]*list.Element
}

type cacheKey struct{ name, hash string }

const maxCached = 32 << 20 // bytes of source

var compiled = &compileCache{used: list.New(), where: map[cacheKey]*list.Element{}}

func (cc *compileCache) get(name, hash string) *Chunk {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	e, ok := cc.where[cacheKey{name, hash}]
	if !ok {
		return nil
	}
	cc.used.MoveToFront(e)
	return e.Value.(*Chunk)
}

func (cc *compileCache) put(c *Chunk) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	key := cacheKey{c.Name, c.Hash}
	if _, ok := cc.where[key]; ok {
		return
	}
	// A compiled chunk weighs some multiple of its text, and something even
	// when the text is short.
	cc.size += len(c.Source) + 1024
	cc.where[key] = cc.used.PushFront(c)
	for cc.size > maxCached && cc.used.Len() > 1 {
		last := cc.used.Back()
		old := cc.used.Remove(last).(*Chunk)
		delete(cc.where, cacheKey{old.Name, old.Hash})
		cc.size -= len(old.Source) + 1024
	}
}
