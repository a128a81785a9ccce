package goroutine

import (
	"context"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
)

// promise(fn) starts fn(resolve, reject) and returns a handle. It comes to what
// resolve or reject is called with, or, where neither is, to what fn returns or
// raises.
func (lib *library) promise(L *lua.LState) int {
	fn := L.CheckFunction(1)
	body := L.NewFunction(func(L *lua.LState) int {
		var settled chan struct{}
		var values []lua.LValue
		var reason lua.LValue
		done := false
		settled = make(chan struct{})
		settle := func(reject bool) *lua.LFunction {
			return L.NewFunction(func(L *lua.LState) int {
				if done {
					return 0
				}
				done = true
				if reject {
					reason = L.Get(1)
				} else {
					values = rest(L, 1)
				}
				close(settled)
				return 0
			})
		}
		rets, err := engine.Try(L, fn, settle(false), settle(true))
		switch {
		case done:
		case err != nil:
			raise(L, err)
		case len(rets) > 0 || fn.Proto == nil || fn.Proto.NumParameters == 0:
			values = rets
		default:
			// It takes resolve and has returned nothing: somebody it started will call it.
			pause(L, func(ctx context.Context) {
				select {
				case <-settled:
				case <-ctx.Done():
				}
			})
		}
		if reason != nil {
			L.Error(reason, 0)
		}
		return pushAll(L, values)
	})
	return lib.push(L, engine.Spawn(L, engine.FunctionName(fn), body))
}

// then starts a promise that comes to what ok returns for the values of the
// handle, or failed for its message; where there is no function for that, to
// the same as the handle.
func (lib *library) then(L *lua.LState, ok, failed *lua.LFunction) int {
	before := lib.check(L, 1)
	name := engine.FunctionName(ok)
	if ok == nil {
		name = engine.FunctionName(failed)
	}
	body := L.NewFunction(func(L *lua.LState) int {
		waitAll(L, 0, before)
		values, err := before.Result()
		fn := ok
		if err != nil {
			fn, values = failed, []lua.LValue{lua.LString(messageOf(err))}
		}
		if fn == nil {
			if err != nil {
				raise(L, err)
			}
			return pushAll(L, values)
		}
		rets, err := engine.Try(L, fn, values...)
		if err != nil {
			raise(L, err)
		}
		if len(rets) == 1 {
			// A promise that gives a promise comes to what that one comes to.
			if c, ok := asHandle(rets[0]); ok {
				waitAll(L, 0, c)
				if rets, err = c.Result(); err != nil {
					raise(L, err)
				}
			}
		}
		return pushAll(L, rets)
	})
	return lib.push(L, engine.Spawn(L, name, body))
}

// raise raises an error that has its place in its text already.
func raise(L *lua.LState, err error) {
	L.Error(lua.LString(messageOf(err)), 0)
}

func pushAll(L *lua.LState, values []lua.LValue) int {
	for _, v := range values {
		L.Push(v)
	}
	return len(values)
}
