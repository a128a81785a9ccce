package step_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/goroutine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// clock does not wait; it remembers what it was asked to.
type clock struct {
	mu    sync.Mutex
	slept []time.Duration
}

func (c *clock) Now() time.Time { return time.Now() }

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept = append(c.slept, d)
	return ctx.Err()
}

// rig is the controller's VM with everything in it, running tasks by
// themselves, each with what the ones before it gave.
type rig struct {
	t        *testing.T
	vm       *engine.VM
	loader   *dsl.Loader
	mods     []modules.Module
	services modules.Services
	overlay  *machine.Overlay
	check    bool
	clock    *clock
	dir      string

	mu     sync.Mutex
	events []event.Event
	deps   map[string]any
}

func newRig(t *testing.T, options ...func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, mods: all.Modules(), clock: &clock{}, deps: map[string]any{}, dir: t.TempDir()}
	for _, o := range options {
		o(r)
	}
	r.vm = engine.New(dsl.VMOptions(engine.Options{Linger: 100 * time.Millisecond}))
	t.Cleanup(func() { r.vm.Close() })
	bind.Install(r.vm, r.mods)
	goroutine.Install(r.vm)
	r.loader = dsl.Install(r.vm, dsl.Options{Modules: r.mods, RunTask: r.nested, Env: r.env(), Params: map[string]any{"color": "red"}})
	r.vm.Pristine()
	return r
}

func checking(r *rig) { r.check = true }

func (r *rig) env() *bind.Env {
	m := machine.New()
	e := &bind.Env{Call: modules.Call{Machine: m, Services: r.services, Workdir: r.dir}}
	if r.check {
		r.overlay = machine.NewOverlay(m)
		e.Check, e.Viewer, e.Overlay = true, r.overlay, r.overlay
	}
	return e
}

func (r *rig) emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *rig) load(src string) *dsl.Program {
	r.t.Helper()
	p, err := r.loader.LoadSource(context.Background(), "site.sloth", []byte(src))
	if err != nil {
		r.t.Fatalf("load: %v", err)
	}
	return p
}

func (r *rig) spec(t *dsl.Task) step.Spec {
	s := step.Spec{
		ID: "id-" + t.Name, Task: t.Name, Shell: t.Shell, Workdir: t.Workdir, Env: t.Env, Timeout: t.Timeout,
		Retries: t.Retries, Backoff: t.Backoff, IgnoreErrors: t.IgnoreErrors, NoLog: t.NoLog, Notify: t.Notify,
		Params: map[string]any{"color": "red"}, Deps: map[string]any{}, After: t.DependsOn, Handler: t.Handler,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range t.DependsOn {
		if out, ok := r.deps[d]; ok {
			s.Deps[d] = out
		}
	}
	return s
}

func (r *rig) options(t *dsl.Task) step.Options {
	return step.Options{
		Host: step.Host{Name: "local"},
		Source: func(context.Context) (*engine.VM, step.Callbacks, func(), error) {
			return r.vm, step.TaskCallbacks(t), nil, nil
		},
		Env: *r.env(), Check: r.check, Modules: r.mods, Emit: r.emit, Clock: r.clock,
	}
}

func (r *rig) run(t *dsl.Task) step.Result {
	res := step.Execute(context.Background(), r.options(t), r.spec(t))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deps[t.Name] = res.Outputs
	return res
}

func (r *rig) nested(ctx context.Context, t *dsl.Task) ([]lua.LValue, error) {
	var rest []lua.LValue
	returned := false
	o, s := r.options(t), r.spec(t)
	s.Nested = true
	o.Returned = func(v []lua.LValue) { rest, returned = v, true }
	res := step.Execute(ctx, o, s)
	return res.WithReturns(rest, returned), nil
}

// one loads a file with one task and runs it.
func (r *rig) one(src string) step.Result {
	r.t.Helper()
	p := r.load(src)
	return r.run(p.Tasks[len(p.Tasks)-1])
}

// logged are the lines of the log module and print.
func (r *rig) logged() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		if l, ok := e.(event.Log); ok {
			out = append(out, l.Message)
		}
	}
	return out
}

func kinds[E event.Event](r *rig) []E {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []E
	for _, e := range r.events {
		if x, ok := e.(E); ok {
			out = append(out, x)
		}
	}
	return out
}

func TestReturns(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     event.Status
		message    string
		outputs    string
	}{
		{"nothing", ``, event.Success, "", "<nil>"},
		{"true", `return true`, event.Success, "", "<nil>"},
		{"false", `return false`, event.Failed, "the command returned false", "<nil>"},
		{"message", `return true, "echo 'not run'; touch executed"`, event.Success, "echo 'not run'; touch executed", "<nil>"},
		{"outputs", `return true, "m", {a = 1, list = {1, 2}}`, event.Success, "m", "map[a:1 list:[1 2]]"},
		{"table second", `return true, {a = 1}`, event.Success, "", "map[a:1]"},
		{"failure", `return false, "why", {a = 1}`, event.Failed, "why", "map[a:1]"},
		{"nil, message", `return nil, "why"`, event.Failed, "why", "<nil>"},
		{"nil", `return nil`, event.Success, "", "<nil>"},
		{"text", `return "done"`, event.Success, "done", "<nil>"},
		{"result", `return {success = true, stdout = "out\n", exit_code = 0}`, event.Success, "out\n", "map[exit_code:0 stdout:out\n success:true]"},
		{"bad result", `return {success = false, stdout = "out", error = "exit code 3"}`, event.Failed, "exit code 3", "map[error:exit code 3 stdout:out success:false]"},
		{"bad result, no error", `return {success = false, exit_code = 3}`, event.Failed, "exit code 3", "map[exit_code:3 success:false]"},
		{"plain table", `return {a = "b"}`, event.Success, "", "map[a:b]"},
		{"no data", `return true, "m", {f = print, a = 1}`, event.Success, "m", "map[a:1]"},
		{"raised", `error("boom")`, event.Failed, "boom", "<nil>"},
		{"raised table", `error({message = "from a table"})`, event.Failed, "from a table", "<nil>"},
		{"fail", `fail("no way")`, event.Failed, "no way", "<nil>"},
		{"assert", `assert(1 == 2, "they differ")`, event.Failed, "they differ", "<nil>"},
		{"exit 0", `os.exit(0)`, event.Success, "", "<nil>"},
		{"exit 3", `os.exit(3)`, event.Failed, "os.exit(3)", "<nil>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			res := r.one("task('x'):command(function()\n" + c.body + "\nend):build()")
			if res.Status != c.status || res.Message != c.message || fmt.Sprint(res.Outputs) != c.outputs {
				t.Errorf("got %s %q %v, want %s %q %s", res.Status, res.Message, res.Outputs, c.status, c.message, c.outputs)
			}
			if (res.Failure != nil) != res.Status.Bad() {
				t.Errorf("failure is %+v", res.Failure)
			}
			if strings.HasPrefix(c.name, "raised") || c.name == "fail" || c.name == "assert" {
				if res.Failure.File != "site.sloth" || res.Failure.Line != 2 {
					t.Errorf("the place is %s:%d", res.Failure.File, res.Failure.Line)
				}
			}
			if _, err := os.Stat(filepath.Join(r.dir, "executed")); err == nil {
				t.Error("the message was executed")
			}
		})
	}
}
