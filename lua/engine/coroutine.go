package engine

import (
	"errors"

	lua "github.com/yuin/gopher-lua"
)

// The coroutine library is ours because gopher-lua ties a coroutine to the
// context of the thread that created it: one made by a script would be dead in
// the task that uses it. Here it runs under the context of whoever resumes it.
func (vm *VM) openCoroutine(L *lua.LState) lua.LValue {
	t := L.CreateTable(0, 6)
	for name, fn := range map[string]lua.LGFunction{
		"create":  vm.coCreate,
		"resume":  vm.coResume,
		"running": coRunning,
		"status":  vm.coStatus,
		"wrap":    vm.coWrap,
		"yield":   coYield,
	} {
		t.RawSetString(name, L.NewFunction(fn))
	}
	return t
}

func (vm *VM) newCoroutine(L *lua.LState, fn *lua.LFunction) *lua.LState {
	th, _ := vm.main.NewThread()
	th.Env = L.Env
	th.Push(fn) // kept on its own stack until the first resume
	return th
}

func (vm *VM) coCreate(L *lua.LState) int {
	L.Push(vm.newCoroutine(L, L.CheckFunction(1)))
	return 1
}

func (vm *VM) coWrap(L *lua.LState) int {
	th := vm.newCoroutine(L, L.CheckFunction(1))
	L.Push(L.NewFunction(func(L *lua.LState) int {
		rets, err := vm.resume(L, th, arguments(L, 1))
		if err != nil {
			L.Error(err, 0)
		}
		return pushAll(L, rets)
	}))
	return 1
}

func (vm *VM) coResume(L *lua.LState) int {
	rets, err := vm.resume(L, L.CheckThread(1), arguments(L, 2))
	if err != nil {
		L.Push(lua.LFalse)
		L.Push(err)
		return 2
	}
	L.Push(lua.LTrue)
	return 1 + pushAll(L, rets)
}

// resume runs th until it yields, returns or fails; err is the value raised.
func (vm *VM) resume(L, th *lua.LState, args []lua.LValue) (rets []lua.LValue, err lua.LValue) {
	if vm.resumed[th] || th == L || th == vm.main {
		return nil, lua.LString("cannot resume a running coroutine")
	}
	if th.Dead {
		return nil, lua.LString("cannot resume dead coroutine")
	}
	tc, ctx := vm.contextsOf(L)
	s := tc.s
	if s.depth >= maxNesting {
		return nil, lua.LString(where(L, 1) + "stack overflow (too many coroutines inside one another)")
	}
	var fn *lua.LFunction
	if f, ok := th.Get(1).(*lua.LFunction); ok && !vm.started(th) {
		fn = f
		th.SetTop(0)
	}
	th.SetContext(ctx)
	s.depth++
	vm.resumed[th] = true
	current := L.G.CurrentThread
	state, failed, values := L.Resume(th, fn, args...)
	L.G.CurrentThread = current
	delete(vm.resumed, th)
	s.depth--
	if s.exit != nil {
		panic(rethrown{&failure{value: lua.LString("exit"), thread: L}})
	}
	if state == lua.ResumeError {
		var raised *lua.ApiError
		if errors.As(failed, &raised) {
			return nil, raised.Object
		}
		return nil, lua.LString(failed.Error())
	}
	// gopher-lua returns one nil for none.
	if len(values) == 1 && values[0] == lua.LNil {
		values = nil
	}
	return values, nil
}

// started reports whether th has been resumed before.
func (vm *VM) started(th *lua.LState) bool {
	_, ok := th.GetStack(0)
	return ok
}

func coRunning(L *lua.LState) int {
	if th := L.G.CurrentThread; th != nil && th.Parent != nil {
		L.Push(th)
		return 1
	}
	L.Push(lua.LNil)
	return 1
}

func (vm *VM) coStatus(L *lua.LState) int {
	th := L.CheckThread(1)
	status := "suspended"
	switch {
	case th.Dead:
		status = "dead"
	case th == L.G.CurrentThread:
		status = "running"
	case vm.resumed[th]:
		status = "normal"
	}
	L.Push(lua.LString(status))
	return 1
}

func coYield(L *lua.LState) int {
	if L.Parent == nil {
		L.RaiseError("attempt to yield outside a coroutine, or across pcall or another call from Go")
	}
	return -1
}
