package engine

import (
	"context"

	lua "github.com/yuin/gopher-lua"
)

// Effects decides about the calls of the standard libraries that change
// something outside the VM: os.execute, os.remove, os.rename, os.tmpname,
// io.open for writing, io.output, io.popen and io.tmpfile. A plan records them
// and lets none happen; validation refuses or counts them.
type Effects interface {
	// Effect is asked before the call. With run the call happens. Without, and
	// without an error, it returns what a successful call would: os.execute 0,
	// os.remove true, io.open a file that forgets what is written, io.popen an
	// empty one. An error is raised at the caller.
	Effect(ctx context.Context, e Effect) (run bool, err error)
}

// Effect is one changing call.
type Effect struct {
	Function string   // "os.execute"
	Args     []string // as the script gave them
	File     string   // where the script calls
	Line     int
}

// EffectFunc makes Effects of a function.
type EffectFunc func(ctx context.Context, e Effect) (run bool, err error)

// Effect calls f.
func (f EffectFunc) Effect(ctx context.Context, e Effect) (bool, error) { return f(ctx, e) }

// effect asks about a changing call; it raises what the answer refuses.
func (vm *VM) effect(L *lua.LState, function string, args ...string) bool {
	if vm.opts.Effects == nil {
		return true
	}
	e := Effect{Function: function, Args: args}
	e.File, e.Line = Where(L)
	run := false
	err := Block(L, func(ctx context.Context) (err error) {
		run, err = vm.opts.Effects.Effect(ctx, e)
		return err
	})
	if err != nil {
		Raise(L, err)
	}
	return run
}
