package goroutine

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

// job is one of the functions given to parallel, sequence, all or race, under
// its position or name there.
type job struct {
	key lua.LValue
	fn  *lua.LFunction
	// child is set for a handle that was given in place of a function, and once
	// the function was started.
	child *engine.Child
}

// jobs reads a list or a table of functions and handles. Names come in their
// order.
func jobs(L *lua.LState, n int) []job {
	t := L.CheckTable(n)
	var all []job
	add := func(key, v lua.LValue) {
		j := job{key: key}
		var ok bool
		if j.fn, ok = v.(*lua.LFunction); !ok {
			if j.child, ok = asHandle(v); !ok {
				L.ArgError(n, fmt.Sprintf("[%s] is a %s, not a function", key, v.Type()))
			}
		}
		all = append(all, j)
	}
	for i := 1; i <= t.Len(); i++ {
		add(lua.LNumber(i), t.RawGetInt(i))
	}
	var names []string
	t.ForEach(func(k, _ lua.LValue) {
		if name, ok := k.(lua.LString); ok {
			names = append(names, string(name))
		}
	})
	sort.Strings(names)
	for _, name := range names {
		add(lua.LString(name), t.RawGetString(name))
	}
	return all
}

func (j *job) start(L *lua.LState) {
	if j.child == nil {
		j.child = engine.Spawn(L, "", j.fn)
	}
}

// parallel(functions [, max or {max_workers=, timeout=}]) runs all beside each
// other and returns their outcomes under the same positions or names.
func (lib *library) parallel(L *lua.LState) int {
	all := jobs(L, 1)
	most, limit := len(all), time.Duration(0)
	switch o := L.Get(2).(type) {
	case lua.LNumber:
		most = int(o)
	case *lua.LTable:
		for _, key := range []string{"max_workers", "max", "workers"} {
			if n, ok := o.RawGetString(key).(lua.LNumber); ok {
				most = int(n)
			}
		}
		limit = toDuration(L, 2, o.RawGetString("timeout"), time.Second)
	}
	most = max(most, 1)
	deadline := time.Now().Add(limit)
	for i := range all {
		if i >= most {
			waitSome(L, all[:i], i-most+1)
		}
		if limit > 0 && !time.Now().Before(deadline) {
			break
		}
		given := all[i].child != nil
		all[i].start(L)
		if limit > 0 && !given {
			defer endAfter(time.Until(deadline), all[i].child)()
		}
	}
	if limit > 0 {
		// Only handles that were given can still run then.
		waitAll(L, max(time.Until(deadline), time.Nanosecond), children(all)...)
	}
	results := L.CreateTable(len(all), 0)
	for i := range all {
		o := outcome{message: fmt.Sprintf("timed out after %v, before it was started", limit)}
		if c := all[i].child; c != nil {
			if limit == 0 || all[i].fn != nil {
				waitAll(L, 0, c)
			}
			o = outcomeOf(c, limit)
			if c.Ended() {
				o = limited(c, limit)
			}
		}
		results.RawSet(all[i].key, o.table(L))
	}
	L.Push(results)
	return 1
}

func children(all []job) []*engine.Child {
	var list []*engine.Child
	for _, j := range all {
		if j.child != nil {
			list = append(list, j.child)
		}
	}
	return list
}

// waitSome waits until n of the jobs have ended.
func waitSome(L *lua.LState, all []job, n int) {
	list := children(all)
	left := n
	for _, c := range list {
		if c.Ended() {
			left--
		}
	}
	if left <= 0 {
		return
	}
	some := make(chan struct{}, len(list))
	for _, c := range list {
		c.OnEnd(func() { some <- struct{}{} })
	}
	pause(L, func(ctx context.Context) {
		for range n {
			select {
			case <-some:
			case <-ctx.Done():
				return
			}
		}
	})
}

// sequence(functions) runs one after the other and stops at the first that
// fails. It returns the outcomes of those that ran.
func (lib *library) sequence(L *lua.LState) int {
	all := jobs(L, 1)
	results := L.CreateTable(len(all), 0)
	for i := range all {
		all[i].start(L)
		waitAll(L, 0, all[i].child)
		o := outcomeOf(all[i].child, 0)
		results.RawSet(all[i].key, o.table(L))
		if o.message != "" {
			break
		}
	}
	L.Push(results)
	return 1
}

var errTimedOut = fmt.Errorf("its time was over: %w", context.DeadlineExceeded)

// timeout(seconds, fn, …) runs fn and ends it when the time is over. It returns
// true and what fn returned, or false and a message.
func (lib *library) timeout(L *lua.LState) int {
	at, with := 1, 2
	if L.Get(1).Type() == lua.LTFunction {
		at, with = 2, 1
	}
	limit := duration(L, at, time.Second)
	if limit == 0 {
		L.ArgError(at, "a duration above 0 expected")
	}
	c := engine.Spawn(L, "", L.CheckFunction(with), rest(L, 3)...)
	defer endAfter(limit, c)()
	waitAll(L, 0, c)
	return limited(c, limit).push(L)
}

// endAfter ends children when the limit is over. It needs no lock for that: a
// function that never lets go of it is ended too. The returned function stops
// the clock.
func endAfter(limit time.Duration, all ...*engine.Child) (stop func()) {
	t := time.AfterFunc(limit, func() {
		for _, c := range all {
			c.Cancel(errTimedOut)
		}
	})
	return func() { t.Stop() }
}

// limited is the outcome of a child that had a limit.
func limited(c *engine.Child, limit time.Duration) outcome {
	if _, err := c.Result(); err != nil && errors.Is(err, errTimedOut) {
		return outcome{message: fmt.Sprintf("timed out after %v", limit)}
	}
	return outcomeOf(c, limit)
}

// race(functions) returns what the first one to end came to; the others are
// cancelled.
func (lib *library) race(L *lua.LState) int {
	all := jobs(L, 1)
	if len(all) == 0 {
		L.ArgError(1, "at least one function expected")
	}
	for i := range all {
		all[i].start(L)
	}
	waitSome(L, all, 1)
	first := -1
	for i := range all {
		switch {
		case !all[i].child.Ended():
			all[i].child.Cancel(errLost)
		case first < 0:
			first = i
		}
	}
	return outcomeOf(all[first].child, 0).push(L)
}

var errLost = errors.New("another one was faster")

// all(functions) waits for all and returns true and their first values, in the
// same shape, or false and the message of one that failed; the others are
// cancelled then.
func (lib *library) all(L *lua.LState) int {
	list := jobs(L, 1)
	for i := range list {
		list[i].start(L)
	}
	for n := 1; n <= len(list); n++ {
		waitSome(L, list, n)
		for i := range list {
			if !list[i].child.Ended() {
				continue
			}
			if o := outcomeOf(list[i].child, 0); o.message != "" {
				for k := range list {
					list[k].child.Cancel(errLost)
				}
				return o.push(L)
			}
		}
	}
	values := L.CreateTable(len(list), 0)
	for i := range list {
		if o := outcomeOf(list[i].child, 0); len(o.values) > 0 {
			values.RawSet(list[i].key, o.values[0])
		}
	}
	return outcome{values: []lua.LValue{values}}.push(L)
}
