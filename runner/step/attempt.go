package step

import (
	"context"
	"errors"
	"fmt"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
)

// world is the Lua of one attempt.
type world struct {
	r       *run
	vm      *engine.VM // nil for a step without functions
	cb      Callbacks
	release func()

	args *arguments
	// outputs are what the command gave, as Lua and as data.
	outputs lua.LValue
	data    any
}

// open gets the Lua of one attempt.
func (r *run) open(ctx context.Context) (*world, error) {
	w := &world{r: r, release: func() {}}
	if r.o.Source == nil {
		return w, nil
	}
	vm, cb, release, err := r.o.Source(ctx)
	if err != nil {
		return nil, err
	}
	w.vm, w.cb = vm, cb
	dsl.Begin(vm, cb.Vars)
	if release != nil {
		w.release = release
	}
	return w, nil
}

func (w *world) close() {
	if w != nil && w.release != nil {
		w.release()
		w.release = nil
	}
}

// copyOutcome takes over what the attempt in another world came to. Lua values
// stay where they were made.
func (w *world) copyOutcome(from *world) {
	w.data = from.data
	if w.vm == from.vm {
		w.outputs = from.outputs
	}
}

// context marks ctx as that of this task.
func (w *world) context(ctx context.Context) context.Context {
	return dsl.WithRun(ctx, &dsl.Run{Task: w.r.s.Task, Notify: w.r.notify, Flush: w.r.flush, Vars: w.cb.Vars})
}

// limited is ctx with the task's timeout.
func (w *world) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.r.s.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, w.r.s.Timeout, errTimeout{w.r.s.Timeout})
}

// skip asks run_if, where the task would run.
func (w *world) skip(ctx context.Context) (bool, Result) {
	if w.cb.RunIf == nil {
		return false, Result{}
	}
	limited, cancel := w.limited(ctx)
	defer cancel()
	var rets []lua.LValue
	var err error
	w.ask(func() { rets, err = w.call(limited, w.cb.RunIf, commandOrder, nil) })
	if err != nil {
		if ctx.Err() != nil {
			return true, w.r.cancelled(ctx)
		}
		if past, why := w.pastPlan(err); past {
			return false, w.shortfall(why)
		}
		return true, failed(fmt.Errorf("run_if: %w", err))
	}
	if len(rets) == 0 || lua.LVIsFalse(rets[0]) {
		return true, Result{Status: event.Skipped, Message: "run_if says no"}
	}
	return false, Result{}
}

// ask runs f, whose commands are questions and count as no change.
func (w *world) ask(f func()) {
	w.r.mu.Lock()
	w.r.asking = true
	w.r.mu.Unlock()
	f()
	w.r.mu.Lock()
	w.r.asking = false
	w.r.mu.Unlock()
}

// attempt runs the command once. broken says that no other attempt can help.
func (w *world) attempt(ctx context.Context, n int) (res Result, broken bool) {
	if w.r.dir != "" {
		if err := dsl.EnsureDir(ctx, bind.EnvOf(ctx), w.r.dir, dsl.Pos{}); err != nil {
			return failed(err), true
		}
	}
	if err := w.r.consume(ctx); err != nil {
		return w.r.ended(ctx, err), true
	}
	if n == 1 {
		if err := w.hookErr(ctx, w.cb.OnStart, commandOrder, nil); err != nil {
			return failed(fmt.Errorf("on_start: %w", err)), true
		}
	}
	limited, cancel := w.limited(ctx)
	defer cancel()
	res = w.command(limited)
	if late := (errTimeout{}); res.Status.Bad() && errors.As(context.Cause(limited), &late) && ctx.Err() == nil {
		f := event.Failure{Class: classTask, Message: late.Error()}
		if res.Failure != nil {
			f.File, f.Line = res.Failure.File, res.Failure.Line
		}
		return Result{Status: event.Timeout, Message: f.Message, Failure: &f}, false
	}
	if err := w.r.machineFlush(); err != nil && !res.Status.Bad() {
		return failed(err), false
	}
	w.judge(limited, &res)
	if err := w.r.strays(!res.Status.Bad()); err != nil {
		return failed(err), true
	}
	return res, false
}

// command runs what the task is about.
func (w *world) command(ctx context.Context) Result {
	s := &w.r.s
	switch {
	case w.cb.Command != nil:
		rets, err := w.call(ctx, w.cb.Command, commandOrder, nil)
		if err != nil {
			return w.raised(err)
		}
		return w.returned(rets)
	case s.Call != "":
		return w.goCall(ctx, s.Call, s.Args)
	case s.Shell != "":
		return w.goCall(ctx, "exec.run", map[string]any{"cmd": s.Shell})
	}
	return failed(errors.New("the task has no command"))
}

