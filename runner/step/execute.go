package step

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/spec"
	"github.com/sloth-runner/sloth/runner/event"
)

// Execute runs one step to its end. It does not fail: what went wrong is in
// the result, and in the TaskDone it emits last.
func Execute(ctx context.Context, o Options, s Spec) Result {
	if o.Clock == nil {
		o.Clock = realClock{}
	}
	r := &run{o: o, s: s, start: o.Clock.Now()}
	r.out.emit = o.Emit
	if !o.Check {
		r.expect.begin(s.Expect)
	}
	r.where = event.Where{Task: s.Task, Host: o.Host.Name, Step: s.ID, Handler: s.Handler, Attempt: 1}
	res := r.run(ctx)
	if err := r.storeSets(ctx); err != nil {
		res = r.unstored(res, err)
	}
	res.ID, res.Attempts, res.Duration = s.ID, r.attempts, o.Clock.Now().Sub(r.start)
	r.mu.Lock()
	if stray := r.expect.stray; stray != nil {
		// Whatever the script made of the error: this is no longer what was planned.
		res = Result{ID: s.ID, Status: event.Failed, Attempts: res.Attempts, Duration: res.Duration, Failure: failureOf(stray)}
		res.Failure.Hint = "Look at the host, and make a new plan."
	} else if res.Status.Bad() {
		res.Ignored = s.IgnoreErrors
	}
	// Also what a failed attempt changed on its way.
	if res.Changed = r.changed; r.verdict != nil {
		res.Changed = *r.verdict
	}
	if res.Changed && !o.Check {
		// A failed task too: what it changed may be in place the next time, and
		// then nobody would notify its handlers any more.
		res.Notified = unique(append(slices.Clone(s.Notify), r.notified...))
	}
	if !res.Status.Bad() {
		res.Restart = r.restart
	}
	res.Made = r.made
	r.mu.Unlock()
	if s.NoLog {
		res.Message, res.Failure = "", hidden(res.Failure)
	}
	if res.Failure != nil && res.Message == "" {
		res.Message = res.Failure.Message
	}
	done := event.TaskDone{
		Where: r.here(), Status: res.Status, Changed: res.Changed, Ignored: res.Ignored, Nested: s.Nested,
		Message: res.Message, Duration: res.Duration, Attempts: res.Attempts, Outputs: res.Outputs, Failure: res.Failure, Partial: r.partial, Notified: res.Notified,
	}
	if s.NoLog {
		done.Outputs = nil
	}
	r.out.close(done)
	return res
}

// run is one step under way.
type run struct {
	o     Options
	s     Spec
	start time.Time
	dir   string // the workdir, absolute
	out   stream
	// attempts were begun so far.
	attempts int

	mu       sync.Mutex
	where    event.Where
	changed  bool // something was, or would be
	planned  bool // something was only planned
	notified []string
	restart  *modules.Restart
	asking   bool // run_if and the like: their tools do not count
	made     []string
	verdict  *bool // what changed_when said about the last attempt
	hooks    bool  // a hook runs, which no plan has
	expect   expecting
	partial  bool // this is a plan that does not see to the end
}

func (r *run) here() event.Where {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.where
}

// hookLimit bounds a hook of a task without a timeout of its own.
const hookLimit = 5 * time.Minute

// errTimeout is the cause when an attempt took too long.
type errTimeout struct{ after time.Duration }

func (e errTimeout) Error() string { return fmt.Sprintf("timed out after %s", e.after) }

