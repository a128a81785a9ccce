package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// strand is one line of execution: a call from Go, or a goroutine of the
// script. It holds the lock while it runs Lua. Its fields are touched by the
// holder of the lock only.
type strand struct {
	vm     *VM
	name   string
	scope  *scope // nil in Do
	held   bool
	depth  int         // threads nested in one another
	exit   *Exit       // os.exit was called; no pcall stops it
	raised error       // the last Go error raised with Raise
	trace  *lua.LState // the failed thread whose xpcall handler runs now
}

type threadKey struct{}
type nameKey struct{}

// threadContext is the context of one Lua thread. The VM's main loop asks it
// before every instruction, so Done is a field.
type threadContext struct {
	context.Context
	done  <-chan struct{}
	vm    *VM
	s     *strand // nil outside the lock, in Block
	scope *scope
}

func (c *threadContext) Done() <-chan struct{} { return c.done }

func (c *threadContext) Value(k any) any {
	if _, ok := k.(threadKey); ok {
		return c
	}
	return c.Context.Value(k)
}

// WithName names what runs under ctx, for Options.Stuck and messages.
func WithName(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, nameKey{}, name)
}

func nameOf(ctx context.Context) string {
	name, _ := ctx.Value(nameKey{}).(string)
	return name
}

func (vm *VM) newThreadContext(ctx context.Context, sc *scope) *threadContext {
	s := &strand{vm: vm, name: nameOf(ctx), scope: sc}
	return &threadContext{Context: ctx, done: ctx.Done(), vm: vm, s: s, scope: sc}
}

func threadContextOf(L *lua.LState) *threadContext {
	switch ctx := L.Context().(type) {
	case *threadContext:
		return ctx
	case nil:
		return nil
	default: // somebody derived one and set it
		tc, _ := ctx.Value(threadKey{}).(*threadContext)
		return tc
	}
}

// Context returns the context of the running thread: it ends when the call
// that the thread belongs to is cancelled, times out or returns, and carries
// the values of the context that was given to Call.
func Context(L *lua.LState) context.Context {
	if ctx := L.Context(); ctx != nil {
		return ctx
	}
	return Of(L).base
}

// acquire takes the lock for s. Unless done is nil it gives up when done is
// closed, and says so.
func (vm *VM) acquire(s *strand, done <-chan struct{}) bool {
	return vm.enter(s, vm.lock.ask(), done)
}

// enter is acquire for somebody who has a place in the queue already.
func (vm *VM) enter(s *strand, place *waiter, done <-chan struct{}) bool {
	if !vm.lock.wait(place, done) {
		return false
	}
	s.held = true
	vm.holder.Store(s)
	return true
}

func (vm *VM) release(s *strand) {
	s.held = false
	vm.holder.Store(nil)
	vm.lock.unlock()
}

// Block lets the world's lock go while f blocks, and takes it again before it
// returns, even when the context has ended. f must not touch Lua values, and
// must return soon after its context ends. A Go function that Lua calls and
// that may wait for anything wraps the waiting in Block.
func Block(L *lua.LState, f func(ctx context.Context) error) error {
	tc := threadContextOf(L)
	if tc == nil || tc.s == nil || !tc.s.held {
		return f(Context(L))
	}
	// Other threads resume coroutines meanwhile.
	current := L.G.CurrentThread
	tc.vm.release(tc.s)
	defer func() {
		tc.vm.acquire(tc.s, nil)
		L.G.CurrentThread = current
	}()
	outside := *tc
	outside.Context = L.Context()
	outside.s = nil
	return f(&outside)
}

// thread returns a thread for tc, an idle one where there is one.
func (vm *VM) thread(tc context.Context) *lua.LState {
	var th *lua.LState
	if n := len(vm.free); n > 0 {
		th = vm.free[n-1]
		vm.free = vm.free[:n-1]
	} else {
		th, _ = vm.main.NewThread()
	}
	th.Panic = raisePanic
	th.Env = vm.globals
	th.SetContext(tc)
	return th
}

// reuse takes back a thread that ended without an error. One that failed keeps
// its stack: closures made on it may still look at variables there.
func (vm *VM) reuse(th *lua.LState) {
	if len(vm.free) < freeThreads && !th.Dead {
		th.SetTop(0)
		th.RemoveContext()
		vm.free = append(vm.free, th)
	}
}

// raisePanic throws the error on top of the stack. Unlike gopher-lua's own it
// builds no traceback: the stack of the failed thread stays and can be asked.
func raisePanic(L *lua.LState) {
	panic(&lua.ApiError{Type: lua.ApiErrorRun, Object: L.Get(-1)})
}

// failure is how Lua code failed: the value raised, and the thread it failed on
// with its stack as it was.
type failure struct {
	value  lua.LValue
	thread *lua.LState
	stack  string // Go's, where the error was a panic of Go code
}

