package goroutine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

// pool runs functions, at most workers at a time and in the order in which they
// came.
type pool struct {
	name    string
	workers int
	room    int // for functions that wait for a worker

	mu        sync.Mutex
	waiting   []*ticket
	active    int
	completed int
	failed    int
	closed    bool
	changed   chan struct{} // closed and replaced at every change
}

// ticket is the place of one function in the queue.
type ticket struct{ working bool }

const (
	defaultWorkers = 10
	maxWorkers     = 1000
)

// change changes the pool and wakes those who wait for it.
func (p *pool) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// until waits until condition, which may take what it waited for, or for the
// limit where it is not 0.
func (p *pool) until(L *lua.LState, limit time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(limit)
	for {
		p.mu.Lock()
		met, changed := condition(), p.changed
		p.mu.Unlock()
		if met {
			return true
		}
		if limit > 0 && !time.Now().Before(deadline) {
			return false
		}
		pause(L, func(ctx context.Context) {
			var over <-chan time.Time
			if limit > 0 {
				t := time.NewTimer(time.Until(deadline))
				defer t.Stop()
				over = t.C
			}
			select {
			case <-changed:
			case <-over:
			case <-ctx.Done():
			}
		})
	}
}

func (p *pool) idle() bool { return p.active+len(p.waiting) == 0 }

// leave ends the stay of a function in the pool.
func (p *pool) leave(t *ticket, err error) {
	p.change(func() {
		if t.working {
			p.active--
		} else if i := slices.Index(p.waiting, t); i >= 0 {
			p.waiting = slices.Delete(p.waiting, i, i+1)
		}
		if err != nil {
			p.failed++
		} else {
			p.completed++
		}
	})
}

func (lib *library) pool(L *lua.LState) *pool {
	name := L.CheckString(1)
	p := lib.pools[name]
	if p == nil {
		L.ArgError(1, fmt.Sprintf("there is no pool %q: create it with goroutine.pool_create", name))
	}
	return p
}

// poolCreate(name [, {workers=10, queue=workers}]) makes a pool. One of that
// name must be idle; it is replaced.
func (lib *library) poolCreate(L *lua.LState) int {
	name := L.CheckString(1)
	p := &pool{name: name, workers: defaultWorkers, changed: make(chan struct{})}
	opts := L.OptTable(2, nil)
	number := func(key string, least int, to *int) {
		if opts == nil || opts.RawGetString(key) == lua.LNil {
			return
		}
		n, ok := opts.RawGetString(key).(lua.LNumber)
		if !ok || int(n) < least || int(n) > maxWorkers || lua.LNumber(int(n)) != n {
			L.ArgError(2, fmt.Sprintf("%s must be a whole number from %d to %d", key, least, maxWorkers))
		}
		*to = int(n)
	}
	number("workers", 1, &p.workers)
	p.room = p.workers
	number("queue", 0, &p.room)
	if old := lib.pools[name]; old != nil {
		old.mu.Lock()
		idle := old.idle()
		old.mu.Unlock()
		if !idle {
			L.RaiseError("the pool %q exists and is at work: close it first", name)
		}
	}
	lib.pools[name] = p
	L.Push(lua.LTrue)
	return 1
}

// poolSubmit(name, fn, …) queues a function and returns its handle. While the
// queue is full it waits.
func (lib *library) poolSubmit(L *lua.LState) int {
	p := lib.pool(L)
	fn := L.CheckFunction(2)
	t, closed := &ticket{}, false
	p.until(L, 0, func() bool {
		closed = p.closed
		free := p.active+len(p.waiting) < p.workers+p.room
		if free && !closed {
			p.waiting = append(p.waiting, t)
		}
		return free || closed
	})
	if closed {
		L.RaiseError("the pool %q is closed", p.name)
	}
	body := L.NewFunction(func(L *lua.LState) int {
		p.until(L, 0, func() bool {
			if p.active == p.workers || p.waiting[0] != t {
				return false
			}
			p.waiting = p.waiting[1:]
			p.active++
			t.working = true
			return true
		})
		p.change(func() {}) // the next in the queue looks again
		rets, err := engine.Try(L, fn, rest(L, 1)...)
		if err != nil {
			raise(L, err)
		}
		return pushAll(L, rets)
	})
	c := engine.Spawn(L, engine.FunctionName(fn), body, rest(L, 3)...)
	c.OnEnd(func() {
		_, err := c.Result()
		p.leave(t, err)
	})
	return lib.push(L, c)
}

// poolWait(name [, seconds]) waits until the pool has nothing to do. It returns
// false and a message when the time is over.
func (lib *library) poolWait(L *lua.LState) int {
	p := lib.pool(L)
	limit := duration(L, 2, time.Second)
	if !p.until(L, limit, p.idle) {
		p.mu.Lock()
		o := outcome{message: fmt.Sprintf("timed out after %v: the pool %q has %d functions at work and %d waiting", limit, p.name, p.active, len(p.waiting))}
		p.mu.Unlock()
		return o.push(L)
	}
	L.Push(lua.LTrue)
	return 1
}

// poolClose(name) takes no more functions, waits for those it has, and forgets
// the pool.
func (lib *library) poolClose(L *lua.LState) int {
	p := lib.pool(L)
	p.change(func() { p.closed = true })
	p.until(L, 0, p.idle)
	if lib.pools[p.name] == p {
		delete(lib.pools, p.name)
	}
	L.Push(lua.LTrue)
	return 1
}

// poolStats(name) returns {name, workers, active, completed, failed, queued}.
func (lib *library) poolStats(L *lua.LState) int {
	p := lib.pool(L)
	p.mu.Lock()
	defer p.mu.Unlock()
	t := L.CreateTable(0, 6)
	t.RawSetString("name", lua.LString(p.name))
	for key, n := range map[string]int{
		"workers": p.workers, "active": p.active, "completed": p.completed, "failed": p.failed, "queued": len(p.waiting),
	} {
		t.RawSetString(key, lua.LNumber(n))
	}
	L.Push(t)
	return 1
}
