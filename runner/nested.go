package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/ship"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
	lua "github.com/yuin/gopher-lua"
)

// maxNested is how deep :run() may go inside what :run() runs.
const maxNested = 16

// RunTask is t:run() on the controller, at the top level of a file or inside a
// task. It returns what the command returned; it fails only where the task
// could not be begun.
func (r *Runner) RunTask(ctx context.Context, t *dsl.Task) ([]lua.LValue, error) {
	depth := 0
	if env := bind.EnvOf(ctx); env != nil {
		if s, ok := env.Call.Services.(interface{ nesting() int }); ok {
			depth = s.nesting()
		}
		// The task may read what its caller has set.
		if s, ok := env.Call.Services.(modules.Setter); ok {
			if err := s.FlushState(ctx); err != nil {
				return nil, err
			}
		}
	}
	return r.runNested(ctx, Local, depth, t)
}

func (s *services) nesting() int { return s.depth }

// runShipped is t:run() on a host. What it sent is data of a stranger: only
// functions of sources it was given, on hosts of this run.
func (r *Runner) runShipped(ctx context.Context, host string, depth int, mayBecome bool, data []byte) ([]byte, error) {
	if r.opt.NoNested {
		return nil, errors.New(":run() on another host is refused by --no-nested")
	}
	t, err := dsl.DecodeTask(r.opt.VM, data, ship.Limits{Bytes: 16 << 20, Allow: func(ref ship.Ref) error {
		if ref.Library != "" || r.sentChunk(host, ref.Chunk) {
			return nil
		}
		return fmt.Errorf("%s names a function it was never sent", host)
	}})
	if err != nil {
		return nil, err
	}
	if (t.Become || t.BecomeUser != "") && !mayBecome {
		return nil, fmt.Errorf("task %q, which %s asks for, may not become another user: the task that asks does not either", t.Name, host)
	}
	// A command line is data too: only one that stands in a function it was sent.
	if t.Shell != "" && !r.sentName(host, t.Shell) {
		return nil, fmt.Errorf("task %q, which %s asks for, has a command line that no function sent to it contains", t.Name, host)
	}
	if err := r.mayName(host, t); err != nil {
		return nil, err
	}
	vals, err := r.runNested(ctx, host, depth, t)
	if err != nil {
		return nil, err
	}
	return dsl.EncodeReturns(r.opt.VM, vals)
}

// sentName reports whether text stands literally in a function that host was
// sent.
func (r *Runner) sentName(host, text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[host] != nil && r.sent[host].names[text]
}

func (r *Runner) sentChunk(host, hash string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[host] != nil && r.sent[host].chunks[hash]
}

// runNested runs t beside whoever waits for it. That it could not be begun is
// shown too: the caller may not look.
func (r *Runner) runNested(ctx context.Context, caller string, depth int, t *dsl.Task) ([]lua.LValue, error) {
	vals, err := r.beginNested(ctx, caller, depth, t)
	if err != nil {
		r.emit(event.TaskDone{Where: event.Where{Task: t.Name, Host: caller}, Status: event.Failed, Nested: true, Message: err.Error(),
			Failure: &event.Failure{Class: "task", Message: err.Error(), File: t.Pos.File, Line: t.Pos.Line}})
	}
	return vals, err
}

