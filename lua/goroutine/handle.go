package goroutine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

// handle is a function that was started and can be awaited.
type handle struct{ child *engine.Child }

// LuaName says what a handle is, where it cannot be sent.
func (*handle) LuaName() string { return "goroutine handle" }

func (lib *library) push(L *lua.LState, c *engine.Child) int {
	if lib.meta == nil {
		methods := functions(L, map[string]lua.LGFunction{
			"await":  lib.await,
			"cancel": lib.cancel,
			"catch":  func(L *lua.LState) int { return lib.then(L, nil, L.CheckFunction(2)) },
			"done":   lib.done,
			"next":   func(L *lua.LState) int { return lib.then(L, L.CheckFunction(2), L.OptFunction(3, nil)) },
		})
		lib.meta = L.CreateTable(0, 2)
		lib.meta.RawSetString("__index", methods)
		lib.meta.RawSetString("__tostring", L.NewFunction(func(L *lua.LState) int {
			L.Push(lua.LString("goroutine of " + lib.check(L, 1).Name()))
			return 1
		}))
	}
	L.Push(&lua.LUserData{Value: &handle{c}, Env: L.Env, Metatable: lib.meta})
	return 1
}

func asHandle(v lua.LValue) (*engine.Child, bool) {
	ud, ok := v.(*lua.LUserData)
	if !ok {
		return nil, false
	}
	h, ok := ud.Value.(*handle)
	if !ok {
		return nil, false
	}
	return h.child, true
}

func (lib *library) check(L *lua.LState, n int) *engine.Child {
	c, ok := asHandle(L.Get(n))
	if !ok {
		L.ArgError(n, "a handle of goroutine.async expected, got "+L.Get(n).Type().String())
	}
	return c
}

func rest(L *lua.LState, from int) []lua.LValue {
	var all []lua.LValue
	for i := from; i <= L.GetTop(); i++ {
		all = append(all, L.Get(i))
	}
	return all
}

// async starts a function with the arguments that follow it.
func (lib *library) async(L *lua.LState) int {
	fn := L.CheckFunction(1)
	return lib.push(L, engine.Spawn(L, "", fn, rest(L, 2)...))
}

// spawn starts a function that nobody awaits; its error is logged.
func (lib *library) spawn(L *lua.LState) int {
	fn := L.CheckFunction(1)
	name := engine.FunctionName(fn)
	logged := L.NewFunction(func(L *lua.LState) int {
		_, err := engine.Try(L, fn, rest(L, 1)...)
		if err != nil && engine.Context(L).Err() == nil {
			ctx, text := engine.Context(L), "goroutine of "+name+": "+err.Error()
			_ = engine.Block(L, func(context.Context) error {
				lib.vm.Log(ctx, "error", text)
				return nil
			})
		}
		return 0
	})
	c := engine.Spawn(L, name, logged, rest(L, 2)...)
	if c.Ended() {
		if _, err := c.Result(); err != nil {
			engine.Raise(L, err)
		}
	}
	return 0
}

// duration reads a duration: a number of unit, or a text such as "5s" or "1m30s".
// 0 is none given.
func duration(L *lua.LState, n int, unit time.Duration) time.Duration {
	return toDuration(L, n, L.Get(n), unit)
}

func toDuration(L *lua.LState, n int, v lua.LValue, unit time.Duration) time.Duration {
	switch v := v.(type) {
	case *lua.LNilType:
		return 0
	case lua.LNumber:
		if d := float64(v) * float64(unit); d >= 0 && d < math.MaxInt64 {
			return time.Duration(d)
		}
	case lua.LString:
		if d, err := time.ParseDuration(string(v)); err == nil && d >= 0 {
			return d
		}
	}
	L.ArgError(n, fmt.Sprintf("a duration expected, a number or a text such as \"5s\", got %s", v.String()))
	return 0
}

// sleep waits for a number of milliseconds.
func sleep(L *lua.LState) int {
	if L.Get(1) == lua.LNil {
		L.ArgError(1, "number of milliseconds expected")
	}
	d := duration(L, 1, time.Millisecond)
	pause(L, func(ctx context.Context) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	})
	return 0
}

