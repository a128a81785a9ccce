package engine

import (
	"context"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Limits of the Lua world that have no option: they guard the process, which
// cannot recover from running out of memory or of Go stack.
const (
	maxFrames    = 4096    // Lua calls on one thread
	maxRegistry  = 1 << 18 // values on one thread's stack, 4 MB
	maxNesting   = 190     // pcall, coroutines and callbacks inside one another, as LUAI_MAXCCALLS
	maxArraySlot = 1 << 23 // a higher integer key is kept in the hash part
	freeThreads  = 8       // finished threads kept for reuse
)

func init() {
	// t[60000000] = 1 fills the array part up to that slot. gopher-lua allows
	// 1 GB for it.
	lua.MaxArrayIndex = maxArraySlot
}

// Options say what surrounds a VM. The zero value is a plain Lua with the
// process's own output, environment and folder.
type Options struct {
	// Print receives what print() writes, one line without its newline. Nil
	// writes to Output.
	Print func(ctx context.Context, line string)
	// Output receives what io.write and the commands of os.execute write; stream
	// is "stdout" or "stderr". Nil writes to the process's own.
	Output func(ctx context.Context, stream string, data []byte)
	// Stdin is what io.read reads. Nil is an empty input.
	Stdin io.Reader
	// Require finds the source of require(name), dofile(path) and loadfile(path);
	// path is what messages show. Nil looks in Dir and its lua folder.
	Require func(ctx context.Context, name string) (source []byte, path string, err error)
	// Env returns variables ("K=v") over those of the process, for os.getenv and
	// commands.
	Env func(ctx context.Context) []string
	// Dir returns the base of relative paths and the folder of commands. Nil or
	// an empty answer is the folder of the process.
	Dir func(ctx context.Context) string
	// Effects is asked before a call of the standard libraries changes anything
	// outside the VM. Nil lets all of them happen.
	Effects Effects
	// Log receives what nobody waits for: the error of a spawned function, a
	// goroutine that was stopped because its task ended. Nil writes to Output's
	// stderr.
	Log func(ctx context.Context, level, message string)
	// Stuck is told the name of a task that still holds the lock, or a goroutine
	// that has not ended, StuckAfter after its context was. It may end the
	// process. Nil does nothing.
	Stuck func(name string)
	// StuckAfter is 5 s where it is 0.
	StuckAfter time.Duration
	// Linger is how long goroutines may go on after the call that started them
	// returned; then they are cancelled. 10 s where it is 0.
	Linger time.Duration
	// MaxSource caps one source text, in bytes; 4 MB where it is 0.
	MaxSource int
	// MaxString caps what string.rep, table.concat, string.format, gsub and
	// file:read("*a") may build, in bytes; 64 MB where it is 0.
	MaxString int
	// MaxSteps caps the work of one pattern match, in single comparisons; 500
	// million, some seconds, where it is 0.
	MaxSteps int
	// MaxMemory ends the running Lua code when the process's heap is larger, in
	// bytes. 0 is no limit.
	MaxMemory uint64
}

// VM is one Lua world. Its methods may be called from any goroutine; they take
// the world's lock where they need it. A Go function that Lua called must not
// call Do, and must pass Context(L) to Call, or it waits for itself.
type VM struct {
	opts Options
	main *lua.LState
	lock worldLock
	// holder is the strand that runs Lua now.
	holder atomic.Pointer[strand]

	// Guarded by the lock.
	free     []*lua.LState
	globals  *lua.LTable
	lazy     map[string]*lazyGlobal
	pristine *pristine
	loaded   *lua.LTable // package.loaded
	setenv   map[string]string
	resumed  map[*lua.LState]bool // coroutines that run or wait for another
	chunks   chunkSet

	files fileSet
	base  *lifetime

	mu     sync.Mutex
	scopes map[*scope]struct{} // calls under way, for Close
	closed bool
	memory *memoryWatch

	attached sync.Map
}

// Attach keeps a value with the VM under a key of the caller's own type, for
// packages that install something in it.
func (vm *VM) Attach(key, value any) { vm.attached.Store(key, value) }

// Attached returns what was attached under key, or nil.
func (vm *VM) Attached(key any) any {
	v, _ := vm.attached.Load(key)
	return v
}

// registryKey names the VM in gopher-lua's registry table, which no Lua code
// can reach.
const registryKey = "sloth.vm"

// New makes a VM with its libraries. It cannot fail; Close frees it.
func New(opts Options) *VM {
	if opts.StuckAfter == 0 {
		opts.StuckAfter = 5 * time.Second
	}
	if opts.Linger == 0 {
		opts.Linger = 10 * time.Second
	}
	if opts.MaxSource == 0 {
		opts.MaxSource = 4 << 20
	}
	if opts.MaxString == 0 {
		opts.MaxString = 64 << 20
	}
	if opts.MaxSteps == 0 {
		opts.MaxSteps = 500_000_000
	}
	vm := &VM{
		opts: opts,
		main: lua.NewState(lua.Options{
			SkipOpenLibs:        true,
			CallStackSize:       maxFrames,
			MinimizeStackMemory: true,
			RegistrySize:        128,
			RegistryMaxSize:     maxRegistry,
			RegistryGrowStep:    1024,
		}),
		lazy:    map[string]*lazyGlobal{},
		resumed: map[*lua.LState]bool{},
		scopes:  map[*scope]struct{}{},
		base:    &lifetime{done: make(chan struct{})},
	}
	vm.globals = vm.main.G.Global
	// gopher-lua takes the first state that runs anything for the main thread.
	vm.main.G.MainThread = vm.main
	vm.main.G.CurrentThread = vm.main
	ud := &lua.LUserData{Value: vm, Metatable: lua.LNil}
	vm.main.G.Registry.RawSetString(registryKey, ud)
	vm.openBase()
	vm.openLibraries()
	vm.startMemoryWatch()
	return vm
}

// Close cancels what still runs, waits for it, and closes open files. The VM
// is of no use afterwards. It waits at most StuckAfter for each call.
func (vm *VM) Close() error {
	vm.mu.Lock()
	if vm.closed {
		vm.mu.Unlock()
		return nil
	}
	vm.closed = true
	running := make([]*scope, 0, len(vm.scopes))
	for sc := range vm.scopes {
		running = append(running, sc)
	}
	vm.mu.Unlock()
	vm.base.end()
	for _, sc := range running {
		sc.cancel(ErrClosed)
	}
	for _, sc := range running {
		waitFor(sc.over, vm.opts.StuckAfter)
	}
	vm.stopMemoryWatch()
	return vm.files.closeAll()
}

// Do runs f under the lock, with a thread to make values on. Errors that f
// raises through L are Go panics. It is for setting up from outside; a function
// that Lua called has its L already.
func (vm *VM) Do(f func(L *lua.LState)) {
	tc := vm.newThreadContext(vm.base, nil)
	vm.acquire(tc.s, nil)
	defer vm.release(tc.s)
	th := vm.thread(tc)
	f(th)
	vm.reuse(th)
}

// SetGlobal sets a global under the lock.
func (vm *VM) SetGlobal(name string, v lua.LValue) {
	vm.Do(func(*lua.LState) { vm.globals.RawSetString(name, v) })
}

// Options returns the options the VM was made with, defaults filled in.
func (vm *VM) Options() Options { return vm.opts }

// Globals returns the table of globals. Touch it under the lock only.
func (vm *VM) Globals() *lua.LTable { return vm.globals }

// Of returns the VM that L belongs to.
func Of(L *lua.LState) *VM {
	if tc := threadContextOf(L); tc != nil {
		return tc.vm
	}
	ud, ok := L.G.Registry.RawGetString(registryKey).(*lua.LUserData)
	if !ok {
		return nil
	}
	vm, _ := ud.Value.(*VM)
	return vm
}

func (vm *VM) output(ctx context.Context, stream string, data []byte) {
	switch {
	case vm.opts.Output != nil:
		vm.opts.Output(ctx, stream, data)
	case stream == "stderr":
		_, _ = os.Stderr.Write(data)
	default:
		_, _ = os.Stdout.Write(data)
	}
}

func (vm *VM) print(ctx context.Context, line string) {
	if vm.opts.Print != nil {
		vm.opts.Print(ctx, line)
		return
	}
	vm.output(ctx, "stdout", []byte(line+"\n"))
}

// Log sends a message to Options.Log.
func (vm *VM) Log(ctx context.Context, level, message string) {
	if vm.opts.Log != nil {
		vm.opts.Log(ctx, level, message)
		return
	}
	vm.output(ctx, "stderr", []byte(level+": "+message+"\n"))
}

// lifetime is the context of a VM that no call surrounds. It ends with Close.
type lifetime struct {
	once sync.Once
	done chan struct{}
}

func (l *lifetime) end()                        { l.once.Do(func() { close(l.done) }) }
func (l *lifetime) Deadline() (time.Time, bool) { return time.Time{}, false }
func (l *lifetime) Done() <-chan struct{}       { return l.done }
func (l *lifetime) Value(any) any               { return nil }
func (l *lifetime) Err() error {
	select {
	case <-l.done:
		return context.Canceled
	default:
		return nil
	}
}

// waitFor waits for c to be closed, at most d.
func waitFor(c <-chan struct{}, d time.Duration) bool {
	select {
	case <-c:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
