package step

import (
	"context"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
)

// Options is the machine's side of Execute. Emit is required, and Source for a
// Spec with functions.
type Options struct {
	Host Host
	// Source gives the Lua of one attempt: a fresh VM with the decoded snapshot
	// on a host, the live one on the controller. release is called once, when the
	// attempt and its hooks are over.
	Source func(ctx context.Context) (vm *engine.VM, c Callbacks, release func(), err error)
	// Env is the base of what surrounds module calls: Call.Machine and
	// Call.Services, Viewer and Overlay of a plan, Effect. Call.Workdir is the
	// base of a relative Spec.Workdir. Its Called, where set, sees every record too.
	Env bind.Env
	// Check says that this is a plan: nothing is changed, no hook runs.
	Check   bool
	Modules []modules.Module // for Spec.Shell and Spec.Call
	// Emit gets the events of the step, one at a time, the last one a TaskDone.
	Emit func(event.Event)
	// Learn, where set, is told each secret that the step makes, before anything
	// that may hold it is emitted.
	Learn func(value string)
	// Returned, where set, gets what a nested step's command returned after the
	// success flag, as it is; Result.Returns then stays empty.
	Returned func([]lua.LValue)
	// Doubt, where set, is asked after an attempt that failed: it waits for as long
	// as the same cause may end ctx too, which the failure is then only a part of.
	Doubt func(ctx context.Context)
	Clock Clock // nil: the real one
}

// Clock is time, for tests that do not want to wait.
type Clock interface {
	Now() time.Time
	// Sleep waits, or returns the cause for which ctx ended.
	Sleep(ctx context.Context, d time.Duration) error
}

// Callbacks are a task's functions in the VM where it runs. Any may be nil.
type Callbacks struct {
	Command, RunIf, ChangedWhen, FailedWhen           *lua.LFunction
	OnStart, OnSuccess, OnFailure, OnRetry, OnTimeout *lua.LFunction

	Vars *lua.LTable // variables of the task, over those of the host
}

// CallbacksOf reads the table that a Spec's Snapshot decodes to.
func CallbacksOf(v lua.LValue) Callbacks {
	t, ok := v.(*lua.LTable)
	if !ok {
		return Callbacks{}
	}
	f := func(name string) *lua.LFunction {
		fn, _ := t.RawGetString(name).(*lua.LFunction)
		return fn
	}
	vars, _ := t.RawGetString("vars").(*lua.LTable)
	return Callbacks{
		Command: f("command"), RunIf: f("run_if"), ChangedWhen: f("changed_when"), FailedWhen: f("failed_when"),
		OnStart: f("on_start"), OnSuccess: f("on_success"), OnFailure: f("on_failure"), OnRetry: f("on_retry"), OnTimeout: f("on_timeout"),
		Vars: vars,
	}
}

// TaskCallbacks are the functions of a task in the VM that loaded it.
func TaskCallbacks(t *dsl.Task) Callbacks {
	return Callbacks{
		Command: t.Command, RunIf: t.RunIf, ChangedWhen: t.ChangedWhen, FailedWhen: t.FailedWhen,
		OnStart: t.OnStart, OnSuccess: t.OnSuccess, OnFailure: t.OnFailure, OnRetry: t.OnRetry, OnTimeout: t.OnTimeout,
		Vars: t.Vars,
	}
}

// Table is the Lua table that a Snapshot encodes: the inverse of CallbacksOf.
func (c Callbacks) Table(L *lua.LState) *lua.LTable {
	t := L.NewTable()
	for name, fn := range map[string]*lua.LFunction{
		"command": c.Command, "run_if": c.RunIf, "changed_when": c.ChangedWhen, "failed_when": c.FailedWhen,
		"on_start": c.OnStart, "on_success": c.OnSuccess, "on_failure": c.OnFailure, "on_retry": c.OnRetry, "on_timeout": c.OnTimeout,
	} {
		if fn != nil {
			t.RawSetString(name, fn)
		}
	}
	if c.Vars != nil {
		t.RawSetString("vars", c.Vars)
	}
	return t
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