// beginNested runs t outside the graph and its limits on how much runs at once.
func (r *Runner) beginNested(ctx context.Context, caller string, depth int, t *dsl.Task) ([]lua.LValue, error) {
	if depth >= maxNested {
		return nil, fmt.Errorf("task %q: :run() inside :run() goes deeper than %d: does it wait for itself?", t.Name, maxNested)
	}
	hosts := []string{caller}
	var err error
	switch {
	case t.Target.Func != nil:
		hosts, err = r.dynamicTargets(ctx, t)
	case t.Target.Set:
		hosts, err = r.targets(t, "")
	}
	if err != nil {
		return nil, err
	}
	// The controller is no host among others: only a function that names it may
	// send anything there.
	if caller != Local && slices.Contains(hosts, Local) && !r.sentName(caller, Local) {
		return nil, fmt.Errorf("task %q, which %s asks for, may not run on the controller: no function sent to that host names it", t.Name, caller)
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("task %q: no host is left for it", t.Name)
	}
	n := &node{task: t, nested: true, depth: depth + 1}
	n.place(hosts, [][]string{hosts})

	rets := make([][]lua.LValue, len(hosts))
	var wg sync.WaitGroup
	for i, c := range n.cells {
		wg.Go(func() { rets[i] = r.nestedOn(ctx, c) })
	}
	wg.Wait()
	if len(hosts) == 1 {
		return rets[0], nil
	}
	return r.together(hosts, rets), nil
}

// nestedOn runs one cell and gives what its command returned.
func (r *Runner) nestedOn(ctx context.Context, c *cell) []lua.LValue {
	if c.host == Local {
		var rest []lua.LValue
		got := false
		res := r.runLocal(ctx, c, nil, func(v []lua.LValue) { rest, got = v, true })
		return res.WithReturns(rest, got)
	}
	res := r.stepOn(ctx, c)
	vals, err := res.Values(r.opt.VM)
	if err != nil {
		return []lua.LValue{lua.LFalse, lua.LString(err.Error())}
	}
	return vals
}

// stepOn runs one cell and gives its result.
func (r *Runner) stepOn(ctx context.Context, c *cell) step.Result {
	if c.host == Local {
		return r.runLocal(ctx, c, nil, nil)
	}
	var res step.Result
	var mu sync.Mutex
	r.runRemote(ctx, c.host, []*cell{c}, nil, func(_ *cell, got step.Result) {
		mu.Lock()
		defer mu.Unlock()
		// The event that it is done comes before the result that has the returns.
		if res.ID == "" || got.Returns != nil {
			res = got
		}
	})
	if res.NotRun {
		r.emit(event.TaskDone{Where: event.Where{Task: c.node.task.Name, Host: c.host, Step: c.id}, Status: res.Status, Message: res.Message, Failure: res.Failure, Nested: true})
	}
	return res
}

// together is what :run() returns for several hosts: whether all succeeded,
// and the second return of each.
func (r *Runner) together(hosts []string, rets [][]lua.LValue) []lua.LValue {
	all := lua.LTrue
	var byHost *lua.LTable
	r.opt.VM.Do(func(L *lua.LState) {
		byHost = L.NewTable()
		for i, h := range hosts {
			if len(rets[i]) == 0 || lua.LVIsFalse(rets[i][0]) {
				all = lua.LFalse
			}
			if len(rets[i]) > 1 {
				byHost.RawSetString(h, rets[i][1])
			}
		}
	})
	return []lua.LValue{all, byHost}
}

// flushHost runs now what is pending for host.
func (r *Runner) flushHost(ctx context.Context, host string, depth int) error {
	r.recallPending(ctx)
	r.adoptPending(host)
	run, unknown := r.handlers.take(host)
	for _, name := range unknown {
		r.notice("warn", "there is no handler %q; it was notified on %s", name, host)
	}
	var bad []string
	for _, t := range run {
		n := &node{task: t, nested: true, depth: depth + 1}
		n.place([]string{host}, [][]string{{host}})
		vals := r.nestedOn(ctx, n.cells[0])
		if len(vals) > 0 && lua.LVIsFalse(vals[0]) {
			bad = append(bad, t.Name)
			continue
		}
		r.handled(host, t.Name, step.Result{Status: event.Success})
	}
	if len(bad) > 0 {
		return fmt.Errorf("the handlers failed: %s", strings.Join(bad, ", "))
	}
	return nil
}

// FlushHandlers is flush_handlers() inside a task.
func (s *services) FlushHandlers(ctx context.Context) error {
	return s.r.flushHost(ctx, s.host, s.depth)
}