// run asks run_if, then makes attempts until one succeeds or none is left.
func (r *run) run(ctx context.Context) Result {
	var err error
	if r.dir, err = spec.HostPath(r.s.Workdir, r.o.Env.Call.Workdir); err != nil {
		return failed(fmt.Errorf("workdir: %w", err))
	}
	ctx = r.surround(ctx)
	w, err := r.open(ctx)
	if err != nil {
		return r.ended(ctx, err)
	}
	defer func() { w.close() }() // whichever is the last
	if skip, res := w.skip(ctx); skip {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.expect.skipped()
		return res
	}
	for n := 1; ; n++ {
		r.mu.Lock()
		r.where.Attempt, r.verdict = n, nil
		if n > 1 {
			r.expect.again()
		}
		r.mu.Unlock()
		r.attempts = n
		if n > 1 {
			w.close()
			if w, err = r.open(ctx); err != nil {
				return r.ended(ctx, err)
			}
		}
		r.out.send(event.TaskStarted{Where: r.here()})
		res, broken := w.attempt(ctx, n)
		if ctx.Err() != nil && res.Status.Bad() {
			return r.cancelled(ctx)
		}
		if r.o.Check {
			w.hand(&res)
			return res
		}
		if res.Status == event.Timeout {
			// Its VM may be in any state.
			w.close()
			fresh, err := r.open(ctx)
			if err != nil {
				return res
			}
			fresh.copyOutcome(w)
			w = fresh
		}
		if res.Status.Bad() && r.o.Doubt != nil {
			if r.o.Doubt(ctx); ctx.Err() != nil {
				return r.cancelled(ctx)
			}
		}
		switch {
		case !res.Status.Bad():
			res = w.succeeded(ctx, res)
			w.hand(&res)
			return res
		case broken || n > r.s.Retries:
			if res.Status == event.Timeout {
				w.hook(ctx, "on_timeout", w.cb.OnTimeout, res.Failure)
			}
			w.hook(ctx, "on_failure", w.cb.OnFailure, res.Failure)
			w.hand(&res)
			return res
		}
		w.hook(ctx, "on_retry", w.cb.OnRetry, res.Failure)
		delay := dsl.Backoff(r.s.Backoff, time.Second, n)
		shown := *res.Failure
		if r.s.NoLog {
			shown = *hidden(res.Failure)
		}
		r.out.send(event.TaskRetry{Where: r.here(), Failure: shown, Delay: delay})
		if err := r.o.Clock.Sleep(ctx, delay); err != nil {
			return r.cancelled(ctx)
		}
	}
}

// surround gives everything that runs under ctx its Env.
func (r *run) surround(ctx context.Context) context.Context {
	env := r.o.Env
	env.Check = r.o.Check
	call := &env.Call
	call.Host, call.Plan, call.NoLog = r.o.Host.Name, r.o.Check, r.s.NoLog
	if r.dir != "" {
		call.Workdir = r.dir
	}
	call.Env = slices.Clone(call.Env)
	for k, v := range r.s.Env {
		call.Env = append(call.Env, k+"="+v)
	}
	slices.Sort(call.Env[len(r.o.Env.Call.Env):])
	call.Output = func(stream string, data []byte) {
		if !r.s.NoLog {
			r.out.output(r.here(), stream, data)
		}
	}
	call.Log = func(level, message string, fields map[string]any) {
		if !r.s.NoLog {
			r.out.log(r.here(), level, message, fields)
		}
	}
	if o := r.o.Env.Call.Restart; o != nil {
		call.Restart = func(how modules.Restart) { r.mu.Lock(); r.restart = &how; r.mu.Unlock() }
	}
	call.Learn = r.learn
	if r.expect.plan != nil {
		env.Approve = r.approve
	}
	outer := env.Called
	env.Called = func(rec bind.Record) {
		r.called(rec)
		if outer != nil {
			outer(rec)
		}
	}
	return bind.WithEnv(engine.WithName(ctx, r.s.Task), &env)
}

// called turns a module call into an event and remembers whether anything
// changed.
func (r *run) called(rec bind.Record) {
	r.mu.Lock()
	if r.asking && rec.Diff.Empty() {
		// A command that run_if runs is a question; what a module changed is not.
		r.mu.Unlock()
		return
	}
	r.changed = r.changed || rec.Changed
	r.planned = r.planned || rec.Planned && rec.Changed
	where := r.where
	r.mu.Unlock()
	if rec.Changed || rec.Planned {
		r.out.send(event.Called{
			Where: where, Function: rec.Function, File: rec.File, Line: rec.Line,
			Changed: rec.Changed, Planned: rec.Planned, Message: clip(rec.Message), Diff: clipDiff(rec.Diff),
			Args: rec.Args, Seen: rec.Seen,
		})
	}
}