// protect runs fn on a thread of its own in the strand of ctx.
//
// gopher-lua's PCall closes the upvalues of every frame below, so after a
// caught error a closure no longer shares its variables with the function that
// declared them. A thread of its own has no frames below.
func (vm *VM) protect(tc *threadContext, ctx context.Context, fn lua.LValue, args []lua.LValue) (rets []lua.LValue, failed *failure) {
	s := tc.s
	if s.depth >= maxNesting {
		return nil, &failure{value: lua.LString("stack overflow (too many nested calls of pcall, coroutines or callbacks)")}
	}
	s.depth++
	th := vm.thread(ctx)
	current := th.G.CurrentThread
	defer func() {
		s.depth--
		if r := recover(); r != nil {
			rets, failed = nil, vm.caught(th, fn, r)
			th.G.CurrentThread = current
		}
	}()
	th.Push(fn)
	for _, a := range args {
		th.Push(a)
	}
	th.Call(len(args), lua.MultRet)
	if n := th.GetTop(); n > 0 {
		rets = make([]lua.LValue, n)
		for i := range rets {
			rets[i] = th.Get(i + 1)
		}
	}
	vm.reuse(th)
	return rets, nil
}

// caught turns what was recovered on th, which ran fn, into a failure.
func (vm *VM) caught(th *lua.LState, fn lua.LValue, r any) *failure {
	switch r := r.(type) {
	case *lua.ApiError:
		f := &failure{value: r.Object, thread: th}
		if text, ok := r.Object.(lua.LString); ok && where(th, 0) == "" {
			// gopher-lua puts a space behind the place it does not know, and takes
			// a Go function at the bottom of a thread for the main chunk.
			fixed := strings.TrimPrefix(string(text), " ")
			if path, ok := vm.LibraryPath(fn); ok {
				fixed = strings.Replace(fixed, " to main chunk (", " to "+path[strings.LastIndexByte(path, '.')+1:]+" (", 1)
			}
			f.value = lua.LString(fixed)
		}
		return f
	case string:
		if r == "lua callstack overflow" {
			return &failure{value: lua.LString(where(th, 0) + "stack overflow (more than " + itoa(maxFrames) + " calls inside one another)"), thread: th}
		}
	case rethrown:
		return r.failure
	}
	return &failure{value: lua.LString(fmt.Sprintf("%sinternal error: %v", where(th, 0), r)), thread: th, stack: string(debug.Stack())}
}

// rethrown carries a failure through the frames of an outer thread.
type rethrown struct{ *failure }

// Call runs fn with args on a new thread under the lock and returns what it
// returned. A Lua error comes back as *Error; when ctx ended first, the error
// wraps its cause. Goroutines that fn started are awaited for Options.Linger,
// or cancelled when fn failed, before Call returns.
//
// From a Go function that Lua called, ctx must be Context(L) or derived from
// it: the call then runs inside the caller's turn.
func (vm *VM) Call(ctx context.Context, fn *lua.LFunction, args ...lua.LValue) ([]lua.LValue, error) {
	outer, _ := ctx.Value(threadKey{}).(*threadContext)
	sc, err := vm.newScope(ctx)
	if err != nil {
		return nil, err
	}
	defer sc.close()
	tc := vm.newThreadContext(sc.ctx, sc)
	if tc.s.name == "" {
		tc.s.name = FunctionName(fn)
	}
	if outer != nil && outer.vm == vm && outer.s != nil && outer.s.held {
		name := tc.s.name
		tc.s = outer.s
		defer vm.watch(tc, name)()
		rets, failed := vm.protect(tc, tc, fn, args)
		return vm.finish(tc, rets, failed)
	}
	if !vm.acquire(tc.s, tc.done) {
		return nil, vm.interrupted(tc, nil)
	}
	defer vm.release(tc.s)
	defer vm.watch(tc, tc.s.name)()
	rets, failed := vm.protect(tc, tc, fn, args)
	return vm.finish(tc, rets, failed)
}

// Try runs fn inside the turn of the Go function that was given L, as pcall
// does. Use it instead of L.PCall, which cuts closures from their variables
// when it catches an error.
func Try(L *lua.LState, fn lua.LValue, args ...lua.LValue) ([]lua.LValue, error) {
	tc := threadContextOf(L)
	vm := Of(L)
	if tc == nil || tc.s == nil {
		tc = vm.newThreadContext(vm.base, nil)
	}
	rets, failed := vm.protect(tc, contextFor(L, tc), fn, args)
	if failed != nil {
		if tc.s.exit != nil {
			panic(rethrown{failed})
		}
		return nil, vm.newError(tc, failed)
	}
	return rets, nil
}

// contextFor is the context that threads started from L get.
func contextFor(L *lua.LState, tc *threadContext) context.Context {
	if ctx := L.Context(); ctx != nil {
		return ctx
	}
	return tc
}

// finish ends the goroutines of a call and makes its error.
func (vm *VM) finish(tc *threadContext, rets []lua.LValue, failed *failure) ([]lua.LValue, error) {
	tc.scope.endChildren(tc, failed == nil)
	if failed == nil {
		return rets, nil
	}
	return nil, vm.newError(tc, failed)
}

// FunctionName names a function in messages: the file and line it begins at.
func FunctionName(fn *lua.LFunction) string {
	if fn == nil || fn.Proto == nil {
		return "a Go function"
	}
	return fmt.Sprintf("%s:%d", fn.Proto.SourceName, fn.Proto.LineDefined)
}
