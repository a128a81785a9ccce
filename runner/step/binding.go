package step

import (
	"context"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/runner/event"
)

// arguments are the values that callbacks are given.
type arguments struct{ this, params, deps lua.LValue }

// order says what parameters of unknown names get, by position.
type order int

const (
	commandOrder order = iota // this, params, deps
	successOrder              // output; params, output; this, params, output
	failureOrder              // the same with the error
	judgeOrder                // the same with the output, also of a failure
)

// call runs a callback with its parameters bound: by name where the name is one
// of those people use, else by position.
func (w *world) call(ctx context.Context, fn *lua.LFunction, o order, f *event.Failure) ([]lua.LValue, error) {
	var args []lua.LValue
	w.vm.Do(func(L *lua.LState) {
		if w.args == nil {
			w.args = w.r.arguments(L)
		}
		args = parameters(fn, o, w.named(L, f), w.args)
	})
	return w.vm.Call(w.context(ctx), fn, args...)
}

// payload are the outputs and the error of the command.
type payload struct{ output, failure lua.LValue }

func (w *world) named(L *lua.LState, f *event.Failure) payload {
	p := payload{output: w.outputs, failure: lua.LNil}
	if f != nil {
		p.failure = lua.LString(text(f))
	}
	if p.output == nil || p.output == lua.LNil {
		p.output = lua.LNil
		if w.data != nil {
			p.output = bind.ToLua(L, w.data)
		}
	}
	return p
}

// parameters is the list of arguments for fn.
func parameters(fn *lua.LFunction, o order, p payload, a *arguments) []lua.LValue {
	n, vararg := 3, true
	if fn.Proto != nil {
		n, vararg = int(fn.Proto.NumParameters), fn.Proto.IsVarArg&lua.VarArgIsVarArg != 0
	}
	output := p.output
	if output == lua.LNil {
		// Hooks may look into the output of a command that gave none.
		if output = p.failure; output == lua.LNil {
			output = &lua.LTable{Metatable: lua.LNil}
		}
	}
	last := output
	if o == failureOrder {
		last = p.failure
	}
	byPosition := []lua.LValue{a.this, a.params, a.deps}
	if o != commandOrder {
		switch {
		case n == 1 && !vararg:
			byPosition = []lua.LValue{last}
		case n == 2 && !vararg:
			byPosition = []lua.LValue{a.params, last}
		default:
			byPosition = []lua.LValue{a.this, a.params, last}
		}
	}
	if vararg && n < len(byPosition) {
		n = len(byPosition)
	}
	args := make([]lua.LValue, n)
	for i := range args {
		args[i] = lua.LNil
		if i < len(byPosition) {
			args[i] = byPosition[i]
		}
		if fn.Proto == nil || i >= int(fn.Proto.NumParameters) || i >= len(fn.Proto.DbgLocals) {
			continue
		}
		switch fn.Proto.DbgLocals[i].Name {
		case "this", "self", "t":
			args[i] = a.this
		case "params", "p":
			args[i] = a.params
		case "deps", "inputs":
			args[i] = a.deps
		case "output", "result":
			args[i] = output
		case "error", "err":
			args[i] = p.failure
		}
	}
	return args
}

// arguments makes this, params and deps. As a net, this falls back to params
// and params to deps on missing keys.
func (r *run) arguments(L *lua.LState) *arguments {
	deps := L.NewTable()
	of := func(task string) *lua.LTable {
		t, ok := deps.RawGetString(task).(*lua.LTable)
		if !ok {
			t = L.NewTable()
			deps.RawSetString(task, t)
		}
		return t
	}
	for task, outputs := range r.s.Deps {
		if t, ok := bind.ToLua(L, outputs).(*lua.LTable); ok {
			deps.RawSetString(task, t)
		} else {
			of(task)
		}
	}
	for _, task := range r.s.After {
		of(task)
	}
	for task, byHost := range r.s.DepHosts {
		hosts := L.NewTable()
		for host, outputs := range byHost {
			t, ok := bind.ToLua(L, outputs).(*lua.LTable)
			if !ok {
				t = L.NewTable()
			}
			rawData(L, t)
			hosts.RawSetString(host, t)
		}
		of(task).RawSetString("hosts", hosts)
	}
	deps.ForEach(func(_, outputs lua.LValue) { rawData(L, outputs.(*lua.LTable)) })
	params, ok := bind.ToLua(L, r.s.Params).(*lua.LTable)
	if !ok {
		params = L.NewTable()
	}
	mt := L.CreateTable(0, 1)
	mt.RawSetString("__index", deps)
	params.Metatable = mt
	this := dsl.NewThis(L, dsl.This{
		Task: r.s.Task, Host: r.o.Host.Name, Workdir: r.dir, Check: r.o.Check,
		Attempt: r.here().Attempt, Params: params,
	})
	return &arguments{this, params, deps}
}

// rawData lets outputs be read as deps.X.raw_data.port too, unless an output
// has that name itself.
func rawData(L *lua.LState, outputs *lua.LTable) {
	whole := L.CreateTable(0, 1)
	whole.RawSetString("raw_data", outputs)
	mt := L.CreateTable(0, 1)
	mt.RawSetString("__index", whole)
	outputs.Metatable = mt
}