// approve compares a call with the plan before it has an effect.
func (r *run) approve(rec bind.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hooks || r.asking && rec.Diff.Empty() && r.expect.stray == nil {
		return nil
	}
	return r.expect.approve(rec, r.s.NoLog)
}

// hook marks the time of a hook.
func (r *run) hook(on bool) { r.mu.Lock(); r.hooks = on; r.mu.Unlock() }

// strays reports whether the step is no longer what was planned. over says that
// its command has ended well, and left nothing of the plan undone.
func (r *run) strays(over bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if over {
		r.expect.missed()
	}
	if r.expect.stray != nil {
		return r.expect.stray
	}
	return nil
}

// notify keeps a handler's name until it is known whether the step changed
// anything.
func (r *run) notify(handler string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.notified) < 1000 && !slices.Contains(r.notified, handler) {
		r.notified = append(r.notified, handler)
	}
}

// flush hands over what was notified so far, before flush_handlers() runs it.
func (r *run) flush(ctx context.Context) {
	r.mu.Lock()
	var names []string
	if r.changed {
		names, r.notified = r.notified, nil
	}
	r.mu.Unlock()
	for _, name := range names {
		if err := r.o.Env.Call.Services.Notify(ctx, name); err != nil {
			r.out.log(r.here(), "warn", fmt.Sprintf("notify %q: %v", name, err), nil)
		}
	}
}

// ended is the result of something other than the command that failed.
func (r *run) ended(ctx context.Context, err error) Result {
	if ctx.Err() != nil {
		return r.cancelled(ctx)
	}
	return failed(err)
}

func (r *run) cancelled(ctx context.Context) Result {
	var i interface{ Interrupts() bool }
	if cause := context.Cause(ctx); errors.As(cause, &i) && i.Interrupts() {
		hint := "Look at the host. If the step may run again: sloth runs resume last --rerun-unknown."
		var more interface{ Hint() string }
		if errors.As(cause, &more) && more.Hint() != "" {
			hint += " " + more.Hint()
		}
		return Result{Status: event.Unknown, Message: cause.Error(), Failure: &event.Failure{Class: classTask, Message: cause.Error(), Hint: hint}}
	}
	why := "cancelled"
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		why = "cancelled: " + cause.Error()
	}
	return Result{Status: event.Cancelled, Message: why, Failure: &event.Failure{Class: classTask, Message: why}}
}

const classTask = "task"

// failed makes a result of an error.
func failed(err error) Result {
	f := failureOf(err)
	return Result{Status: event.Failed, Message: f.Message, Failure: f}
}

func failureOf(err error) *event.Failure {
	f := &event.Failure{Class: classTask, Message: err.Error()}
	var c interface{ FailureClass() string }
	if errors.As(err, &c) {
		f.Class = c.FailureClass()
	}
	var e *engine.Error
	if errors.As(err, &e) {
		// What wraps the error says more than its own message.
		f.Message = strings.Replace(f.Message, e.Error(), e.Message, 1)
		f.File, f.Line, f.Hint = e.File, e.Line, e.Hint
	}
	f.Message = clip(f.Message)
	return f
}

// hidden says that something failed, and not what.
func hidden(f *event.Failure) *event.Failure {
	if f == nil {
		return nil
	}
	return &event.Failure{Class: f.Class, Message: "failed; no_log hides the reason", File: f.File, Line: f.Line}
}

// text is a failure in one line, as callbacks get it.
func text(f *event.Failure) string {
	switch {
	case f == nil:
		return ""
	case f.File == "":
		return f.Message
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
}

func unique(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// machineFlush syncs what was written before the step counts as done.
func (r *run) machineFlush() error {
	if f, ok := r.o.Env.Call.Machine.(modules.Flusher); ok && !r.o.Check {
		if err := f.Flush(); err != nil {
			return fmt.Errorf("sync what was written: %w", err)
		}
	}
	return nil
}