// pause lets the lock go for f and raises when the task ended meanwhile.
func pause(L *lua.LState, f func(ctx context.Context)) {
	_ = engine.Block(L, func(ctx context.Context) error { f(ctx); return nil })
	if ctx := engine.Context(L); ctx.Err() != nil {
		engine.Raise(L, context.Cause(ctx))
	}
}

// waitAll waits until all children have ended, or the limit is over where it is
// not 0.
func waitAll(L *lua.LState, limit time.Duration, children ...*engine.Child) {
	waiting := false
	for _, c := range children {
		waiting = waiting || !c.Ended()
	}
	if !waiting {
		return
	}
	pause(L, func(ctx context.Context) {
		var over <-chan time.Time
		if limit > 0 {
			t := time.NewTimer(limit)
			defer t.Stop()
			over = t.C
		}
		for _, c := range children {
			select {
			case <-c.Done():
			case <-over:
				return
			case <-ctx.Done():
				return
			}
		}
	})
}

// outcome is what a child came to; still running counts as timed out.
type outcome struct {
	values  []lua.LValue
	message string // empty: success
}

func outcomeOf(c *engine.Child, limit time.Duration) outcome {
	if !c.Ended() {
		return outcome{message: fmt.Sprintf("timed out after %v: the goroutine of %s is still running", limit, c.Name())}
	}
	values, err := c.Result()
	if err == nil {
		return outcome{values: values}
	}
	return outcome{message: messageOf(err)}
}

func messageOf(err error) string {
	if err.Error() == "" {
		return "failed"
	}
	return err.Error()
}

// push returns true and the values, or false and the message.
func (o outcome) push(L *lua.LState) int {
	if o.message != "" {
		L.Push(lua.LFalse)
		L.Push(lua.LString(o.message))
		return 2
	}
	L.Push(lua.LTrue)
	for _, v := range o.values {
		L.Push(v)
	}
	return 1 + len(o.values)
}

// table is {success, values, value, error}.
func (o outcome) table(L *lua.LState) *lua.LTable {
	t := L.CreateTable(0, 4)
	values := L.CreateTable(len(o.values), 1)
	for i, v := range o.values {
		values.RawSetInt(i+1, v)
	}
	values.RawSetString("n", lua.LNumber(len(o.values)))
	t.RawSetString("success", lua.LBool(o.message == ""))
	t.RawSetString("values", values)
	if len(o.values) > 0 {
		t.RawSetString("value", o.values[0])
	}
	if o.message != "" {
		t.RawSetString("error", lua.LString(o.message))
	}
	return t
}

// await(handle [, seconds]) returns true and what the function returned, or
// false and a message. After a timeout the function goes on.
func (lib *library) await(L *lua.LState) int {
	c := lib.check(L, 1)
	limit := duration(L, 2, time.Second)
	waitAll(L, limit, c)
	return outcomeOf(c, limit).push(L)
}

// awaitAll(handles [, seconds]) returns the outcomes in the order of the
// handles.
func (lib *library) awaitAll(L *lua.LState) int {
	list := L.CheckTable(1)
	limit := duration(L, 2, time.Second)
	children := make([]*engine.Child, list.Len())
	for i := range children {
		c, ok := asHandle(list.RawGetInt(i + 1))
		if !ok {
			L.ArgError(1, fmt.Sprintf("element %d is a %s, not a handle of goroutine.async", i+1, list.RawGetInt(i+1).Type()))
		}
		children[i] = c
	}
	waitAll(L, limit, children...)
	results := L.CreateTable(len(children), 0)
	for i, c := range children {
		results.RawSetInt(i+1, outcomeOf(c, limit).table(L))
	}
	L.Push(results)
	return 1
}

var errCancelled = errors.New("it was cancelled by the script")

func (lib *library) cancel(L *lua.LState) int {
	lib.check(L, 1).Cancel(errCancelled)
	return 0
}

func (lib *library) done(L *lua.LState) int {
	L.Push(lua.LBool(lib.check(L, 1).Ended()))
	return 1
}
