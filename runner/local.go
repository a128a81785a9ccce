package runner

import (
	"context"
	"sync"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/runner/step"
	lua "github.com/yuin/gopher-lua"
)

// runCells executes cells of one host, in order.
func (p *plan) runCells(ctx context.Context, host string, cells []*cell, done func(*cell, step.Result)) {
	if host != Local {
		p.r.runRemote(ctx, host, cells, p.outputs, done)
		return
	}
	for _, c := range cells {
		done(c, p.r.runLocal(ctx, c, p.outputs, nil))
	}
}

// runLocal runs one task in the controller's own Lua world, where it shares
// its variables with the file that defined it.
func (r *Runner) runLocal(ctx context.Context, c *cell, outputs outputsOf, returned func([]lua.LValue)) step.Result {
	t := c.node.task
	if err := r.identify(c, Local); err != nil {
		f := failureOf(err)
		return step.Result{Status: event.Failed, NotRun: true, Message: f.Message, Failure: &f}
	}
	if res, ok := r.known(ctx, c.id); ok {
		r.tellAgain(c, res)
		return res
	}
	spec := r.baseSpec(c.node)
	spec.ID, spec.Params = c.id, r.params
	if res, ok := r.refusal(c); ok {
		return res
	}
	spec.Expect, _ = r.expect(c)
	fillDeps(&spec, c, outputs, nil)
	if who := r.become(t, Local); who != "" {
		f := &event.Failure{Class: "become", Message: "a task on the controller itself cannot become " + who,
			Hint: "Delegate it to a host of the inventory with connection: local."}
		return step.Result{Status: event.Failed, NotRun: true, Message: f.Message, Failure: f}
	}
	o := step.Options{
		Host: r.host(Local), Check: r.opt.Check, Modules: r.opt.Modules, Emit: r.emit, Returned: returned,
		Learn: func(value string) { r.learn(Local, value) },
		Env:   r.Env(c.node.depth),
		Source: func(context.Context) (*engine.VM, step.Callbacks, func(), error) {
			return r.opt.VM, step.TaskCallbacks(t), func() {}, nil
		},
	}
	if all, ok := o.Env.Call.Services.(*services); ok {
		o.Env.Call.Services = all.forStep(ctx, c)
	}
	if rec := r.opt.Record; rec != nil && !r.opt.Check {
		var once sync.Once
		var err error
		o.Env.Effect = func(context.Context, string) error {
			once.Do(func() { err = rec.Begin(runlog.Outcome{Host: Local, Task: t.Name, Step: c.id}) })
			r.recordFailed(err)
			return err
		}
	}
	res := step.Execute(ctx, o, spec)
	r.depart(Local, res.Failure)
	r.write(Local, t.Name, res)
	r.world.Add(1)
	for _, name := range res.Notified {
		r.notify(Local, name)
	}
	return res
}

// Env surrounds module calls on the controller: those of its tasks, and those
// at the top level of a file.
func (r *Runner) Env(depth int) bind.Env {
	e := bind.Env{Check: r.opt.Check, Seal: r.seal(Local), Call: modules.Call{
		Machine: r.machine, Host: Local, Plan: r.opt.Check, Services: &services{r: r, host: Local, depth: depth},
		Learn: func(value string) { r.learn(Local, value) },
	}}
	if r.opt.Check {
		e.Viewer, e.Overlay = r.overlay, r.overlay
	}
	return e
}

// outputs are what is known of a task, by host.
func (p *plan) outputs(task string) map[string]step.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	rec := p.records[task]
	if rec == nil {
		return nil
	}
	out := make(map[string]step.Result, len(rec.results))
	for h, res := range rec.results {
		out[h] = res
	}
	return out
}