// goCall calls one module function without Lua.
func (w *world) goCall(ctx context.Context, name string, args map[string]any) Result {
	out, err := bind.CallByName(ctx, w.r.o.Modules, name, args)
	if err != nil {
		return w.raised(err)
	}
	if len(out) == 0 {
		return Result{Status: event.Success}
	}
	m, ok := out[0].(map[string]any)
	if !ok {
		m = map[string]any{"value": out[0]}
		if len(out) > 1 {
			m["values"] = out
		}
	}
	w.data = m
	res := resultTable(m)
	res.Outputs = m
	return w.settle(res)
}

// raised is the end of a command by an error. Under plan, behind something that
// was only planned, it tells how far the plan could see.
func (w *world) raised(err error) Result {
	var exit *engine.Exit
	if errors.As(err, &exit) && exit.Code == 0 {
		return Result{Status: event.Success}
	}
	if past, why := w.pastPlan(err); past {
		return w.shortfall(why)
	}
	return failed(err)
}

// pastPlan reports whether an error may come from what a plan cannot know.
func (w *world) pastPlan(err error) (bool, string) {
	f := failureOf(err)
	if !w.guessing() && (!w.r.o.Check || !errors.Is(err, modules.ErrUnknown)) {
		return false, ""
	}
	place := "this point"
	if f.File != "" {
		place = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return true, fmt.Sprintf("cannot plan past %s: %s", place, f.Message)
}

// guessing reports whether this is a plan in which something was only planned,
// here or before on this host.
func (w *world) guessing() bool {
	if !w.r.o.Check {
		return false
	}
	w.r.mu.Lock()
	planned := w.r.planned
	w.r.mu.Unlock()
	if planned || w.r.o.Env.Overlay == nil {
		return planned
	}
	_, noted := w.r.o.Env.Overlay.Noted(modules.NotedTool)
	return noted
}

// shortfall is the result of a task that cannot be planned to its end.
func (w *world) shortfall(why string) Result {
	w.r.mu.Lock()
	w.r.partial = true
	w.r.mu.Unlock()
	w.r.out.log(w.r.here(), "warn", why, nil)
	return Result{Status: event.Success, Message: why}
}

// judge lets failed_when and changed_when have the last word.
func (w *world) judge(ctx context.Context, res *Result) {
	if ctx.Err() != nil {
		return
	}
	if fn := w.cb.FailedWhen; fn != nil {
		rets, err := w.verdict(ctx, fn, res.Failure)
		switch {
		case err != nil:
			*res = w.raised(fmt.Errorf("failed_when: %w", err))
		case len(rets) > 0 && lua.LVAsBool(rets[0]):
			message := "failed_when says so"
			var why lua.LValue
			if len(rets) > 1 {
				why = rets[1]
			}
			// string.find has a second value as well, which is no reason.
			if text, ok := why.(lua.LString); ok {
				message = string(text)
			} else if res.Message != "" {
				message += ": " + res.Message
			}
			out := res.Outputs
			*res = failed(errors.New(message))
			res.Outputs = out
		default:
			res.Status, res.Failure = event.Success, nil
		}
	}
	if fn := w.cb.ChangedWhen; fn != nil {
		rets, err := w.verdict(ctx, fn, res.Failure)
		if err != nil {
			*res = w.raised(fmt.Errorf("changed_when: %w", err))
			return
		}
		changed := len(rets) > 0 && lua.LVAsBool(rets[0])
		w.r.mu.Lock()
		w.r.verdict = &changed
		w.r.mu.Unlock()
	}
}

func (w *world) verdict(ctx context.Context, fn *lua.LFunction, f *event.Failure) (rets []lua.LValue, err error) {
	w.ask(func() { rets, err = w.call(ctx, fn, judgeOrder, f) })
	return rets, err
}

// succeeded runs on_success. Its error makes the task fail: it is part of what
// was asked for.
func (w *world) succeeded(ctx context.Context, res Result) Result {
	err := w.hookErr(ctx, w.cb.OnSuccess, successOrder, nil)
	if err != nil {
		err = fmt.Errorf("on_success: %w", err)
	} else if err = w.r.collect(ctx); err == nil {
		return res
	}
	if ctx.Err() != nil {
		return w.r.cancelled(ctx)
	}
	bad := failed(err)
	bad.Outputs = res.Outputs
	return bad
}

// hook runs a hook of a task that failed already; its own error is told.
func (w *world) hook(ctx context.Context, name string, fn *lua.LFunction, f *event.Failure) {
	if err := w.hookErr(ctx, fn, failureOrder, f); err != nil && !w.r.s.NoLog {
		w.r.out.log(w.r.here(), "error", name+": "+text(failureOf(err)), nil)
	}
}

// hookErr runs a hook under its own limit; none runs under plan.
func (w *world) hookErr(ctx context.Context, fn *lua.LFunction, o order, f *event.Failure) error {
	if fn == nil || w.r.o.Check || w.r.strays(false) != nil {
		return nil
	}
	w.r.hook(true)
	defer w.r.hook(false)
	limit := hookLimit
	if w.r.s.Timeout > 0 {
		limit = w.r.s.Timeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout{limit})
	defer cancel()
	_, err := w.call(ctx, fn, o, f)
	return err
}
