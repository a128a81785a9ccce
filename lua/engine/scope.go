package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// ErrClosed is the cause when a VM was closed while Lua code ran.
var ErrClosed = errors.New("the Lua world was closed")

// errReturned is the cause of a goroutine's end when its call is over.
var errReturned = errors.New("the task that started it has ended")

// scope is one Call: its context, and the goroutines started in it.
type scope struct {
	vm     *VM
	ctx    context.Context
	cancel context.CancelCauseFunc
	over   chan struct{}

	mu       sync.Mutex
	children map[*Child]struct{}
	ended    bool
}

func (vm *VM) newScope(ctx context.Context) (*scope, error) {
	sc := &scope{vm: vm, over: make(chan struct{})}
	sc.ctx, sc.cancel = context.WithCancelCause(ctx)
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.closed {
		sc.cancel(ErrClosed)
		return nil, ErrClosed
	}
	vm.scopes[sc] = struct{}{}
	return sc, nil
}

func (sc *scope) close() {
	sc.cancel(errReturned)
	sc.vm.mu.Lock()
	delete(sc.vm.scopes, sc)
	sc.vm.mu.Unlock()
	close(sc.over)
}

// Child is a function that runs beside the one that started it.
type Child struct {
	name   string
	cancel context.CancelCauseFunc
	done   chan struct{}
	rets   []lua.LValue
	err    error

	mu    sync.Mutex
	over  bool
	atEnd []func()
}

// Ended reports whether Result is there.
func (c *Child) Ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// OnEnd calls f when the function has ended, however it did, and before Done is
// closed; at once where it has ended already. f runs without the VM's lock.
func (c *Child) OnEnd(f func()) {
	c.mu.Lock()
	if !c.over {
		c.atEnd = append(c.atEnd, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f()
}

func (c *Child) end() {
	c.mu.Lock()
	c.over = true
	hooks := c.atEnd
	c.mu.Unlock()
	for _, f := range hooks {
		f()
	}
	close(c.done)
}

// Done is closed when the function has returned or failed.
func (c *Child) Done() <-chan struct{} { return c.done }

// Result returns what the function returned. Call it when it has ended, under
// the lock.
func (c *Child) Result() ([]lua.LValue, error) { return c.rets, c.err }

// Name is where the function was written, for messages.
func (c *Child) Name() string { return c.name }

// Cancel ends the function's thread, for the given reason.
func (c *Child) Cancel(cause error) { c.cancel(cause) }

// maxChildren is how many goroutines one call may have at a time.
const maxChildren = 10_000

// Spawn starts fn on a thread and a goroutine of its own. It belongs to the
// Call that L runs in, carries the values of L's context, and runs when the
// lock is let go, in the order of starting. name is for messages; fn's place
// where it is empty. Where it cannot start (the call is over, there are 10,000
// already), the child has ended with the error.
func Spawn(L *lua.LState, name string, fn *lua.LFunction, args ...lua.LValue) *Child {
	vm := Of(L)
	tc := threadContextOf(L)
	if name == "" {
		name = FunctionName(fn)
	}
	c := &Child{name: name, done: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(Context(L))
	c.cancel = cancel
	var sc *scope
	if tc != nil {
		sc = tc.scope
	}
	if err := sc.add(c); err != nil {
		cancel(errReturned)
		c.err = err
		c.end()
		return c
	}
	child := vm.newThreadContext(ctx, sc)
	if child.s.name == "" {
		child.s.name = "goroutine " + c.name
	} else {
		child.s.name += ", goroutine " + c.name
	}
	place := vm.lock.ask()
	go func() {
		defer sc.remove(c)
		defer c.end()
		defer cancel(errReturned)
		if !vm.enter(child.s, place, child.done) {
			c.err = vm.interrupted(child, nil)
			return
		}
		defer vm.release(child.s)
		defer vm.watch(child, child.s.name)()
		rets, failed := vm.protect(child, child, fn, args)
		if failed != nil {
			c.err = vm.newError(child, failed)
			return
		}
		c.rets = rets
	}()
	return c
}

func (sc *scope) add(c *Child) error {
	if sc == nil {
		return &Error{Message: "cannot start a goroutine outside of a running script or task"}
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	switch {
	case sc.ended:
		return &Error{Message: "cannot start a goroutine: the task has ended"}
	case len(sc.children) >= maxChildren:
		return &Error{Message: fmt.Sprintf("more than %d goroutines at a time: use a pool", maxChildren)}
	case sc.children == nil:
		sc.children = map[*Child]struct{}{}
	}
	sc.children[c] = struct{}{}
	return nil
}

func (sc *scope) remove(c *Child) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	delete(sc.children, c)
}

// running returns the children that have not ended. With none left, or with
// last, no more can be added.
func (sc *scope) running(last bool) []*Child {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	all := make([]*Child, 0, len(sc.children))
	for c := range sc.children {
		all = append(all, c)
	}
	if len(all) == 0 || last {
		sc.ended = true
	}
	return all
}

// endChildren waits for the goroutines of a call, at most Linger and only when
// the call succeeded; then it cancels them and waits for their end. The lock is
// let go meanwhile.
func (sc *scope) endChildren(tc *threadContext, succeeded bool) {
	vm := sc.vm
	first := sc.running(!succeeded)
	if len(first) == 0 {
		return
	}
	current := vm.main.G.CurrentThread
	vm.release(tc.s)
	defer func() {
		vm.acquire(tc.s, nil)
		vm.main.G.CurrentThread = current
	}()
	if succeeded {
		sc.linger(tc.done)
	}
	rest := sc.running(true)
	for _, c := range rest {
		if succeeded && sc.ctx.Err() == nil {
			vm.Log(tc, "warn", "the goroutine started at "+c.name+" was still running "+
				vm.opts.Linger.String()+" after its task returned and was stopped: await it, or end its loop")
		}
		c.cancel(errReturned)
	}
	for _, c := range rest {
		if !waitFor(c.done, vm.opts.StuckAfter) && vm.opts.Stuck != nil {
			vm.opts.Stuck(tc.s.name + ", goroutine " + c.name)
		}
	}
}

// linger waits until no child runs, Linger is over or done is closed.
func (sc *scope) linger(done <-chan struct{}) {
	limit := time.NewTimer(sc.vm.opts.Linger)
	defer limit.Stop()
	for {
		all := sc.running(false)
		if len(all) == 0 {
			return
		}
		select {
		case <-all[0].done:
			// remove follows done; ask for another child until it did.
			sc.remove(all[0])
		case <-limit.C:
			return
		case <-done:
			return
		}
	}
}

// watch reports the strand of tc when it still holds the lock StuckAfter after
// its context ended. The returned function ends the watch.
func (vm *VM) watch(tc *threadContext, name string) func() {
	if vm.opts.Stuck == nil || tc.done == nil {
		return func() {}
	}
	stopped := make(chan struct{})
	ended := make(chan struct{})
	stop := context.AfterFunc(tc, func() {
		defer close(ended)
		for {
			if waitFor(stopped, vm.opts.StuckAfter) {
				return
			}
			if vm.holder.Load() == tc.s {
				vm.opts.Stuck(name)
				return
			}
		}
	})
	return func() {
		close(stopped)
		if !stop() {
			<-ended
		}
	}
}
